//! A return path for each recipient (VERP): a bounce then comes to an address that says whom it is about.

use std::borrow::Cow;

use base::VerpSigns;
use dsn::{Recipient, Verp};
use queue::{Action, Envelope};

use super::parcel::{Report, Told};
use crate::limits::VERP_LOCAL_PART_BYTES_MAX;

/// A code and an enhanced code with what is between them.
const CODES_BYTES: usize = "450 4.2.0".len();

/// Whether each recipient goes in a transaction of its own.
pub(super) fn is_for_each(envelope: &Envelope) -> bool {
    envelope.terms.verp.is_some() && envelope.sender.is_some()
}

/// The sender that is said for some recipients: one, where each has its own.
pub(super) fn return_path(envelope: &Envelope, recipients: &[u32]) -> Option<String> {
    let sender = envelope.sender.as_deref()?;
    let Some(signs) = envelope.terms.verp else { return Some(sender.to_owned()) };
    let recipient = recipients.first().and_then(|at| envelope.recipients.get(*at as usize))?;
    Some(encode(signs, sender, &recipient.address))
}

/// Who is told of whom: the sender of all at once, or of each at the address that names it.
pub(super) fn told_of<'a>(
    sender: &'a str,
    signs: Option<VerpSigns>,
    recipients: &'a [Recipient<'a>],
) -> Vec<(Cow<'a, str>, &'a [Recipient<'a>])> {
    let Some(signs) = signs else { return vec![(Cow::Borrowed(sender), recipients)] };
    let each = recipients.chunks(1).filter_map(|one| {
        let to = encode(signs, sender, one.first()?.address);
        Some((Cow::Owned(to), one))
    });
    each.collect()
}

fn encode(signs: VerpSigns, sender: &str, recipient: &str) -> String {
    let verp = Verp::from(signs).with_local_part_bytes_max(VERP_LOCAL_PART_BYTES_MAX);
    verp.encode(sender, recipient)
}

/// What became of recipients that went one by one, as one report. Only a few attempts are kept of an entry, so answers that
/// mean the same are one; failures, which senders are told of, only where they are the same word by word.
#[derive(Default)]
pub(super) struct Sum {
    report: Report,
}

impl Sum {
    pub(super) fn add(&mut self, report: Report) {
        self.report.is_down |= report.is_down;
        self.report.is_in_doubt |= report.is_in_doubt;
        for told in report.results {
            match self.report.results.iter_mut().find(|known| is_same(known, &told)) {
                Some(known) => known.recipients.extend(told.recipients),
                None => self.report.results.push(told),
            }
        }
    }

    /// The report where a transaction broke: those behind it were not tried, and wait as its recipient does.
    pub(super) fn broken(mut self, report: Report, untried: &[u32]) -> Report {
        let others =
            report.results.first().cloned().map(|told| Told { recipients: untried.to_vec(), ..told });
        self.add(report);
        self.add(Report { results: others.into_iter().collect(), ..Report::default() });
        self.finish(&[])
    }

    /// The report, where `later` have not had their turn. What waits stands last: the latest attempts are kept, and say whose
    /// turn it is.
    pub(super) fn finish(mut self, later: &[u32]) -> Report {
        if !later.is_empty() {
            let told = Told::for_another_round(later.to_vec(), String::new(), String::new());
            self.report.results.push(told);
        }
        self.report.results.sort_by_key(|told| match told.action {
            Action::Failed => 0,
            Action::Relayed => 1,
            Action::Delayed => 2,
        });
        self.report
    }
}

fn is_same(one: &Told, other: &Told) -> bool {
    let codes = |told: &Told| told.reply.as_bytes().get(..CODES_BYTES).map(<[u8]>::to_vec);
    let is_said_alike = one.reply == other.reply
        || (one.action != Action::Failed
            && codes(one).is_some_and(|codes_of| Some(codes_of) == codes(other)));
    is_said_alike
        && (one.action, one.passes_dsn, one.is_for_another_round)
            == (other.action, other.passes_dsn, other.is_for_another_round)
        && (&one.host, &one.tls) == (&other.host, &other.tls)
}

#[cfg(test)]
mod tests {
    use dsn::Outcome;

    use super::*;

    fn told(recipient: u32, action: Action, reply: &str) -> Report {
        let told = Told {
            recipients: vec![recipient],
            action,
            host: "mx.example".to_owned(),
            tls: String::new(),
            reply: reply.to_owned(),
            passes_dsn: true,
            is_for_another_round: false,
        };
        Report { results: vec![told], ..Report::default() }
    }

    #[test]
    fn a_sender_is_told_of_each_where_each_has_its_own_address() {
        let recipients = [
            Recipient::new("bob@example.net", Outcome::Failed),
            Recipient::new("\"b b\"@example.net", Outcome::Failed),
        ];
        let all = told_of("owner@lists.example", None, &recipients);
        assert_eq!(
            all.iter().map(|(to, of)| (&**to, of.len())).collect::<Vec<_>>(),
            [("owner@lists.example", 2)]
        );
        let each = told_of("owner@lists.example", VerpSigns::parse("-="), &recipients);
        let each: Vec<_> = each.iter().map(|(to, of)| (&**to, of[0].address)).collect();
        assert_eq!(
            each,
            [
                ("owner-bob=example.net@lists.example", "bob@example.net"),
                ("owner@lists.example", "\"b b\"@example.net")
            ]
        );
    }

    #[test]
    fn answers_that_mean_the_same_are_one() {
        let mut sum = Sum::default();
        for (recipient, action, reply) in [
            (0, Action::Delayed, "450 4.2.0 come again in 299 seconds"),
            (1, Action::Relayed, "250 2.0.0 queued as A"),
            (2, Action::Failed, "550 5.1.1 no b@x.example"),
            (3, Action::Delayed, "450 4.2.0 come again in 298 seconds"),
            (4, Action::Relayed, "250 2.0.0 queued as B"),
            (5, Action::Failed, "550 5.1.1 no c@x.example"),
            (6, Action::Failed, "550 5.1.1 no c@x.example"),
            (7, Action::Delayed, "450 4.7.1 come again in 298 seconds"),
        ] {
            sum.add(told(recipient, action, reply));
        }
        let results = sum.finish(&[8, 9]).results;
        assert!(results.last().is_some_and(|told| told.is_for_another_round && told.recipients == [8, 9]));
        let results = results.iter().filter(|told| !told.is_for_another_round);
        let results: Vec<_> = results.map(|told| (told.action, told.recipients.as_slice())).collect();
        assert_eq!(
            results,
            [
                (Action::Failed, &[2][..]),
                (Action::Failed, &[5, 6]),
                (Action::Relayed, &[1, 4]),
                (Action::Delayed, &[0, 3]),
                (Action::Delayed, &[7]),
            ]
        );
    }

    #[test]
    fn nobody_is_forgotten_when_a_connection_breaks() {
        let mut sum = Sum::default();
        sum.add(told(0, Action::Relayed, "250 ok"));
        let broken = Report { is_down: true, ..told(1, Action::Delayed, "450 4.4.1 closed") };
        let report = sum.broken(broken, &[2, 3]);
        assert!(report.is_down);
        let results: Vec<_> =
            report.results.iter().map(|told| (told.action, told.recipients.as_slice())).collect();
        assert_eq!(results, [(Action::Relayed, &[0][..]), (Action::Delayed, &[1, 2, 3])]);
        // Nothing is said of nobody.
        let report = Sum::default().broken(told(1, Action::Delayed, "450 4.4.1 closed"), &[]);
        assert_eq!(report.results[0].recipients, [1]);
    }
}

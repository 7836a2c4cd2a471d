//! Whether proven records stand under a name themselves, or are a wildcard's and rightly so (RFC 4035
//! §5.3.4). hickory 0.26 says no to a wildcard's answer when the record that shows the name to be missing
//! is the wildcard's own NSEC, as it is for `*._tcp.mail.example` and a host without other names there.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::op::DnsResponse;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Looks at the records of this kind under this name. That their signature is right was looked at before.
pub(super) fn is_rightful(response: &DnsResponse, name: &Name, kind: RecordType) -> bool {
    if is_own(response, name, kind) {
        return true;
    }
    let Some(signature) = signature(&response.answers, name, kind) else { return false };
    let labels = signature.input().num_labels;
    let nsecs = response.authorities.iter().filter(|found| found.proof == Proof::Secure);
    nsecs.filter_map(|found| Some((&found.name, nsec(found)?))).any(|(owner, nsec)| {
        let of_zone = self::signature(&response.authorities, owner, RecordType::NSEC)
            .is_some_and(|other| other.input().signer_name == signature.input().signer_name);
        of_zone && shows_missing(owner, nsec, name, usize::from(labels))
    })
}

/// Whether the records of this kind under this name are its own, and no wildcard's.
pub(super) fn is_own(response: &DnsResponse, name: &Name, kind: RecordType) -> bool {
    signature(&response.answers, name, kind)
        .is_some_and(|signature| signature.input().num_labels >= name.num_labels())
}

/// The signature that was found to be right.
fn signature<'a>(records: &'a [Record], owner: &Name, kind: RecordType) -> Option<&'a RRSIG> {
    records.iter().filter(|found| found.name == *owner && found.proof == Proof::Secure).find_map(|found| {
        match &found.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) if rrsig.input().type_covered == kind => Some(rrsig),
            _ => None,
        }
    })
}

fn nsec(record: &Record) -> Option<&NSEC> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some(nsec),
        _ => None,
    }
}

/// Whether an NSEC record shows that the name is missing and that nothing of it is there that is longer
/// than `labels`, so that the wildcard there is the closest.
fn shows_missing(owner: &Name, nsec: &NSEC, name: &Name, labels: usize) -> bool {
    // What stands above a delegation says nothing of what is below it (RFC 6840 §4.1).
    if nsec.is_ancestor_delegation() && owner.zone_of(name) {
        return false;
    }
    let next = nsec.next_domain_name();
    let is_last = next <= owner;
    owner < name && (name < next || is_last) && common(owner, name).max(common(next, name)) <= labels
}

/// How many labels two names share at their ends.
fn common(one: &Name, other: &Name) -> usize {
    let (mut one, mut other) = (one.iter().rev(), other.iter().rev());
    std::iter::from_fn(|| Some((one.next()?, other.next()?)))
        .take_while(|(one, other)| one.eq_ignore_ascii_case(other))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn shows(owner: &str, next: &str, types: &[RecordType], missing: &str, labels: usize) -> bool {
        let nsec = NSEC::new(name(next), types.iter().copied());
        shows_missing(&name(owner), &nsec, &name(missing), labels)
    }

    #[test]
    fn only_what_is_missing_up_to_the_wildcard_is_its() {
        let a = &[RecordType::A][..];
        assert!(shows("*.w.example.", "z.example.", a, "a.w.example.", 2));
        assert!(shows("*.w.example.", "example.", a, "a.w.example.", 2), "the last of the zone");
        assert!(shows("*.w.example.", "z.example.", a, "a.b.w.example.", 2));
        // The name is there, or does not lie between the two.
        assert!(!shows("a.w.example.", "z.example.", a, "a.w.example.", 2));
        assert!(!shows("m.example.", "w.example.", a, "a.w.example.", 2));
        assert!(!shows("x.example.", "example.", a, "a.w.example.", 2));
        // Something closer is there: `b.w.example`, whose wildcard this is not.
        assert!(!shows("*.w.example.", "x.b.w.example.", a, "a.b.w.example.", 2));
        // The parent's word about a delegated name.
        assert!(!shows("w.example.", "z.example.", &[RecordType::NS], "a.w.example.", 2));
    }
}

//! The operator's rules (`policy`): asked at each recipient and at the content, and answered with what they want to know.
//! Rules of the stages connect, helo and mail are looked at with the first recipient: most clients that are refused
//! earlier only come again.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::dns::{Query, Record, RecordKind};
use base::give_way;
use mailauth::dkim::DkimResult;
use mailauth::spf::Sender;
use policy::{
    Answer, AuthResult, Conduct, Decision, Facts, Known, Outcome, Policy, Question, Stage, Verdict,
};
use smtp::{Mode, RecipientCheck, Refused, TransactionId};

use super::authenticate::Names;
use super::memory::{self, Held};
use super::{Admitted, Incoming, refused};
use crate::Shard;
use crate::limits::POLICY_ROUNDS_MAX;

/// What the rules have come to on a connection.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "rules say these independently of each other")]
pub(super) struct Rules {
    /// The client spoke before it was greeted.
    is_early_talker: bool,
    known: Known,
    /// What is open under limits, for as long as the connection is, or the message.
    held: Vec<Held>,
    held_for_message: Vec<Held>,
    /// The connection's stages were looked at, for this HELO name.
    greeted: Option<Box<str>>,
    /// The message that MAIL's stage was looked at for.
    message: Option<TransactionId>,
    /// The connection's share of the score, and the message's with it.
    connection_score: i32,
    score: i32,
    /// The greatest score of a recipient of the message.
    recipient_score: i32,
    is_connection_trusted: bool,
    is_trusted: bool,
    /// A rule about one recipient trusts the message: the content's rules are left out, those of others are not.
    is_recipient_trusted: bool,
    is_connection_junk: bool,
    is_junk: bool,
    /// Rules of MAIL's stage hold or drop the message.
    is_held: bool,
    is_discarded: bool,
    connection_refusal: Option<Box<Refused>>,
    /// Messages and refusals of the connection, as the last recipient told them.
    messages: u32,
    errors: u32,
    /// A refusal of an earlier stage: it stands for every recipient until that stage is another.
    refusal: Option<Box<Refused>>,
    connection_fields: Vec<policy::FieldEdit>,
    fields: Vec<policy::FieldEdit>,
}

/// What a stage is about.
struct Moment<'a> {
    shard: &'a Rc<Shard>,
    peer: IpAddr,
    stage: Stage,
    listener: &'static str,
    account: Option<String>,
    helo: &'a str,
    is_tls: bool,
    sender: Option<&'a str>,
    recipients: Vec<&'a str>,
    count: u32,
    size: Option<u64>,
    header: &'a [u8],
    messages: u32,
    errors: u32,
    is_early_talker: bool,
}

impl Rules {
    /// Whether the client spoke before it was greeted, to be said by whoever has greeted it.
    pub(super) const fn is_early_talker(&mut self) -> &mut bool {
        &mut self.is_early_talker
    }

    pub(super) async fn recipient(
        &mut self,
        shard: &Rc<Shard>,
        peer: IpAddr,
        check: &RecipientCheck,
    ) -> Result<Admitted, Box<Refused>> {
        let settings = shard.settings();
        let policy = &settings.inbound.policy;
        if policy.rule_count() == 0 {
            return Ok(Admitted::Yes);
        }
        let sender = check.sender.as_ref().map_or("", |path| path.as_str());
        let mut moment = Moment {
            shard,
            peer,
            stage: Stage::Connect,
            listener: listener(check.mode),
            account: check.identity.as_ref().map(|identity| identity.address.clone()),
            helo: &check.helo,
            is_tls: check.tls.is_some(),
            sender: Some(sender),
            recipients: vec![&check.address],
            count: check.accepted + 1,
            size: check.size_bytes,
            header: b"",
            messages: check.messages,
            errors: check.refused,
            is_early_talker: self.is_early_talker,
        };
        self.begin(policy, &mut moment, check.id).await;
        (self.messages, self.errors) = (check.messages, check.refused);
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if self.is_trusted {
            return Ok(Admitted::Yes);
        }
        moment.stage = Stage::Rcpt;
        let verdict = self.evaluate(policy, &moment).await;
        // A rule about recipients counts once for a message, however many there are: the worst of them does.
        self.recipient_score = self.recipient_score.max(verdict.score);
        if let Decision::Reject(reply) | Decision::Defer(reply) = &verdict.decision {
            return Err(words(reply));
        }
        self.is_junk |= verdict.is_junk;
        self.fields.extend(verdict.fields.iter().cloned());
        self.is_recipient_trusted |= verdict.decision == Decision::Trust;
        // A message is held for all it is for, or for nobody.
        self.is_held |= verdict.decision == Decision::Quarantine;
        let is_dropped = verdict.decision == Decision::Discard;
        Ok(if is_dropped { Admitted::Discarded } else { Admitted::Yes })
    }

    /// The stages before the recipient's, each once for what it is about.
    async fn begin(&mut self, policy: &Arc<Policy>, moment: &mut Moment<'_>, id: TransactionId) {
        if self.greeted.as_deref() != Some(moment.helo) {
            let is_early_talker = self.is_early_talker;
            *self = Self { is_early_talker, greeted: Some(moment.helo.into()), ..Self::default() };
            if is_early_talker {
                self.score = policy.settings().pregreet.score;
            }
            for stage in [Stage::Connect, Stage::Helo] {
                moment.stage = stage;
                self.early(policy, moment).await;
            }
            self.connection_score = self.score;
            self.is_connection_trusted = self.is_trusted;
            self.is_connection_junk = self.is_junk;
            self.connection_fields.clone_from(&self.fields);
            self.connection_refusal.clone_from(&self.refusal);
        }
        if self.message != Some(id) {
            if self.message.is_some() {
                self.known.end_of_message();
                (self.score, self.is_trusted) = (self.connection_score, self.is_connection_trusted);
                (self.is_junk, self.refusal) = (self.is_connection_junk, self.connection_refusal.clone());
                self.fields.clone_from(&self.connection_fields);
                (self.recipient_score, self.is_recipient_trusted) = (0, false);
                (self.is_held, self.is_discarded) = (false, false);
                self.held_for_message.clear();
            }
            self.message = Some(id);
            moment.stage = Stage::Mail;
            self.early(policy, moment).await;
        }
    }

    async fn early(&mut self, policy: &Arc<Policy>, moment: &Moment<'_>) {
        if self.refusal.is_some() || self.is_trusted || !policy.has_rules(moment.stage) {
            return;
        }
        let verdict = self.evaluate(policy, moment).await;
        self.score += verdict.score;
        self.is_junk |= verdict.is_junk;
        self.fields.extend(verdict.fields);
        match verdict.decision {
            Decision::Trust => self.is_trusted = true,
            Decision::Reject(reply) | Decision::Defer(reply) => self.refusal = Some(words(&reply)),
            Decision::Discard => self.is_discarded = true,
            Decision::Quarantine => self.is_held = true,
            Decision::Continue | Decision::Accept => {}
        }
    }

    /// A filter's points at an earlier stage: what rules see from now on.
    pub(super) fn add_points(&mut self, stage: Stage, points: i32) {
        if stage <= Stage::Helo {
            self.connection_score = self.connection_score.saturating_add(points);
        }
        if stage < Stage::Rcpt {
            self.score = self.score.saturating_add(points);
        } else {
            self.recipient_score = self.recipient_score.saturating_add(points);
        }
    }

    /// Rules of the content. What earlier stages wanted done to the header is done here too.
    pub(super) async fn message(
        &mut self,
        shard: &Rc<Shard>,
        peer: IpAddr,
        incoming: &mut Incoming,
    ) -> Result<(), Box<Refused>> {
        let settings = shard.settings();
        let policy = &settings.inbound.policy;
        if policy.rule_count() == 0 {
            return Ok(());
        }
        self.learn(incoming);
        self.score += std::mem::take(&mut self.recipient_score);
        let mut decision = Decision::Continue;
        let is_trusted = self.is_trusted || self.is_recipient_trusted;
        if !is_trusted && policy.has_rules(Stage::Data) {
            let verdict = self.content(policy, shard, peer, incoming).await;
            self.is_junk |= verdict.is_junk;
            self.fields.extend(verdict.fields);
            decision = verdict.decision;
        }
        incoming.is_junk |= self.is_junk;
        incoming.is_held |= self.is_held;
        incoming.is_discarded |= self.is_discarded;
        // The message is decided upon: what is counted at a time does not wait for the next one.
        self.held_for_message.clear();
        if !self.fields.is_empty() {
            edit(incoming, &self.fields);
        }
        let conduct = match &decision {
            Decision::Reject(_) => Conduct::Bad,
            _ if incoming.is_junk => Conduct::Junk,
            _ => Conduct::Good,
        };
        memory::note(shard, policy, peer, conduct);
        match decision {
            Decision::Reject(reply) | Decision::Defer(reply) => return Err(words(&reply)),
            Decision::Discard => incoming.is_discarded = true,
            Decision::Quarantine => incoming.is_held = true,
            Decision::Continue | Decision::Accept | Decision::Trust => {}
        }
        Ok(())
    }

    async fn content(
        &mut self,
        policy: &Arc<Policy>,
        shard: &Rc<Shard>,
        peer: IpAddr,
        incoming: &Incoming,
    ) -> Verdict {
        let envelope = &incoming.message.envelope;
        let body = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
        let moment = Moment {
            shard,
            peer,
            stage: Stage::Data,
            listener: listener(envelope.mode),
            account: envelope.identity.as_ref().map(|identity| identity.address.clone()),
            helo: &envelope.helo,
            is_tls: envelope.tls.is_some(),
            sender: Some(envelope.sender.as_ref().map_or("", |path| path.as_str())),
            recipients: envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect(),
            count: u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX),
            size: Some(body.len() as u64),
            header: body.get(..mime::end_of_headers(body)).unwrap_or(body),
            messages: self.messages,
            errors: self.errors,
            is_early_talker: self.is_early_talker,
        };
        self.evaluate(policy, &moment).await
    }

    /// What was found out about the message need not be found out again.
    fn learn(&mut self, incoming: &Incoming) {
        let Some(verdicts) = &incoming.verdicts else { return };
        self.known.answer(Answer::Iprev(result_of(verdicts.iprev.result.word())));
        self.known.answer(Answer::Spf(result_of(verdicts.spf.result.word())));
        let passed = verdicts.dkim.iter().filter(|dkim| dkim.result == DkimResult::Pass);
        let domains: Vec<String> = passed.map(|dkim| dkim.domain.to_lowercase()).collect();
        let first = verdicts.dkim.first().map_or(AuthResult::None, |dkim| result_of(dkim.result.word()));
        let result = if domains.is_empty() { first } else { AuthResult::Pass };
        self.known.answer(Answer::Dkim { result, domains });
        let policy = format!("{:?}", verdicts.dmarc.policy).to_lowercase();
        self.known.answer(Answer::Dmarc { result: result_of(verdicts.dmarc.result.word()), policy });
    }

    /// Evaluates until nothing is asked any more, a bounded number of times.
    async fn evaluate(&mut self, policy: &Arc<Policy>, moment: &Moment<'_>) -> Verdict {
        // Each round is over with the first rule that asks.
        for _ in 0..=POLICY_ROUNDS_MAX + policy.rule_count() {
            let asked = match policy.evaluate(moment.stage, &moment.facts(&self.known, self.score)) {
                Outcome::Done(verdict) => {
                    self.known.end_of_stage();
                    Self::log(policy, moment, &verdict);
                    if verdict.tarpit_ms > 0 {
                        let end = moment.shard.world.now()
                            + std::time::Duration::from_millis(u64::from(verdict.tarpit_ms));
                        moment.shard.world.sleep_until(end).await;
                    }
                    return verdict;
                }
                Outcome::Needs(asked) => asked,
            };
            for question in asked {
                let held =
                    if moment.stage <= Stage::Helo { &mut self.held } else { &mut self.held_for_message };
                let answer = moment.answer(policy, question, &self.known, held).await;
                self.known.answer(answer);
            }
            give_way().await;
        }
        tracing::error!(event = "inbound.rules_endless", stage = moment.stage.name());
        Verdict {
            decision: Decision::Continue,
            tarpit_ms: 0,
            score: 0,
            is_junk: false,
            fields: Vec::new(),
            rules: Vec::new(),
        }
    }

    fn log(policy: &Arc<Policy>, moment: &Moment<'_>, verdict: &Verdict) {
        for rule in &verdict.rules {
            tracing::info!(
                event = "inbound.rule", rule = policy.rule_name(*rule), stage = moment.stage.name(), peer = %moment.peer,
                sender = moment.sender.unwrap_or_default(), decision = decision_word(&verdict.decision)
            );
        }
    }
}

impl Moment<'_> {
    fn facts<'a>(&'a self, known: &'a Known, score: i32) -> Facts<'a> {
        Facts {
            source: self.peer,
            listener: self.listener,
            is_tls: self.is_tls,
            account: self.account.as_deref(),
            is_early_talker: self.is_early_talker,
            helo: (self.stage >= Stage::Helo).then_some(self.helo),
            sender: self.sender.filter(|_| self.stage >= Stage::Mail),
            recipients: if self.stage >= Stage::Rcpt { &self.recipients } else { &[] },
            recipient_count: self.count,
            size: self.size,
            header: self.header,
            message_count: self.messages,
            error_count: self.errors,
            score,
            known,
        }
    }

    async fn answer(
        &self,
        policy: &Arc<Policy>,
        question: Question,
        known: &Known,
        held: &mut Vec<Held>,
    ) -> Answer {
        let names = Names(Rc::clone(self.shard));
        match question {
            Question::Iprev => {
                Answer::Iprev(result_of(mailauth::iprev::check(&names, self.peer).await.result.word()))
            }
            Question::ReverseName => Answer::ReverseName(self.reverse_name().await),
            Question::Spf => Answer::Spf(self.spf(&names).await),
            // Before the content is there, and where nobody looks at it, nothing is known of them.
            Question::Dkim => Answer::Dkim { result: AuthResult::None, domains: Vec::new() },
            Question::Dmarc => Answer::Dmarc { result: AuthResult::None, policy: "none".to_owned() },
            Question::Listed { list, name } => {
                let found = self.shard.world.lookup(Query::new(&name, RecordKind::A)).await;
                let records = found.map(|answer| answer.records).unwrap_or_default();
                let address = |record| if let Record::A(address) = record { Some(address) } else { None };
                Answer::Listed(list, records.into_iter().filter_map(address).collect())
            }
            Question::Reputation | Question::Greylist | Question::Limit(_) => {
                memory::answer(self.shard, policy, &self.facts(known, 0), question, held).await
            }
        }
    }

    async fn reverse_name(&self) -> Option<String> {
        let query = Query::new(&mailauth::reverse_name(self.peer), RecordKind::Ptr);
        let answer = self.shard.world.lookup(query).await.ok()?;
        answer
            .records
            .into_iter()
            .find_map(|record| if let Record::Ptr(name) = record { Some(name) } else { None })
    }

    async fn spf(&self, names: &Names) -> AuthResult {
        let settings = self.shard.settings();
        let sender = Sender {
            ip: self.peer,
            helo: self.helo,
            mail_from: self.sender.unwrap_or_default(),
            receiver: &settings.hostname,
            now: self.shard.world.now(),
        };
        result_of(mailauth::spf::check_mail_from(names, &sender).await.result.word())
    }
}

/// Changes header fields of the message; our own in front stay.
fn edit(incoming: &mut Incoming, fields: &[policy::FieldEdit]) {
    let own = incoming.message.envelope.received_field_bytes;
    let Some(message) = incoming.message.data.get(own..) else { return };
    let edited = policy::edit_fields(message, fields);
    incoming.message.data.truncate(own);
    incoming.message.data.extend_from_slice(&edited);
}

/// A rule's words.
#[expect(clippy::unnecessary_box_returns, reason = "refusals are boxed wherever they go")]
pub(super) fn words(reply: &policy::Reply) -> Box<Refused> {
    refused(reply.code, reply.enhanced, &reply.text)
}

const fn decision_word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Continue => "continue",
        Decision::Accept => "accept",
        Decision::Trust => "trust",
        Decision::Reject(_) => "reject",
        Decision::Defer(_) => "defer",
        Decision::Discard => "discard",
        Decision::Quarantine => "quarantine",
    }
}

const fn listener(mode: Mode) -> &'static str {
    match mode {
        Mode::Mx => "smtp",
        Mode::Submission => "submission",
        Mode::Lmtp => "lmtp",
    }
}

/// A result by its word (RFC 8601 §2.7).
fn result_of(word: &str) -> AuthResult {
    AuthResult::NAMES.iter().find(|(name, _)| *name == word).map_or(AuthResult::None, |(_, result)| *result)
}

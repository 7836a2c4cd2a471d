//! Filters before the content is there: hooks at the stages that they are set up for, milters at RCPT. Those of the stages
//! connect, helo and mail are asked with the first recipient, like rules.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use filter::{Content, Facts, Failure, HookStage, Outcome, Verdict};
use policy::Stage;
use smtp::{Mode, RecipientCheck, Refused, TransactionId};

use super::ask::{Asking, Question};
use super::lane::Said;
use super::milter::Conversation;
use super::{FilterKind, FilterSettings, listener, said_no, tls_version};
use crate::Shard;
use crate::inbound::authenticate::Names;
use crate::inbound::rules::Rules;

/// What filters have said on a connection.
#[derive(Debug, Default)]
pub(in crate::inbound) struct Early {
    /// The HELO name that hooks were asked about.
    greeted: Option<Box<str>>,
    /// The client's name, once it was looked up; empty where it has none.
    name: Option<String>,
    message: Option<TransactionId>,
    /// Refusals of earlier stages stand for every recipient: of the connection until there is another name, of the
    /// message until there is another.
    connection_refusal: Option<Box<Refused>>,
    refusal: Option<Box<Refused>>,
    /// Recipients of the message that went through.
    accepted: Vec<String>,
    /// By the filter's name; nothing for one that has failed, which is asked when the content is there.
    milters: HashMap<String, Option<Conversation>>,
}

/// What a recipient is asked about with.
struct Moment<'a> {
    shard: &'a Rc<Shard>,
    peer: Option<IpAddr>,
    check: &'a RecipientCheck,
    is_trusted: bool,
}

impl Moment<'_> {
    /// Whether its mail is authenticated: it is from elsewhere.
    fn is_foreign(&self, peer: IpAddr) -> bool {
        self.check.mode == Mode::Mx && !peer.to_canonical().is_loopback() && !self.is_trusted
    }
}

impl Early {
    /// The conversation with a milter that has begun about a message.
    pub(super) fn begun(&mut self, name: &str, id: TransactionId) -> Option<Conversation> {
        if self.message != Some(id) {
            return None;
        }
        self.milters.remove(name).flatten()
    }

    /// Asks about a recipient, and before the first of a message about that.
    pub(in crate::inbound) async fn recipient(
        &mut self,
        shard: &Rc<Shard>,
        peer: Option<IpAddr>,
        check: &RecipientCheck,
        rules: &mut Rules,
    ) -> Result<(), Box<Refused>> {
        let settings = shard.settings();
        let is_trusted = peer.is_some_and(|peer| settings.outbound.may_relay(peer));
        let moment = Moment { shard, peer, check, is_trusted };
        // On the heap, so that connections do not keep room for it while they are idle.
        Box::pin(self.ask(&moment, rules)).await
    }

    async fn ask(&mut self, moment: &Moment<'_>, rules: &mut Rules) -> Result<(), Box<Refused>> {
        let check = moment.check;
        if self.greeted.as_deref() != Some(&*check.helo) {
            *self = Self { greeted: Some((*check.helo).into()), name: self.name.take(), ..Self::default() };
            for stage in [HookStage::Connect, HookStage::Helo] {
                self.connection_refusal = self.hooks(moment, stage, rules).await.err();
                if self.connection_refusal.is_some() {
                    break;
                }
            }
        }
        if self.message != Some(check.id) {
            self.message = Some(check.id);
            self.accepted.clear();
            self.milters.clear();
            self.refusal.clone_from(&self.connection_refusal);
            if self.refusal.is_none() {
                self.refusal = self.hooks(moment, HookStage::Mail, rules).await.err();
            }
        }
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.hooks(moment, HookStage::Rcpt, rules).await?;
        self.milters(moment).await?;
        self.accepted.push(check.address.clone());
        Ok(())
    }

    /// All hooks of a stage, until one refuses.
    async fn hooks(
        &mut self,
        moment: &Moment<'_>,
        stage: HookStage,
        rules: &mut Rules,
    ) -> Result<(), Box<Refused>> {
        let settings = moment.shard.settings();
        for filter in &settings.inbound.filters {
            let is_hook = matches!(filter.kind, FilterKind::Hook(_));
            if !is_hook || !filter.is_for(stage, moment.check.mode, moment.is_trusted) {
                continue;
            }
            let question = self.question(moment, stage).await;
            let lane = moment.shard.filters.of(&filter.name, &settings.inbound.filters);
            let end = moment.shard.world.now() + filter.timeout;
            let asking = Asking { shard: moment.shard, filter, lane: &lane, end };
            let asked = asking.ask(&question).await;
            let verdict = match &asked {
                Ok(outcome) => outcome.verdict.clone(),
                Err(failure) => failed(filter, moment, failure).verdict,
            };
            let said = if asked.is_ok() { said(&verdict) } else { Said::Failed };
            lane.count(said);
            log(filter, moment, word(stage), said);
            if let Verdict::Points(points) = verdict {
                rules.add_points(stage_of(stage), points);
            }
            refusal(&verdict)?;
        }
        Ok(())
    }

    /// All milters that hear of recipients. What a milter wants dropped goes on until its content is there.
    async fn milters(&mut self, moment: &Moment<'_>) -> Result<(), Box<Refused>> {
        let settings = moment.shard.settings();
        for filter in &settings.inbound.filters {
            let FilterKind::Milter { reuse } = filter.kind else { continue };
            if !filter.is_for(HookStage::Rcpt, moment.check.mode, moment.is_trusted) {
                continue;
            }
            let lane = moment.shard.filters.of(&filter.name, &settings.inbound.filters);
            let end = moment.shard.world.now() + filter.timeout;
            let asking = Asking { shard: moment.shard, filter, lane: &lane, end };
            if !self.milters.contains_key(&filter.name) {
                let question = self.question(moment, HookStage::Rcpt).await;
                let begun = asking.begin(&question, reuse).await;
                let begun = begun.inspect_err(|failure| away(filter, moment, failure)).ok();
                self.milters.insert(filter.name.clone(), begun);
            }
            let Some(Some(conversation)) = self.milters.get_mut(&filter.name) else { continue };
            // What it said of the client or the sender stands for every recipient.
            if let Err(refusal) = refusal(conversation.verdict()) {
                lane.count(said(conversation.verdict()));
                log(filter, moment, "mail", said(conversation.verdict()));
                self.refusal = Some(refusal.clone());
                return Err(refusal);
            }
            if *conversation.verdict() == Verdict::Discard {
                continue;
            }
            match conversation.recipient(&asking, &moment.check.address).await {
                Ok(verdict) => {
                    let refused = refusal(&verdict);
                    if refused.is_err() {
                        lane.count(said(&verdict));
                        log(filter, moment, "rcpt", said(&verdict));
                    }
                    refused?;
                }
                Err(failure) => {
                    away(filter, moment, &failure);
                    self.milters.insert(filter.name.clone(), None);
                }
            }
        }
        Ok(())
    }

    async fn question(&mut self, moment: &Moment<'_>, stage: HookStage) -> Question {
        let (shard, check) = (moment.shard, moment.check);
        let settings = shard.settings();
        if self.name.is_none()
            && let Some(peer) = moment.peer.filter(|peer| moment.is_foreign(*peer))
            && settings.inbound.authenticates
        {
            // The same look-up as when a message is authenticated.
            let name = mailauth::iprev::check(&Names(Rc::clone(shard)), peer).await.name;
            self.name = Some(name.unwrap_or_default());
        }
        let mut recipients = self.accepted.clone();
        recipients.push(check.address.clone());
        let tls = check.tls.as_ref();
        let is_from = |least: HookStage| stage as u8 >= least as u8;
        let facts = Facts {
            client_address: moment.peer,
            client_port: None,
            client_name: self.name.clone().filter(|name| !name.is_empty()),
            helo: is_from(HookStage::Helo).then(|| check.helo.to_string()),
            user: check.identity.as_ref().map(|identity| identity.address.clone()),
            sender: is_from(HookStage::Mail)
                .then(|| check.sender.as_ref().map_or_else(String::new, |path| path.as_str().to_owned())),
            recipients: if is_from(HookStage::Rcpt) { recipients } else { Vec::new() },
            queue_id: is_from(HookStage::Mail).then(|| check.id.to_string()),
            server_name: Some(settings.hostname.clone()),
            tls_version: tls.map(|tls| tls_version(&tls.version)),
            tls_cipher: tls.map(|tls| tls.cipher.clone()),
            tls_issuer: None,
        };
        let content = Content::new(Arc::default(), 0);
        Question { stage, facts, content, is_extended: check.is_extended, listener: listener(check.mode) }
    }
}

/// What is refused is refused in the filter's words; all else goes on.
fn refusal(verdict: &Verdict) -> Result<(), Box<Refused>> {
    match verdict {
        Verdict::Reject(reply) | Verdict::TempFail(reply) => said_no(reply),
        Verdict::Continue
        | Verdict::Accept
        | Verdict::Greylist(_)
        | Verdict::Discard
        | Verdict::Quarantine(_)
        | Verdict::Junk { .. }
        | Verdict::Points(_) => Ok(()),
    }
}

const fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Reject(_) => Said::Reject,
        Verdict::TempFail(_) => Said::Defer,
        Verdict::Discard => Said::Discard,
        _ => Said::Pass,
    }
}

fn failed(filter: &FilterSettings, moment: &Moment<'_>, failure: &Failure) -> Outcome {
    let (id, policy) = (moment.check.id, filter.on_failure);
    tracing::warn!(event = "inbound.filter_failed", name = filter.name, %id, error = %failure, on_failure = ?policy);
    policy.outcome(failure)
}

/// Not its last word: it is asked again when the content is there, and what its failure means is said then.
fn away(filter: &FilterSettings, moment: &Moment<'_>, failure: &Failure) {
    tracing::debug!(event = "inbound.filter_away", name = filter.name, id = %moment.check.id, error = %failure);
}

fn log(filter: &FilterSettings, moment: &Moment<'_>, stage: &str, said: Said) {
    let (id, recipient) = (moment.check.id, moment.check.address.as_str());
    tracing::info!(event = "inbound.filter", name = filter.name, stage, %id, recipient, verdict = said.word());
}

const fn word(stage: HookStage) -> &'static str {
    stage_of(stage).name()
}

const fn stage_of(stage: HookStage) -> Stage {
    match stage {
        HookStage::Connect => Stage::Connect,
        HookStage::Helo => Stage::Helo,
        HookStage::Mail => Stage::Mail,
        HookStage::Rcpt => Stage::Rcpt,
        HookStage::Data => Stage::Data,
    }
}

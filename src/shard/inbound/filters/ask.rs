//! One filter asked about one message: a way to it, the question of its kind, and its answer as an outcome.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use base::Timestamp;
use filter::{
    Clamd, ClamdConfig, Content, Facts, Failure, Hook, HookConfig, HookStage, HttpConfig, OnVirus, Outcome,
    Reuse, Rspamd, RspamdConfig, RspamdRequest,
};

use super::lane::{Connection, Lane};
use super::line::Line;
use super::milter::Conversation;
use super::{FilterKind, FilterSettings, HookSettings, RspamdSettings, milter};
use crate::{Shard, World};

/// What a filter is asked about.
pub(super) struct Question {
    pub(super) stage: HookStage,
    pub(super) facts: Facts,
    /// Empty before the content is there.
    pub(super) content: Content,
    /// Whether the client said EHLO.
    pub(super) is_extended: bool,
    /// The listener, by its name in the configuration.
    pub(super) listener: &'static str,
}

/// An asked filter's moment: what everything that is done for it needs.
pub(super) struct Asking<'a> {
    pub(super) shard: &'a Rc<Shard>,
    pub(super) filter: &'a FilterSettings,
    pub(super) lane: &'a Rc<Lane>,
    /// When its time is up.
    pub(super) end: Timestamp,
}

impl Asking<'_> {
    /// Asks. Why there was no connection is logged here, since a failure has no words for it.
    pub(super) async fn ask(&self, question: &Question) -> Result<Outcome, Failure> {
        let (world, filter) = (&*self.shard.world, self.filter);
        if question.content.shown().len() > filter.message_bytes_max {
            return Err(Failure::TooLarge);
        }
        let _permit = self.lane.permit(world, filter.connections_max, self.end).await?;
        while let Some(mut waiting) = self.lane.take(&filter.place) {
            if waiting.line.is_stale() {
                continue;
            }
            // It may be closing while we ask: then the next connection is asked.
            match self.talk(waiting, question).await {
                Err(Failure::Closed) => {}
                answered => return answered,
            }
        }
        self.talk(self.open().await?, question).await
    }

    /// Goes on with what has begun at RCPT; where that is of no use any more, asks from the beginning.
    pub(super) async fn finish(
        &self,
        begun: Option<Conversation>,
        question: &Question,
    ) -> Result<Outcome, Failure> {
        let Some(begun) = begun else { return self.ask(question).await };
        if question.content.shown().len() > self.filter.message_bytes_max {
            return Err(Failure::TooLarge);
        }
        let permit = self.lane.permit(&*self.shard.world, self.filter.connections_max, self.end).await?;
        let asked = begun.finish(self, question).await;
        drop(permit);
        match asked {
            Err(Failure::Closed) => self.ask(question).await,
            answered => answered,
        }
    }

    /// Begins a conversation with a milter before the content is there.
    pub(super) async fn begin(&self, question: &Question, reuse: Reuse) -> Result<Conversation, Failure> {
        let (world, filter) = (&*self.shard.world, self.filter);
        let _permit = self.lane.permit(world, filter.connections_max, self.end).await?;
        while let Some(mut waiting) = self.lane.take(&filter.place) {
            if waiting.line.is_stale() {
                continue;
            }
            match Conversation::begin(self, waiting, question, reuse).await {
                Err(Failure::Closed) => {}
                begun => return begun,
            }
        }
        Conversation::begin(self, self.open().await?, question, reuse).await
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let filter = self.filter;
        let opened = within(&*self.shard.world, self.end, Line::open(self.shard, filter)).await;
        let line = opened.ok_or(Failure::Timeout)?.map_err(|error| {
            tracing::debug!(event = "inbound.filter_unreachable", name = filter.name, %error);
            Failure::Closed
        })?;
        Ok(Connection { line, milter: None })
    }

    async fn talk(&self, connection: Connection, question: &Question) -> Result<Outcome, Failure> {
        match &self.filter.kind {
            FilterKind::Milter { reuse } => milter::ask(self, connection, question, *reuse).await,
            FilterKind::Rspamd(settings) => self.rspamd(connection, question, settings).await,
            FilterKind::Clamd { on_virus } => self.clamd(connection, question, *on_virus).await,
            FilterKind::Hook(settings) => self.hook(connection, question, settings).await,
        }
    }

    async fn rspamd(
        &self,
        mut connection: Connection,
        question: &Question,
        settings: &RspamdSettings,
    ) -> Result<Outcome, Failure> {
        let password = settings.password.as_ref().map(|password| password.reveal().clone());
        let config = RspamdConfig { url: settings.url.clone(), http: self.http(), password };
        let deliver_to = match question.facts.recipients.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        };
        let request = RspamdRequest {
            facts: question.facts.clone(),
            deliver_to,
            mta_tag: settings.tag.clone(),
            settings_id: settings.settings_id.clone(),
            settings: None,
        };
        let mut rspamd = Rspamd::new(&config, &request, question.content.clone());
        let assessment = connection.line.drive(&*self.shard.world, &mut rspamd, self.end).await?;
        if rspamd.is_reusable() {
            self.lane.put(self.shard, &self.filter.place, connection);
        }
        Ok(assessment.outcome)
    }

    async fn clamd(
        &self,
        mut connection: Connection,
        question: &Question,
        on_virus: OnVirus,
    ) -> Result<Outcome, Failure> {
        let config =
            ClamdConfig { answer_ms_max: self.ms_max(), message_bytes_max: self.filter.message_bytes_max };
        let mut clamd = Clamd::scan(config, question.content.clone());
        let answer = connection.line.drive(&*self.shard.world, &mut clamd, self.end).await?;
        Ok(answer.outcome(on_virus))
    }

    async fn hook(
        &self,
        mut connection: Connection,
        question: &Question,
        settings: &HookSettings,
    ) -> Result<Outcome, Failure> {
        let HookSettings { url, fields, share } = settings.clone();
        let config = HookConfig { url, http: self.http(), fields, share };
        let content = (question.stage == HookStage::Data).then_some(&question.content);
        let mut hook = Hook::new(&config, question.stage, &question.facts, content);
        let outcome = connection.line.drive(&*self.shard.world, &mut hook, self.end).await?;
        if hook.is_reusable() {
            self.lane.put(self.shard, &self.filter.place, connection);
        }
        Ok(outcome)
    }

    fn http(&self) -> HttpConfig {
        let usual = HttpConfig::default();
        let message_bytes_max = self.filter.message_bytes_max;
        HttpConfig { answer_ms_max: self.ms_max(), message_bytes_max, ..usual }
    }

    /// The whole time that the filter has, in milliseconds.
    pub(super) fn ms_max(&self) -> i64 {
        i64::try_from(self.filter.timeout.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The work's result, or nothing when its time is up.
async fn within<T>(world: &dyn World, end: Timestamp, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut sleep) = (pin!(work), world.sleep_until(end));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

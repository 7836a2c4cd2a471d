//! What is asked of many messages at a time, told from their summaries: one read for many messages, and each
//! answer a copy. What has no summary is read and parsed, in its place among the others.

use account::Message;
use base::Out;

use super::Job;
use crate::command::fetch::Item;
use crate::handlers::ahead::{batches, batches_of};
use crate::reply::Failure;
use crate::response::fetch::{write_end, write_property, write_start};
use crate::summary::Summary;

impl Job<'_> {
    /// Tells of messages of which no more than envelopes and structures are needed. What was read for it is
    /// held while a peer takes its time, so it is bounded: most often it is all of a chunk.
    pub(super) async fn list(
        &mut self,
        numbered: &[(u32, &Message)],
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let cost = |(_, message): &(u32, &Message)| message.body.summary_bytes();
        for batch in batches_of(numbered.len(), numbered, cost) {
            self.list_batch(batch, out).await?;
        }
        Ok(())
    }

    async fn list_batch(&mut self, numbered: &[(u32, &Message)], out: &mut Out<'_>) -> Result<(), Failure> {
        let bodies = numbered.iter().map(|(_, message)| message.body);
        let mut summaries = core::mem::take(&mut self.summaries);
        self.account.summaries(bodies, &mut summaries).await;
        let mut at = 0;
        while let Some((number, message)) = numbered.get(at) {
            if let Some(summary) = summaries.get(at).and_then(Summary::read)
                && self.tell(*number, message, &summary, out)
            {
                out.room().await?;
                self.pace.spend(summary.envelope.len()).await;
                at += 1;
                continue;
            }
            let is_without = |at: &usize| summaries.get(*at).and_then(Summary::read).is_none();
            let end = (at + 1..numbered.len()).take_while(is_without).last().unwrap_or(at) + 1;
            let need = self.need;
            for batch in batches(numbered.get(at..end).unwrap_or(&[]), |(_, one)| need.bytes_of(one)) {
                self.batch(batch, out).await?;
            }
            at = end;
        }
        self.summaries = summaries;
        Ok(())
    }

    /// Writes an answer; false, and nothing is written, when the summary has not all that is asked for.
    fn tell(&mut self, number: u32, message: &Message, summary: &Summary<'_>, out: &mut Out<'_>) -> bool {
        let buffer = &mut out.buffer;
        let start = buffer.len();
        self.learn_keywords(message);
        write_start(buffer, number);
        for (index, item) in self.request.items.iter().enumerate() {
            if index > 0 {
                buffer.push(b' ');
            }
            match (item, summary.structure) {
                (Item::Property(property), _) => write_property(buffer, *property, message, &self.names),
                (Item::Envelope, _) => {
                    buffer.extend_from_slice(b"ENVELOPE ");
                    buffer.extend_from_slice(summary.envelope);
                }
                (Item::BodyStructure, Some(structure)) => {
                    buffer.extend_from_slice(b"BODYSTRUCTURE ");
                    buffer.extend_from_slice(structure);
                }
                _ => {
                    buffer.truncate(start);
                    return false;
                }
            }
        }
        write_end(buffer);
        true
    }
}

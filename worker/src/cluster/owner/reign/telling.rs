//! What the owner tells: beats to members, the watermark to consumers, the status to people.

use std::time::Instant;

use tidemark_crds::MemberStatus;
use tidemark_model::Ts;
use tidemark_proto::peerspb::{Beat, from_owner};
use tokio::time::timeout;

use super::{FAREWELL, Reign};
use crate::cluster::memory::WatermarkFile;
use crate::cluster::owner::phase::{Situation, held_by, phase};
use crate::cluster::owner::resource::StatusWriter;
use crate::cluster::owner::status::{Told, entered};

impl Reign<'_> {
    /// Everything at or below it is durable, and all DDL has passed. A feed without spans follows the schema.
    pub(super) fn checkpoint(&self) -> Ts {
        let met = self.pending.front().map_or(Ts::MAX, |ddl| ddl.ts.prev());
        self.durable().min(met)
    }

    pub(super) fn publish(&mut self) {
        let checkpoint = self.checkpoint();
        // Until everyone has spoken spans may be further than we know.
        if !self.gathered || checkpoint <= self.floor || checkpoint == Ts::MAX {
            return;
        }
        self.floor = checkpoint;
        self.beat(Instant::now());
        self.wanted.send_replace(checkpoint);
    }

    /// Tells all members that we are there, and up to where consumers know.
    pub(super) fn beat(&mut self, now: Instant) {
        self.opened.right.set_alone(self.roster.is_cut_off(now));
        let grant = self.opened.right.holds();
        let mut lost = Vec::new();
        for (_, worker) in self.roster.iter() {
            let Some(link) = &worker.link else { continue };
            if worker.is_silent(now) {
                lost.push(link.number);
                continue;
            }
            let beat = from_owner::Message::Beat(Beat {
                watermark: self.floor.0,
                grant,
                heard: worker.heard,
                through: self.through.0,
            });
            if !link.send(beat) {
                lost.push(link.number);
            }
        }
        self.drop_links(lost);
    }

    /// From where on a member has to know the schema.
    pub(super) fn checkpoint_for_schema(&self) -> Ts {
        match self.checkpoint() {
            // Plain keys have no schema.
            Ts::MAX => self.opened.start,
            checkpoint => checkpoint,
        }
    }

    /// Brings what is told up to date.
    pub(super) fn tell(&mut self, now: Instant) {
        let table = &self.opened.table;
        let idle = table.idle();
        self.idle_since = match (idle, self.idle_since) {
            (0, _) => None,
            (_, since) => since.or(Some(now)),
        };
        let all_run = idle == 0 && self.gathered;
        self.streamed |= all_run;
        if all_run {
            self.trouble = None;
        }
        let halt = self.opened.halt.borrow().clone();
        let situation = Situation {
            halt: halt.as_ref(),
            trouble: self.trouble.as_ref(),
            streamed: self.streamed,
            spans: table.len(),
            idle,
            idle_since: self.idle_since,
        };
        let (phase, message) = phase(&situation, now);
        let wall = jiff::Timestamp::now();
        let clock = *self.clock.borrow();
        let before = self.told.borrow().clone();
        let received = self.roster.iter().map(|(_, worker)| worker.received);
        let checkpoint = self.checkpoint_for_schema();
        let told = Told {
            checkpoint: checkpoint.max(before.checkpoint),
            resolved: received.filter(|ts| *ts > Ts::ZERO).min().unwrap_or(Ts::ZERO),
            now: clock.max(checkpoint),
            spans: table.len(),
            held_by: held_by(
                table,
                &self.roster,
                self.opened.barrier.at(),
                self.pending.front().map(AsRef::as_ref),
                clock,
                before.held_by.as_ref(),
                wall,
            ),
            stream: entered(&before.stream, phase, message, wall),
            members: self.members(),
        };
        self.told.send_if_modified(|last| {
            let changed = *last != told;
            *last = told;
            changed
        });
    }

    pub(super) fn members(&self) -> Vec<MemberStatus> {
        let mut members: Vec<_> = self
            .roster
            .iter()
            .map(|(seat, worker)| MemberStatus {
                name: worker.pod.clone(),
                spans: i64::try_from(self.opened.table.held(seat)).unwrap_or(i64::MAX),
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Publishes and writes what is reached, so that the next owner goes on right there.
    pub(super) async fn farewell(&mut self, writer: &StatusWriter) {
        self.tell(Instant::now());
        let told = self.told.borrow().clone();
        let words = async {
            if self.gathered && told.checkpoint > self.floor && self.opened.right.holds() {
                WatermarkFile::new(self.shared.state.path()).save(told.checkpoint);
                self.opened.sink.watermark(told.checkpoint).await?;
            }
            self.opened.sink.flush().await?;
            writer.write(&told).await
        };
        match timeout(FAREWELL, words).await {
            Ok(Ok(true)) => tracing::info!(checkpoint = %told.checkpoint, "Gives the feed to the next owner"),
            Ok(Ok(false)) | Err(_) => tracing::warn!("Could not write the last status in time"),
            Ok(Err(error)) => tracing::warn!(%error, "Could not publish the last checkpoint"),
        }
    }
}

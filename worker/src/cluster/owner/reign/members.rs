//! What members say, and what they are told.

use std::collections::HashMap;
use std::time::Instant;

use tidemark_model::Ts;
use tidemark_proto::peerspb::{Hello, Prepare, Refused, Start, Stop, Welcome, from_member, from_owner};

use super::Reign;
use crate::cluster::memory::{position, read_positions};
use crate::cluster::owner::judge::Ruling;
use crate::cluster::owner::phase::Trouble;
use crate::cluster::owner::roster::Role;
use crate::cluster::owner::table::Seat;
use crate::cluster::peers::{Arrival, Link};
use crate::cluster::span_key::SpanKey;

impl Reign<'_> {
    pub(super) fn drop_links(&mut self, links: Vec<u64>) {
        for number in links {
            self.gone(number);
        }
    }

    pub(super) fn gone(&mut self, stream: u64) {
        if let Some(seat) = self.roster.gone(stream) {
            let pod = self.roster.get(seat).map(|worker| worker.pod.clone());
            tracing::info!(pod, "A worker is not connected any more");
            self.doubt();
        }
    }

    /// Has those who can't be asked looked at.
    pub(super) fn doubt(&self) {
        let doubts = self.roster.doubts();
        self.doubts.send_if_modified(|open| {
            let changed = *open != doubts;
            *open = doubts;
            changed
        });
    }

    pub(super) fn rule(&mut self, ruling: Ruling) {
        match ruling {
            Ruling::Lives(pod, identity) => self.roster.found(&pod, &identity, Instant::now()),
            Ruling::Over(doubt) => {
                if let Some(seat) = self.roster.over(&doubt) {
                    tracing::info!(pod = doubt.pod, "A worker is over; its spans go to others");
                    self.opened.table.vacate(seat);
                }
            }
        }
        self.doubt();
        self.dirty = true;
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let (link, message) = match arrival {
            Arrival::Gone(stream) => return self.gone(stream),
            Arrival::Message(link, message) => (link, *message),
        };
        if let from_member::Message::Hello(hello) = message {
            return self.hello(hello, &link);
        }
        let Some(seat) = self.roster.seat_of(link.number) else {
            // Someone whom we have given up: it has to say Hello again.
            return link.close();
        };
        let table = &mut self.opened.table;
        match message {
            from_member::Message::Hello(_) => {}
            from_member::Message::Report(report) => {
                table.floor(seat, report.floor.map(Ts));
                self.roster.report(seat, &report, Instant::now());
                if let Some(worker) = self.roster.get(seat).filter(|_| !report.lease_version.is_empty()) {
                    self.shared.sightings.told(&worker.pod, &report.lease_version);
                }
                return;
            }
            from_member::Message::Prepared(prepared) => {
                for span in prepared.spans {
                    table.prepared(seat, &span.into());
                }
            }
            from_member::Message::Started(started) => {
                for span in started.spans {
                    table.started(seat, &span.into());
                }
            }
            from_member::Message::Stopped(stopped) => {
                for (key, at) in read_positions(stopped.positions) {
                    table.stopped(seat, &key, at);
                }
            }
            from_member::Message::Loads(loads) => {
                let bytes: HashMap<SpanKey, u64> = loads
                    .loads
                    .into_iter()
                    .filter_map(|load| Some((load.span?.into(), load.bytes)))
                    .collect();
                table.load(seat, &bytes, crate::cluster::member::LOADS.as_secs());
                return;
            }
            from_member::Message::Failed(failed) => {
                let pod = self
                    .roster
                    .get(seat)
                    .map(|worker| worker.pod.clone())
                    .unwrap_or_default();
                tracing::warn!(pod, failed.message, "A worker gave its spans up");
                table.vacate(seat);
                for (key, at) in read_positions(failed.positions) {
                    table.remember(&key, at);
                }
                self.roster.set_role(seat, Role::Failed);
                self.trouble = Some(Trouble {
                    pod,
                    message: failed.message,
                    transient: failed.transient,
                });
            }
            from_member::Message::Leaving(_) => self.roster.set_role(seat, Role::Leaving),
        }
        self.dirty = true;
    }

    /// A member joins, or is turned away.
    pub(super) fn hello(&mut self, hello: Hello, link: &Link) {
        let me = &self.shared.me;
        let refuse = |reason: String| {
            link.send(from_owner::Message::Refused(Refused { reason }));
        };
        if hello.feed_uid != me.feed_uid || hello.epoch > self.opened.teller.epoch {
            let epoch = self.opened.teller.epoch;
            return refuse(format!("this is epoch {epoch} of feed {}", me.feed_uid));
        }
        let stranger = hello.revision != me.revision;
        if stranger && !hello.running.is_empty() {
            return refuse(format!("settings of revision {} are in force", me.revision));
        }
        let role = if stranger { Role::Standby } else { Role::Working };
        let (seat, earlier) = self.roster.join(&hello, link.clone(), role, Instant::now());
        self.learn_through(Ts(hello.through));
        let table = &mut self.opened.table;
        for seat in earlier {
            table.vacate(seat);
        }
        let strange = table.hello(seat, &read_positions(hello.running));
        if !stranger {
            for (key, at) in read_positions(hello.remembered) {
                table.remember(&key, at);
            }
        }
        self.floor = self.floor.max(Ts(hello.watermark));
        tracing::info!(
            pod = hello.pod,
            ?role,
            spans = table.held(seat),
            "A worker has joined"
        );
        link.send(from_owner::Message::Welcome(Welcome {
            epoch: self.opened.teller.epoch,
            checkpoint: self.checkpoint_for_schema().0,
            through: self.through.0,
        }));
        if !strange.is_empty() {
            let spans = strange.iter().map(Into::into).collect();
            link.send(from_owner::Message::Stop(Stop { spans }));
        }
        self.doubt();
        self.dirty = true;
    }

    /// Sends spans to start, or to stop, to the worker that they are meant for.
    pub(super) fn send_start(&mut self, seat: Seat, keys: &[(SpanKey, Ts)]) {
        let positions = keys.iter().map(|(key, at)| position(key, *at)).collect();
        self.send(seat, from_owner::Message::Start(Start { positions }));
    }

    pub(super) fn send_prepare(&mut self, seat: Seat, keys: &[(SpanKey, Ts)]) {
        let positions = keys.iter().map(|(key, at)| position(key, *at)).collect();
        self.send(seat, from_owner::Message::Prepare(Prepare { positions }));
    }

    pub(super) fn send_stop(&mut self, seat: Seat, keys: &[SpanKey]) {
        let spans = keys.iter().map(Into::into).collect();
        self.send(seat, from_owner::Message::Stop(Stop { spans }));
    }

    pub(super) fn send(&mut self, seat: Seat, message: from_owner::Message) {
        let link = self.roster.get(seat).and_then(|worker| worker.link.as_ref());
        if let Some(link) = link
            && !link.send(message)
        {
            let number = link.number;
            self.gone(number);
        }
    }
}

//! What waits to be sent on one stream, bounded in bytes.

use std::collections::VecDeque;

use parking_lot::Mutex;
use prost::Message;
use tidemark_proto::cdcpb::{ChangeDataEvent, Event, ResolvedTs};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Status;

use super::config::CdcConfig;
use crate::faults::StreamFaults;

/// Events of initial scans that may wait; scans pause beyond it.
const SCAN_EVENTS: usize = 128;

/// The queue has no room for a live event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The outgoing queue of a stream: many producers, one consumer.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<Queue>,
    ready: Notify,
    room: Notify,
    limits: Limits,
    faults: StreamFaults,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    quota: usize,
    message_bytes: usize,
    message_events: usize,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    scan_events: usize,
    /// Set once: how the stream ends.
    end: Option<Result<(), Status>>,
}

#[derive(Debug)]
struct Item {
    load: Load,
    bytes: usize,
    scanned: bool,
    /// Not to be sent earlier: a delay that a test asked for.
    due: Option<Instant>,
}

#[derive(Debug)]
enum Load {
    Event(Event),
    Resolved(ResolvedTs),
}

/// What the consumer finds.
enum Next {
    Message(ChangeDataEvent),
    Wait,
    WaitUntil(Instant),
    End(Result<(), Status>),
}

impl Outbox {
    pub(super) fn new(config: &CdcConfig, faults: StreamFaults) -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            limits: Limits {
                quota: config.stream_quota,
                message_bytes: config.message_bytes,
                message_events: config.message_events,
            },
            faults,
        }
    }

    /// Queues live rows.
    ///
    /// # Errors
    /// The quota is used up; the event is dropped.
    pub(super) fn push_live(&self, event: Event) -> Result<(), Full> {
        let bytes = event.encoded_len();
        self.push(Load::Event(event), bytes, false, true)
    }

    /// Queues an error: it passes whatever the quota.
    pub(super) fn push_error(&self, event: Event) {
        let bytes = event.encoded_len();
        // Without the quota it can't fail.
        let _ = self.push(Load::Event(event), bytes, false, false);
    }

    /// Queues rows of a scan, which has waited for [`Outbox::scan_room`].
    pub(super) fn push_scanned(&self, event: Event) {
        let bytes = event.encoded_len();
        let _ = self.push(Load::Event(event), bytes, true, false);
    }

    /// Queues a resolved ts message; it is dropped where the quota is used up, as the next will say more.
    pub(super) fn push_resolved(&self, resolved: ResolvedTs) {
        let bytes = resolved.encoded_len();
        let _ = self.push(Load::Resolved(resolved), bytes, false, true);
    }

    fn push(&self, load: Load, bytes: usize, scanned: bool, bounded: bool) -> Result<(), Full> {
        let delay = self.faults.delay();
        let due = (!delay.is_zero()).then(|| Instant::now() + delay);
        {
            let mut queue = self.state.lock();
            if queue.end.is_some() {
                return Ok(());
            }
            if bounded && queue.bytes + bytes > self.limits.quota {
                return Err(Full);
            }
            queue.bytes += bytes;
            queue.scan_events += usize::from(scanned);
            queue.items.push_back(Item {
                load,
                bytes,
                scanned,
                due,
            });
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Waits until a scan may go on.
    pub(super) async fn scan_room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let queue = self.state.lock();
                let free = queue.scan_events < SCAN_EVENTS && queue.bytes < self.limits.quota;
                if free || queue.items.is_empty() || queue.end.is_some() {
                    return;
                }
            }
            room.await;
        }
    }

    /// Ends the stream: what waits is dropped. The first end counts.
    pub(super) fn end(&self, how: Result<(), Status>) {
        {
            let mut queue = self.state.lock();
            queue.items.clear();
            queue.bytes = 0;
            queue.scan_events = 0;
            queue.end.get_or_insert(how);
        }
        self.ready.notify_one();
        self.room.notify_waiters();
    }

    /// The next message; `None` after the end.
    pub(super) async fn next(&self) -> Option<Result<ChangeDataEvent, Status>> {
        loop {
            let next = self.take();
            match next {
                Next::Message(message) => {
                    self.room.notify_waiters();
                    return Some(Ok(message));
                }
                Next::End(Ok(())) => return None,
                Next::End(Err(status)) => return Some(Err(status)),
                Next::WaitUntil(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.ready.notified() => {}
                    }
                }
                Next::Wait => self.ready.notified().await,
            }
        }
    }

    /// Puts events together up to the limits of a message. A resolved ts is a message of its own.
    fn take(&self) -> Next {
        let mut queue = self.state.lock();
        let Some(first) = queue.items.front() else {
            return match queue.end.take() {
                Some(Err(status)) => {
                    queue.end = Some(Ok(()));
                    Next::End(Err(status))
                }
                Some(Ok(())) => {
                    queue.end = Some(Ok(()));
                    Next::End(Ok(()))
                }
                None => Next::Wait,
            };
        };
        let now = first.due.map(|_| Instant::now());
        if let Some(due) = first.due.filter(|due| Some(*due) > now) {
            return Next::WaitUntil(due);
        }
        let mut message = ChangeDataEvent::default();
        let mut bytes = 0;
        while let Some(item) = queue.items.front() {
            let fits = bytes + item.bytes <= self.limits.message_bytes
                && message.events.len() < self.limits.message_events;
            let is_due = item.due.is_none_or(|due| now.is_some_and(|now| due <= now));
            let alone = matches!(item.load, Load::Resolved(_));
            if !message.events.is_empty() && (!fits || !is_due || alone) {
                break;
            }
            let Some(item) = queue.items.pop_front() else {
                break;
            };
            bytes += item.bytes;
            queue.bytes = queue.bytes.saturating_sub(item.bytes);
            queue.scan_events -= usize::from(item.scanned);
            match item.load {
                Load::Event(event) => message.events.push(event),
                Load::Resolved(resolved) => {
                    message.resolved_ts = Some(resolved);
                    break;
                }
            }
        }
        Next::Message(message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;
    use tidemark_proto::cdcpb::event::{self, Entries, Row};

    use super::*;

    fn event(region_id: u64, value: usize) -> Event {
        let row = Row {
            value: Bytes::from(vec![7; value]),
            ..Default::default()
        };
        Event {
            region_id,
            event: Some(event::Event::Entries(Entries { entries: vec![row] })),
            ..Default::default()
        }
    }

    fn outbox(config: &CdcConfig) -> Outbox {
        Outbox::new(config, StreamFaults::default())
    }

    fn regions(message: &ChangeDataEvent) -> Vec<u64> {
        message.events.iter().map(|event| event.region_id).collect()
    }

    #[tokio::test]
    async fn events_are_put_together_up_to_the_limits_and_a_large_one_travels_alone() {
        let outbox = outbox(&CdcConfig {
            message_bytes: 1000,
            message_events: 3,
            ..CdcConfig::default()
        });
        for region in 1..=4 {
            outbox.push_live(event(region, 10)).unwrap();
        }
        outbox.push_live(event(5, 5000)).unwrap();
        outbox.push_live(event(6, 600)).unwrap();
        outbox.push_live(event(7, 600)).unwrap();
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(regions(&outbox.next().await.unwrap().unwrap()));
        }
        assert_eq!(seen, [vec![1, 2, 3], vec![4], vec![5], vec![6], vec![7]]);
    }

    #[tokio::test]
    async fn a_resolved_ts_is_a_message_of_its_own_and_keeps_its_place() {
        let outbox = outbox(&CdcConfig::default());
        outbox.push_live(event(1, 1)).unwrap();
        outbox.push_resolved(ResolvedTs {
            ts: 9,
            ..Default::default()
        });
        outbox.push_live(event(2, 1)).unwrap();
        let first = outbox.next().await.unwrap().unwrap();
        let second = outbox.next().await.unwrap().unwrap();
        let third = outbox.next().await.unwrap().unwrap();
        assert_eq!((regions(&first), first.resolved_ts), (vec![1], None));
        assert_eq!((second.events.len(), second.resolved_ts.unwrap().ts), (0, 9));
        assert_eq!(regions(&third), [2]);
    }

    #[tokio::test]
    async fn beyond_the_quota_only_errors_pass() {
        let outbox = outbox(&CdcConfig {
            stream_quota: 100,
            ..CdcConfig::default()
        });
        outbox.push_live(event(1, 60)).unwrap();
        assert_eq!(outbox.push_live(event(2, 60)), Err(Full));
        outbox.push_resolved(ResolvedTs {
            regions: vec![1; 50],
            ..Default::default()
        });
        outbox.push_error(event(3, 60));
        assert_eq!(regions(&outbox.next().await.unwrap().unwrap()), [1, 3]);
        outbox.push_live(event(4, 60)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_waits_while_the_client_does_not_read() {
        let outbox = outbox(&CdcConfig::default());
        for _ in 0..SCAN_EVENTS {
            outbox.scan_room().await;
            outbox.push_scanned(event(1, 1));
        }
        let waited = tokio::time::timeout(Duration::from_secs(1), outbox.scan_room()).await;
        assert!(waited.is_err());
        outbox.next().await;
        outbox.scan_room().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_holds_messages_back() {
        let faults = StreamFaults::default();
        let outbox = Outbox::new(&CdcConfig::default(), faults.clone());
        faults.set_delay(Duration::from_secs(5));
        let before = Instant::now();
        outbox.push_live(event(1, 1)).unwrap();
        outbox.next().await.unwrap().unwrap();
        assert!(before.elapsed() >= Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_end_drops_what_waits() {
        let outbox = outbox(&CdcConfig::default());
        outbox.push_live(event(1, 1)).unwrap();
        outbox.end(Err(Status::unavailable("gone")));
        outbox.end(Ok(()));
        assert!(outbox.next().await.unwrap().is_err());
        assert!(outbox.next().await.is_none());
    }
}

//! What the owner shows to people who ask for its spans.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tidemark_model::Ts;
use tokio::sync::{mpsc, oneshot};

use super::roster::Roster;
use super::table::SpanTable;

/// One span, as `/spans` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpanView {
    span: String,
    table: i64,
    physical: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    state: &'static str,
    /// Decimal text: it exceeds what JSON numbers hold.
    checkpoint_ts: String,
    #[serde(skip)]
    at: Ts,
}

/// All spans, the one that holds the feed back first.
pub(super) fn view(table: &SpanTable, roster: &Roster) -> Vec<SpanView> {
    let mut all: Vec<_> = table
        .iter()
        .map(|(key, name, place, at)| SpanView {
            span: name.to_string(),
            table: key.table_id,
            physical: key.physical_id,
            member: place.seat().and_then(|seat| Some(roster.get(seat)?.pod.clone())),
            state: place.word(),
            checkpoint_ts: at.to_string(),
            at,
        })
        .collect();
    all.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.span.cmp(&b.span)));
    all
}

/// A question for all spans.
pub(super) type Question = oneshot::Sender<Vec<SpanView>>;

/// Where to ask for the spans: answered only while this worker owns the feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views(Arc<Mutex<Option<mpsc::Sender<Question>>>>);

impl Views {
    /// Asks; `None` where this worker doesn't own the feed.
    pub(crate) async fn ask(&self) -> Option<Vec<SpanView>> {
        let owner = self.0.lock().clone()?;
        let (answer, view) = oneshot::channel();
        owner.send(answer).await.ok()?;
        view.await.ok()
    }

    pub(super) fn open(&self) -> mpsc::Receiver<Question> {
        let (send, questions) = mpsc::channel(4);
        *self.0.lock() = Some(send);
        questions
    }

    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }
}

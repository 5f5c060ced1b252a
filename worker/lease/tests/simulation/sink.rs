//! A sink with a fence, and what it took.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

use crate::rules::Rules;
use crate::world::World;

/// What the sink has stored; outlives its crashes.
#[derive(Default)]
pub(crate) struct Sink {
    fenced: bool,
    /// The highest epoch it was told of, and whose that is.
    fence: (u64, String),
    /// The highest epoch it took a row of, and whose row that was.
    top: (u64, String),
    /// It has the rows up to this one.
    pub(crate) rows: u64,
    pub(crate) refused: u64,
    /// It took a row of an older epoch after one of a newer.
    pub(crate) late: bool,
    /// It took rows of one epoch from two writers.
    pub(crate) shared: bool,
    /// A row came before the one that it follows.
    pub(crate) gap: bool,
}

impl Sink {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            fenced: rules.fence,
            ..Self::default()
        }
    }

    fn raise(&mut self, epoch: u64, writer: &str) -> bool {
        let (fence, by) = &self.fence;
        let allowed = !self.fenced || epoch > *fence || (epoch == *fence && by == writer);
        if allowed && epoch >= *fence {
            self.fence = (epoch, writer.to_owned());
        }
        allowed
    }

    fn write(&mut self, epoch: u64, writer: &str, row: u64) -> bool {
        if !self.raise(epoch, writer) {
            self.refused += 1;
            return false;
        }
        let (top, by) = &self.top;
        self.late |= epoch < *top;
        self.shared |= epoch == *top && by != writer;
        if epoch >= *top {
            self.top = (epoch, writer.to_owned());
        }
        self.gap |= row > self.rows + 1;
        self.rows = self.rows.max(row);
        true
    }
}

async fn rows(State(world): State<Arc<World>>, body: String) -> (StatusCode, String) {
    let request = serde_json::from_str::<Value>(&body).unwrap_or_default();
    let epoch = request["epoch"].as_u64().unwrap_or(0);
    let writer = request["writer"].as_str().unwrap_or("");
    let mut sink = world.sink.lock();
    let taken = match request["row"].as_u64() {
        Some(row) => sink.write(epoch, writer, row),
        None => sink.raise(epoch, writer),
    };
    if taken {
        (StatusCode::OK, "{}".to_owned())
    } else {
        (StatusCode::CONFLICT, format!("the fence is at {:?}", sink.fence))
    }
}

pub(crate) fn routes(world: Arc<World>) -> Router {
    Router::new().route("/rows", post(rows)).with_state(world)
}

//! Reads committed changes of key spans from TiKV: PD client, regions, subscriptions, matching, locks.
//!
//! ```text
//! Puller ── coordinator (one task): who holds which key range, back-off, admission, stuck regions
//!              │ register / deregister            ▲ initialised / ended / closed
//!              ▼                                  │
//!           feed streams (a few tasks per store): match prewrites with commits, deliver changes,
//!              │ move the frontier of their spans
//!              ▼
//!           advancer (one task): tells each span's consumer its new resolved ts
//! ```
//!
//! The guarantee: when [`PullEvent::Resolved`] is put into a span's channel, every change of the span
//! at or below that ts was put there before. Changes above the last resolved ts can repeat.

mod backoff;
mod channel;
mod config;
mod feed;
mod frontier;
mod keys;
mod kv;
mod matcher;
mod pd;
mod ranges;
mod stats;

pub use backoff::Backoff;
pub use config::{NetConfig, PullConfig, Security};
pub use feed::{PullError, PullEvent, Puller};
pub use frontier::Frontier;
pub use keys::{decode_bound, encode_key};
pub use kv::{KvClient, KvConfig, KvError, LockSweep};
pub use matcher::{Matcher, MissingPrewrite};
pub use pd::{PdClient, PdError, Region, Store};
pub use stats::{PullStats, SlowReason, SlowRegion};

//! The words of the stream as types: timestamps, spans, changes, byte budgets.
//!
//! Nothing here does I/O or knows a protocol; every other part of the worker speaks in these types.

mod budget;
mod change;
mod span;
mod ts;

pub use budget::{Budget, Grant};
pub use change::{KvChange, Op};
pub use span::{Span, SpanId};
pub use ts::Ts;

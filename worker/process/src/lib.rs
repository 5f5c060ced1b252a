//! What worker and operator share as processes: logs, the admin server, signals.

pub mod admin;
pub mod logging;
pub mod signals;

//! What feeds cost the API server, by its audit log.

mod table;
mod tally;

pub use table::{Column, Spent, table};
pub use tally::{Sum, Tally, Who};

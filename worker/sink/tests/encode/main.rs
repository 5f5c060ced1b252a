//! Rows as consumers get them: the texts are derived from what TiCDC's encoders write, type by type.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that can't go on has failed.

mod canal;
mod changes;
mod columns;
mod csv;
mod speed;

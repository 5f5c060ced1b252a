//! The placement driver's service.

pub(crate) mod gc;

//! The placement driver: timestamps, regions, stores, GC safe points.

pub(crate) mod gc;
mod regions;
pub(crate) mod service;

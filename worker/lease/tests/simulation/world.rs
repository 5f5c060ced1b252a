//! What all hosts and the judge share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::api::Store;
use crate::judge::Judge;
use crate::rules::Rules;
use crate::sink::Sink;

pub(crate) const API: &str = "api";
pub(crate) const SINK: &str = "sink";
pub(crate) const WORKERS: [&str; 4] = ["w0", "w1", "w2", "w3"];

/// The state of one simulation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) rules: Rules,
    /// Contenders make a missing Lease; else the operator does.
    pub(crate) contenders_create: bool,
    pub(crate) store: Mutex<Store>,
    pub(crate) sink: Mutex<Sink>,
    pub(crate) judge: Mutex<Judge>,
    calm: AtomicBool,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Arc<Self> {
        let contenders_create = seed.is_multiple_of(2);
        let mut store = Store::new(rules, seed);
        if !contenders_create {
            store.make_lease();
        }
        Arc::new(Self {
            seed,
            rules,
            contenders_create,
            store: Mutex::new(store),
            sink: Mutex::new(Sink::new(rules)),
            judge: Mutex::default(),
            calm: AtomicBool::new(true),
        })
    }

    /// Whether no faults are made.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn set_calm(&self, calm: bool) {
        self.calm.store(calm, Ordering::Relaxed);
        self.store.lock().fails = if calm { 0.0 } else { 0.01 };
    }
}

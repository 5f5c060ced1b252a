//! A contender, real or careless, and the right that it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use parking_lot::Mutex;
use tidemark_lease::{Authority, Contender, Hints, LeaseSettings, Standing};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::careless::{self, Grant};
use crate::rules::Rules;

/// A running contender.
pub(crate) enum Holder {
    Real(Contender),
    Careless(Arc<Mutex<Grant>>, JoinHandle<()>),
}

/// Until when its process may act; a cheap clone.
#[derive(Clone)]
pub(crate) enum Right {
    Real(Authority, watch::Receiver<Standing>),
    Careless(Arc<Mutex<Grant>>),
}

impl Holder {
    pub(crate) fn start(
        rules: Rules,
        client: Client,
        settings: LeaseSettings,
        stop: CancellationToken,
    ) -> Self {
        match rules.mistake {
            None => Self::Real(Contender::spawn(client, settings, stop)),
            Some(mistake) => {
                let grant = Arc::default();
                let task = tokio::spawn(careless::run(mistake, client, settings, Arc::clone(&grant), stop));
                Self::Careless(grant, task)
            }
        }
    }

    pub(crate) fn right(&self) -> Right {
        match self {
            Self::Real(contender) => Right::Real(contender.authority(), contender.standing()),
            Self::Careless(grant, _) => Right::Careless(Arc::clone(grant)),
        }
    }

    pub(crate) fn hints(&self) -> Option<Hints> {
        match self {
            Self::Real(contender) => Some(contender.hints()),
            Self::Careless(..) => None,
        }
    }

    pub(crate) async fn finished(self) {
        match self {
            Self::Real(contender) => contender.finished().await,
            Self::Careless(_, task) => {
                let _ = task.await;
            }
        }
    }
}

impl Right {
    /// By the clock of the host.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self {
            Self::Real(authority, _) => authority.until(),
            Self::Careless(grant) => grant.lock().until,
        }
    }

    pub(crate) fn term(&self) -> u64 {
        match self {
            Self::Real(authority, _) => authority.term(),
            Self::Careless(grant) => grant.lock().term,
        }
    }

    /// UID of the Lease as last seen.
    pub(crate) fn lease(&self) -> Option<String> {
        match self {
            Self::Real(_, standing) => standing.borrow().seen.as_ref()?.uid.clone(),
            Self::Careless(grant) => grant.lock().lease.clone(),
        }
    }

    pub(crate) fn holds_term(&self, term: u64) -> bool {
        match self {
            Self::Real(authority, _) => authority.holds_term(term),
            Self::Careless(grant) => grant.lock().holds(term),
        }
    }

    /// Waits until the Lease is held, and tells the term. `None` once the contender has ended.
    pub(crate) async fn held(&mut self) -> Option<u64> {
        match self {
            Self::Real(_, standing) => {
                let held = standing.wait_for(Standing::is_held).await;
                held.map(|standing| standing.term).ok()
            }
            Self::Careless(grant) => loop {
                let term = grant.lock().term;
                if grant.lock().holds(term) {
                    return Some(term);
                }
                sleep(Duration::from_millis(50)).await;
            },
        }
    }
}

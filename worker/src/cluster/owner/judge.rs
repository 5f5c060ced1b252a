//! Asks the API server about workers that are not connected.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::roster::Doubt;
use crate::cluster::liveness::{Fate, Sightings};

/// How often a worker in doubt is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What was found out about a doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It can't write any more.
    Over(Doubt),
    /// The pod's worker is this run, which may write.
    Lives(String, String),
}

/// Looks at all that is in doubt, until the rulings' receiver is gone.
pub(super) async fn judge(
    sightings: Sightings,
    mut doubts: watch::Receiver<Vec<Doubt>>,
    rulings: mpsc::Sender<Ruling>,
) {
    loop {
        let open = doubts.borrow_and_update().clone();
        for doubt in open {
            let ruling = match sightings.look(&doubt.pod).await {
                Fate::Unknown => continue,
                Fate::Over => Ruling::Over(doubt),
                Fate::Lives(holder) => match &doubt.identity {
                    Some(known) if *known == holder => continue,
                    // Who holds the pod's Lease has succeeded whoever held it before.
                    Some(_) => Ruling::Over(doubt),
                    None => Ruling::Lives(doubt.pod, holder),
                },
            };
            if rulings.send(ruling).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = rulings.closed() => return,
        }
        if doubts.borrow().is_empty() {
            tokio::select! {
                changed = doubts.changed() => if changed.is_err() { return },
                () = rulings.closed() => return,
            }
        }
    }
}

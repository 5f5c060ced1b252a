//! The commands, as the command line and the control port know them.

use std::time::Duration;

use serde_json::{Value, json};
use tidemark_model::Ts;

use crate::cluster::{Cluster, ClusterError};

/// What to do to a running cluster. Keys are text, or hex after `0x`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand, serde::Serialize, serde::Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// List all regions with their leaders, keys and locks.
    Regions,
    /// Give a new timestamp of PD's.
    Now,
    /// Split the region that holds a user key, there.
    Split {
        /// The user key that the upper part begins with.
        key: String,
    },
    /// Merge a region into a neighbour.
    Merge {
        /// The region that ends.
        region: u64,
        /// The neighbour that takes it in.
        into: u64,
    },
    /// Make a store the leader of a region.
    MoveLeader {
        /// The region.
        region: u64,
        /// The store; it must hold a replica.
        store: u64,
    },
    /// Kill a store: its socket and connections close, its regions move.
    KillStore {
        /// The store.
        store: u64,
    },
    /// Bring a killed store back at the same address.
    ReviveStore {
        /// The store.
        store: u64,
    },
    /// Stop PD's answers; resolved timestamps stand still.
    PausePd,
    /// Let PD go on.
    ResumePd,
    /// Kill a PD member.
    KillPd {
        /// The member, from 0.
        member: usize,
    },
    /// Bring a killed PD member back at the same address.
    RevivePd {
        /// The member, from 0.
        member: usize,
    },
    /// Make a PD member the leader.
    PdLeader {
        /// The member, from 0.
        member: usize,
    },
    /// Prewrite keys and never finish.
    LeaveLock {
        /// The transaction's primary key.
        primary: String,
        /// Its other keys.
        secondaries: Vec<String>,
        /// The value that is never committed.
        #[arg(long, default_value = "never")]
        value: String,
        /// Milliseconds until others may roll it back.
        #[arg(long, default_value_t = 20_000)]
        ttl_ms: u64,
    },
    /// Write a key, and roll back a second transaction on it without a trace: its resolved ts stands still.
    SilentRollback {
        /// The key.
        key: String,
        /// The value that is committed.
        #[arg(long, default_value = "silent")]
        value: String,
    },
    /// Hold every message of a store's change streams back; 0 ends it.
    DelayStreams {
        /// The store.
        store: u64,
        /// Milliseconds.
        delay_ms: u64,
    },
    /// Break all open change streams of a store.
    DropStreams {
        /// The store.
        store: u64,
    },
    /// Raise the GC safe point as far as barriers allow, and drop what lies below.
    AdvanceGc {
        /// The timestamp.
        ts: u64,
    },
}

/// A key as people write it.
pub(super) fn key(text: &str) -> Vec<u8> {
    let hex = text
        .strip_prefix("0x")
        .filter(|hex| hex.len() % 2 == 0 && hex.is_ascii());
    let pairs = hex.map(|hex| hex.as_bytes().chunks(2));
    let bytes = pairs.and_then(|pairs| {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(byte).collect()
    });
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

impl Command {
    /// Carries the command out; the answer is for people and scripts.
    ///
    /// # Errors
    /// It names something that isn't there, or can't be done now.
    pub async fn run(&self, cluster: &Cluster) -> Result<Value, ClusterError> {
        let done = json!("done");
        Ok(match self {
            Self::Regions => json!(cluster.regions()),
            Self::Now => json!(cluster.now().to_string()),
            Self::Split { key: at } => {
                let (low, high) = cluster.split(&key(at))?;
                json!({ "low": low, "high": high })
            }
            Self::Merge { region, into } => {
                cluster.merge(*region, *into)?;
                done
            }
            Self::MoveLeader { region, store } => {
                cluster.move_leader(*region, *store)?;
                done
            }
            Self::KillStore { store } => {
                cluster.kill_store(*store).await?;
                done
            }
            Self::ReviveStore { store } => {
                cluster.revive_store(*store).await?;
                done
            }
            Self::PausePd => {
                cluster.pause_pd();
                done
            }
            Self::ResumePd => {
                cluster.resume_pd();
                done
            }
            Self::KillPd { member } => {
                cluster.kill_pd(*member).await?;
                done
            }
            Self::RevivePd { member } => {
                cluster.revive_pd(*member).await?;
                done
            }
            Self::PdLeader { member } => {
                cluster.set_pd_leader(*member)?;
                done
            }
            Self::LeaveLock {
                primary,
                secondaries,
                value,
                ttl_ms,
            } => {
                let others: Vec<_> = secondaries.iter().map(|text| key(text)).collect();
                let ttl = Duration::from_millis(*ttl_ms);
                let start_ts = cluster.leave_lock(&key(primary), &others, value.as_bytes(), ttl)?;
                json!({ "start_ts": start_ts.to_string() })
            }
            Self::SilentRollback { key: at, value } => {
                let done = cluster.silent_rollback(&key(at), value.as_bytes())?;
                json!({ "ts": done.ts.to_string(), "written_at": done.written_at.to_string() })
            }
            Self::DelayStreams { store, delay_ms } => {
                cluster
                    .stream_faults(*store)?
                    .set_delay(Duration::from_millis(*delay_ms));
                done
            }
            Self::DropStreams { store } => {
                cluster.stream_faults(*store)?.drop_streams();
                done
            }
            Self::AdvanceGc { ts } => json!(cluster.advance_gc_safe_point(Ts(*ts)).to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_are_text_or_hex() {
        assert_eq!(key("abc"), b"abc");
        assert_eq!(key("0x00ff"), [0, 0xff]);
        assert_eq!(key("0xzz"), b"0xzz");
    }
}

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::WorkloadConfig;
use super::table::{LiveTable, Row};
use super::truth::Truth;
use super::unit::Unit;
use crate::client::{Abandon, ClientError, CommitKind, Ending, Outcome, Stores, TransactionKind};
use crate::encode::Datum;
use crate::schema::PrimaryKey;

/// What writers share.
pub(crate) struct Floor {
    pub(crate) config: WorkloadConfig,
    pub(crate) stores: Stores,
    pub(crate) truth: Truth,
    pub(crate) bank: Option<Arc<LiveTable>>,
    pub(crate) tables: RwLock<Vec<Arc<LiveTable>>>,
    pub(crate) pace: Pace,
}

/// Spreads rows evenly over time, for all writers together.
pub(crate) struct Pace {
    rows_per_second: Option<u64>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(rows_per_second: Option<u64>) -> Self {
        Self {
            rows_per_second,
            next: Mutex::default(),
        }
    }

    /// Waits until so many rows may be written.
    async fn take(&self, rows: usize) {
        let Some(rate) = self.rows_per_second else {
            return;
        };
        let share = Duration::from_secs_f64(rows as f64 / rate.max(1) as f64);
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock();
            // A second's worth may be caught up with, not more.
            let turn = next
                .unwrap_or(now)
                .max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
            *next = Some(turn + share);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// Writes transactions until told to stop.
pub(crate) async fn write(
    floor: Arc<Floor>,
    mut rng: StdRng,
    stop: CancellationToken,
) -> Result<(), ClientError> {
    while !stop.is_cancelled() {
        let unit = floor.compose(&mut rng);
        if unit.len() == 0 {
            // Everything is claimed by others at the moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        floor.pace.take(unit.len()).await;
        let (kind, ending) = floor.choose(&mut rng);
        let conflicting = rng.random_ratio(floor.config.mix.conflicting.min(1000), 1000);
        if conflicting && ending == Ending::Commit {
            floor.lose(&mut rng, unit).await?;
        } else {
            unit.run(&floor.stores, kind, ending, &floor.truth).await?;
        }
    }
    Ok(())
}

impl Floor {
    /// The next transaction's changes; empty if its rows are all taken.
    fn compose(&self, rng: &mut StdRng) -> Unit {
        let transfer = rng.random_ratio(self.config.mix.transfers.min(1000), 1000);
        let mut unit = Unit::default();
        let mixed = self.tables.read().clone();
        match &self.bank {
            Some(bank) if transfer || mixed.is_empty() => self.transfer(rng, bank, &mut unit),
            _ => {}
        }
        if unit.len() > 0 && rng.random_ratio(9, 10) || mixed.is_empty() {
            return unit;
        }
        for _ in 0..rng.random_range(1..=self.config.rows_per_transaction.max(1)) {
            let table = &mixed[rng.random_range(0..mixed.len())];
            self.change(rng, table, &mut unit);
        }
        unit
    }

    /// Moves money between two or three accounts; the sum stays.
    fn transfer(&self, rng: &mut StdRng, bank: &Arc<LiveTable>, unit: &mut Unit) {
        let wanted = rng.random_range(2..=3);
        let mut claims = Vec::new();
        for _ in 0..wanted {
            claims.extend(bank.claim(rng, true));
        }
        if claims.len() < 2 {
            for claim in claims {
                bank.release(claim.slot, claim.identity, claim.row);
            }
            return;
        }
        let amount = rng.random_range(1..=100);
        let givers = claims.len() as i64 - 1;
        for (index, claim) in claims.into_iter().enumerate() {
            let delta = if index == 0 { amount * givers } else { -amount };
            let after = claim
                .row
                .as_ref()
                .map(|row| account_after(bank, row, claim.identity, delta));
            let identity = claim.identity;
            unit.change(rng, bank, claim, identity, after);
        }
    }

    /// Inserts, updates, moves or deletes one row.
    pub(crate) fn change(&self, rng: &mut StdRng, table: &Arc<LiveTable>, unit: &mut Unit) {
        let full = table.row_count() >= self.config.max_rows;
        let insert = rng.random_ratio(if full { 1 } else { 4 }, 10);
        let Some(claim) = table.claim(rng, !insert) else {
            return;
        };
        let sizes = &self.config.sizes;
        if claim.row.is_none() {
            // A deleted row comes back under its key half of the time.
            let identity = if rng.random() {
                claim.identity
            } else {
                table.new_identity()
            };
            let after = table.random_row(rng, identity, sizes);
            unit.change(rng, table, claim, identity, Some(after));
            return;
        }
        let identity = claim.identity;
        let clustered = matches!(
            table.spec.primary_key,
            PrimaryKey::IntHandle(_) | PrimaryKey::Common(_)
        );
        match rng.random_range(0..10) {
            0..3 => unit.change(rng, table, claim, identity, None),
            3 if clustered => {
                let identity = table.new_identity();
                let after = table.random_row(rng, identity, sizes);
                unit.change(rng, table, claim, identity, Some(after));
            }
            _ => {
                let after = table.random_row(rng, identity, sizes);
                unit.change(rng, table, claim, identity, Some(after));
            }
        }
    }

    fn choose(&self, rng: &mut StdRng) -> (TransactionKind, Ending) {
        let mix = &self.config.mix;
        let commit = match rng.random_range(0..1000) {
            roll if roll < mix.async_commit => CommitKind::AsyncCommit,
            roll if roll < mix.async_commit + mix.one_phase => CommitKind::OnePhase,
            _ => CommitKind::TwoPhase,
        };
        let mut kind = TransactionKind {
            commit,
            pessimistic: rng.random_ratio(mix.pessimistic.min(1000), 1000),
            ..TransactionKind::default()
        };
        let ending = match rng.random_range(0..1000) {
            roll if roll < mix.rolled_back => Ending::RollBack,
            roll if roll < mix.rolled_back + mix.abandoned => {
                kind.lock_ttl_ms = mix.abandoned_ttl.as_millis() as u64;
                Ending::Abandon(if rng.random() {
                    Abandon::Prewritten
                } else {
                    Abandon::PrimaryCommitted
                })
            }
            _ => Ending::Commit,
        };
        (kind, ending)
    }

    /// Begins a transaction, lets another one commit the same rows, then tries to commit the first: it loses.
    async fn lose(&self, rng: &mut StdRng, unit: Unit) -> Result<(), ClientError> {
        let kind = TransactionKind::default();
        let loser = unit.begin(&self.stores, kind).await?;
        let winner = unit.begin(&self.stores, self.choose(rng).0).await?;
        let (first_ts, second_ts) = (loser.start_ts(), winner.start_ts());
        let won = winner.finish(Ending::Commit).await?;
        // The loser writes the same values at a start ts below the winner's commit.
        let lost = loser.finish(Ending::Commit).await?;
        match (&won, &lost) {
            (Outcome::Committed(commit_ts), Outcome::Committed(other)) => Err(ClientError::Refused {
                command: "nothing",
                problem: format!(
                    "transaction {first_ts} committed at {other} over the conflict with {commit_ts}"
                ),
            }),
            (Outcome::RolledBack(_), Outcome::Committed(_)) => {
                unit.settle(first_ts, &lost, &self.truth);
                Ok(())
            }
            _ => {
                unit.settle(second_ts, &won, &self.truth);
                Ok(())
            }
        }
    }
}

/// The account with another balance and one transfer more.
fn account_after(bank: &LiveTable, row: &Row, identity: u64, delta: i64) -> Arc<Row> {
    let mut values = row.values.clone();
    if let Datum::Int(balance) = &mut values[2] {
        *balance += delta;
    }
    if let Datum::UInt(transfers) = &mut values[3] {
        *transfers += 1;
    }
    bank.row(values, identity)
}

use std::collections::HashMap;

use crate::history::{History, transactions};
use crate::settings::{Bank, Settings};
use crate::verdict::{Invariant, Verdict};

/// Looks at the state that a consumer has at each of the watermarks: no transaction half, every bank's sum in place.
pub(crate) fn judge_cuts(history: &History, settings: &Settings, cuts: &[u64], verdict: &mut Verdict) {
    verdict.figures.cuts = cuts.iter().filter(|cut| **cut > settings.start_ts).count() as u64;
    for ((start_ts, commit_ts), rows) in transactions(history, settings.start_ts) {
        let visible_at = |row: &u32| history.versions[*row as usize].visible_at();
        let visible = rows.iter().map(|row| visible_at(row).unwrap_or(u64::MAX));
        let (first, last) = visible.fold((u64::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        let cut = cuts[cuts.partition_point(|cut| *cut < first)..].first();
        if let Some(cut) = cut.filter(|cut| **cut < last) {
            let (there, absent): (Vec<u32>, Vec<u32>) = rows
                .iter()
                .partition(|row| visible_at(row).is_some_and(|at| at <= *cut));
            let absent = absent
                .first()
                .map_or_else(String::new, |row| history.name(&history.versions[*row as usize]));
            verdict.add(Invariant::Transactions, || {
                format!(
                    "of transaction {start_ts}..{commit_ts} only {} of {} rows are there at watermark {cut}; {absent} is not",
                    there.len(),
                    rows.len()
                )
            });
        }
    }
    for bank in &settings.banks {
        judge_bank(history, settings.start_ts, bank, cuts, verdict);
    }
}

fn judge_bank(history: &History, start_ts: u64, bank: &Bank, cuts: &[u64], verdict: &mut Verdict) {
    let name = format!("{}.{}", bank.schema, bank.table);
    let is_bank = |key: u32| {
        let table = &history.tables[history.keys[key as usize].table as usize];
        table.schema == bank.schema && table.name == bank.table
    };
    // When each change takes effect for a consumer; what was there at the start, at once.
    let mut changes: Vec<(u64, u32)> = (0..)
        .zip(&history.versions)
        .filter(|(_, version)| is_bank(version.key))
        .filter_map(|(index, version)| {
            let visible = if version.commit_ts <= start_ts {
                Some(0)
            } else {
                version.visible_at()
            };
            Some((visible?, index))
        })
        .collect();
    if changes.is_empty() {
        verdict.add(Invariant::Transactions, || {
            format!("{name}: no row of the bank was ever there")
        });
        return;
    }
    changes.sort_by_key(|&(visible, index)| (visible, history.versions[index as usize].commit_ts));
    let mut balances: HashMap<u32, (u64, i128)> = HashMap::new();
    let mut sum = 0;
    let mut changes = changes.into_iter().peekable();
    let mut judged = false;
    for &cut in cuts
        .iter()
        .filter(|cut| **cut >= bank.from_ts && **cut > start_ts)
    {
        judged = true;
        while let Some((_, index)) = changes.next_if(|(visible, _)| *visible <= cut) {
            let version = &history.versions[index as usize];
            let balance = match &version.row {
                None => 0,
                Some(row) => match row
                    .get(&bank.column)
                    .and_then(|value| value.as_deref()?.parse::<i128>().ok())
                {
                    Some(balance) => balance,
                    None => {
                        verdict.add(Invariant::Transactions, || {
                            format!("{}: {} holds no whole number", history.name(version), bank.column)
                        });
                        return;
                    }
                },
            };
            let (newest, current) = balances.entry(version.key).or_default();
            if *newest <= version.commit_ts {
                *newest = version.commit_ts;
                sum += balance - std::mem::replace(current, balance);
            }
        }
        if sum != bank.sum {
            verdict.add(Invariant::Transactions, || {
                format!(
                    "{name}: {} sums up to {sum} instead of {} at watermark {cut}",
                    bank.column, bank.sum
                )
            });
        }
    }
    if !judged {
        verdict.add(Invariant::Transactions, || {
            format!(
                "{name}: no watermark at or above {} to judge the bank at",
                bank.from_ts
            )
        });
    }
}

//! Random honest streams pass, however often their writer dies; with any one row gone, they don't.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemark_judge::{
    Columns, Judge, Observation, ReplayUnit, RowObservation, RowOp, Settings, TruthOp, TruthRow, Verdict,
};

/// One thing that the writer does.
#[derive(Clone, Debug)]
enum Step {
    /// Writes the rows of the next commits.
    Write(usize),
    /// Publishes what it wrote as a watermark.
    Watermark,
    /// Makes what it wrote durable as the checkpoint.
    Checkpoint,
    /// Dies after some rows more, and begins again at the checkpoint.
    Die(usize),
}

#[derive(Clone, Debug)]
enum Event {
    Seen(String, Observation),
    Checkpoint(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6_usize).prop_map(Step::Write),
        2 => Just(Step::Watermark),
        1 => Just(Step::Checkpoint),
        1 => (0..10_usize).prop_map(Step::Die),
    ];
    prop::collection::vec(step, 1..60)
}

/// Commits of one to three of eight rows in two tables each; a row comes, changes and goes.
fn truth(commits: &[Vec<(u8, bool)>]) -> Vec<TruthRow> {
    let mut alive: BTreeMap<u8, Columns> = BTreeMap::new();
    let mut rows = Vec::new();
    for (commit, changes) in (1_u64..).zip(commits) {
        let changes: BTreeMap<u8, bool> = changes.iter().copied().collect();
        for (id, ends) in changes {
            let table = if id < 4 { "a" } else { "b" };
            let columns = [("id", id.to_string()), ("value", format!("{commit} {id}"))];
            let image: Columns = columns.map(|(name, value)| (name.to_owned(), Some(value))).into();
            let (op, row, old) = match (alive.remove(&id), ends) {
                (None, _) => (TruthOp::Insert, image, None),
                (Some(old), false) => (TruthOp::Update, image, Some(old)),
                (Some(old), true) => (TruthOp::Delete, old, None),
            };
            if op != TruthOp::Delete {
                alive.insert(id, row.clone());
            }
            rows.push(TruthRow {
                schema: "s".to_owned(),
                table: table.to_owned(),
                key: id.to_string(),
                start_ts: commit * 10 - 5,
                commit_ts: commit * 10,
                op,
                row,
                old,
            });
        }
    }
    // What one sorter a table gives: by commit ts, then key; the tables take turns.
    rows.sort_by(|one, other| {
        (one.commit_ts, &one.table, &one.key).cmp(&(other.commit_ts, &other.table, &other.key))
    });
    rows
}

fn seen(row: &TruthRow) -> Event {
    let op = match row.op {
        TruthOp::Insert => RowOp::Insert,
        TruthOp::Update => RowOp::Update,
        TruthOp::Delete => RowOp::Delete,
    };
    let observation = RowObservation {
        schema: row.schema.clone(),
        table: row.table.clone(),
        commit_ts: row.commit_ts,
        op,
        row: row.row.clone(),
        old: row.old.clone(),
    };
    let partition = row.key.parse::<u8>().unwrap() % 3;
    Event::Seen(partition.to_string(), Observation::Row(observation))
}

fn watermark(events: &mut Vec<Event>, ts: u64) {
    events.extend((0..3).map(|partition: u8| Event::Seen(partition.to_string(), Observation::Watermark(ts))));
}

fn stream(truth: &[TruthRow], steps: &[Step]) -> Vec<Event> {
    let last = truth.last().map_or(0, |row| row.commit_ts);
    let mut events = Vec::new();
    let (mut written, mut checkpoint, mut published) = (0, 0, 0);
    let write = |events: &mut Vec<Event>, above: u64, upto: u64| {
        events.extend(
            truth
                .iter()
                .filter(|row| row.commit_ts > above && row.commit_ts <= upto)
                .map(seen),
        );
    };
    for step in steps {
        match step {
            Step::Write(commits) => {
                let upto = (written + *commits as u64 * 10).min(last);
                write(&mut events, written, upto);
                written = upto;
            }
            Step::Watermark if written > published => {
                published = written;
                watermark(&mut events, published);
            }
            Step::Watermark => {}
            Step::Checkpoint => {
                checkpoint = checkpoint.max(written);
                events.push(Event::Checkpoint(checkpoint));
            }
            Step::Die(rows) => {
                let further = truth.iter().filter(|row| row.commit_ts > written).take(*rows);
                events.extend(further.map(seen));
                written = checkpoint;
            }
        }
    }
    write(&mut events, written, last);
    watermark(&mut events, last + 5);
    events
}

fn judge(truth: &[TruthRow], events: &[Event], unit: ReplayUnit) -> Verdict {
    let settings = Settings {
        must_reach: truth.last().map(|row| row.commit_ts),
        replay_unit: unit,
        ..Settings::default()
    };
    let mut judge = Judge::new(truth.to_vec(), settings);
    for event in events {
        match event {
            Event::Seen(partition, observation) => judge.observe(partition, observation),
            Event::Checkpoint(ts) => judge.observe_checkpoint(*ts),
        }
    }
    judge.verdict()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_streams_pass_and_their_thefts_do_not(
        commits in prop::collection::vec(prop::collection::vec((0..8_u8, any::<bool>()), 1..4), 1..40),
        steps in steps(),
        stolen in any::<prop::sample::Index>(),
    ) {
        let truth = truth(&commits);
        let mut events = stream(&truth, &steps);
        for unit in [ReplayUnit::Partition, ReplayUnit::Table, ReplayUnit::Key] {
            let verdict = judge(&truth, &events, unit);
            prop_assert!(verdict.holds(), "{unit:?}: {verdict}");
        }
        // Of a row that came more than once, each sight has to go.
        let lost = &truth[stolen.index(truth.len())];
        events.retain(|event| !matches!(event, Event::Seen(_, Observation::Row(row))
            if row.commit_ts == lost.commit_ts && row.row["id"].as_deref() == Some(&lost.key)));
        let verdict = judge(&truth, &events, ReplayUnit::Table);
        prop_assert!(!verdict.holds());
        prop_assert!(verdict.to_string().contains("lost: "), "{verdict}");
    }
}

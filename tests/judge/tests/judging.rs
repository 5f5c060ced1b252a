//! Every invariant can fail under its own name, and an honest stream passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tidemark_judge::{
    Bank, Columns, DeleteImage, Invariant, Judge, Observation, OldImage, Placement, ReplayFloor, ReplayUnit,
    RowObservation, RowOp, Settings, TruthOp, TruthRow, Verdict, Watermarks,
};

type Stream = Vec<(&'static str, Observation)>;

fn account(id: u64, balance: i64) -> Columns {
    [
        ("id", id.to_string()),
        ("balance", balance.to_string()),
        ("note", "x".to_owned()),
    ]
    .into_iter()
    .map(|(column, value)| (column.to_owned(), Some(value)))
    .collect()
}

fn truth_row(ts: u64, id: u64, op: TruthOp, row: Columns, old: Option<Columns>) -> TruthRow {
    TruthRow {
        schema: "shop".to_owned(),
        table: "accounts".to_owned(),
        key: id.to_string(),
        start_ts: ts - 5,
        commit_ts: ts,
        op,
        row,
        old,
    }
}

/// Four accounts of 100 each from ts 10 on; then a transfer each 10 ts between two of them: 20..=100.
fn truth() -> Vec<TruthRow> {
    let mut balances = [100_i64; 4];
    let mut rows: Vec<TruthRow> = (0..4)
        .map(|id| truth_row(10, id, TruthOp::Insert, account(id, 100), None))
        .collect();
    for transfer in 2..=10 {
        let (from, to) = (transfer % 4, (transfer + 1) % 4);
        for (id, amount) in [(from, -7), (to, 7)] {
            let before = balances[id as usize];
            balances[id as usize] += amount;
            let (row, old) = (account(id, before + amount), account(id, before));
            rows.push(truth_row(transfer * 10, id, TruthOp::Update, row, Some(old)));
        }
    }
    rows
}

fn observed(row: &TruthRow) -> Observation {
    Observation::Row(RowObservation {
        schema: row.schema.clone(),
        table: row.table.clone(),
        commit_ts: row.commit_ts,
        op: match row.op {
            TruthOp::Insert => RowOp::Insert,
            TruthOp::Update => RowOp::Update,
            TruthOp::Delete => RowOp::Delete,
        },
        row: row.row.clone(),
        old: row.old.clone(),
    })
}

fn partition_of(row: &TruthRow) -> &'static str {
    if row.key.parse::<u64>().unwrap() % 2 == 0 {
        "even"
    } else {
        "odd"
    }
}

/// The stream that an honest sink makes: rows by key in two partitions, a watermark to both each 10 ts.
fn honest() -> Stream {
    let mut stream = Vec::new();
    for ts in (10..=100).step_by(10) {
        stream.extend(
            truth()
                .iter()
                .filter(|row| row.commit_ts == ts)
                .map(|row| (partition_of(row), observed(row))),
        );
        stream.extend([
            ("even", Observation::Watermark(ts + 3)),
            ("odd", Observation::Watermark(ts + 3)),
        ]);
    }
    stream
}

fn settings() -> Settings {
    Settings {
        must_reach: Some(100),
        banks: vec![Bank {
            schema: "shop".to_owned(),
            table: "accounts".to_owned(),
            column: "balance".to_owned(),
            sum: 400,
            from_ts: 10,
        }],
        ..Settings::default()
    }
}

fn judge_by(settings: Settings, stream: &Stream) -> Verdict {
    let mut judge = Judge::new(truth(), settings);
    for (partition, observation) in stream {
        judge.observe(partition, observation);
    }
    judge.verdict()
}

fn judge(stream: &Stream) -> Verdict {
    judge_by(settings(), stream)
}

/// Index in the stream of the row of a key at a ts.
fn at(stream: &Stream, ts: u64, id: u64) -> usize {
    let id = Some(id.to_string());
    let is = |observation: &Observation| matches!(observation, Observation::Row(row) if row.commit_ts == ts && row.row["id"] == id);
    stream
        .iter()
        .position(|(_, observation)| is(observation))
        .unwrap()
}

fn row_mut(stream: &mut Stream, ts: u64, id: u64) -> &mut RowObservation {
    let index = at(stream, ts, id);
    match &mut stream[index].1 {
        Observation::Row(row) => row,
        Observation::Watermark(_) => unreachable!(),
    }
}

fn only(verdict: &Verdict, invariants: &[Invariant]) {
    assert_eq!(verdict.broken(), invariants, "{verdict}");
}

#[test]
fn an_honest_stream_passes() {
    let verdict = judge(&honest());
    assert!(verdict.holds(), "{verdict}");
    assert_eq!((verdict.figures.rows, verdict.figures.truth_rows), (22, 22));
    assert_eq!(
        (verdict.figures.final_watermark, verdict.figures.cuts),
        (Some(103), 10)
    );
}

#[test]
fn honest_replays_pass() {
    let mut stream = honest();
    // The worker dies after ts 60 and begins again above the checkpoint 40, twice, the second time after three rows.
    let replay: Stream = stream
        .iter()
        .filter(|(_, observation)| matches!(observation, Observation::Row(row) if (41..=60).contains(&row.commit_ts)))
        .cloned()
        .collect();
    let tail = at(&stream, 70, 3);
    let twice: Stream = replay.iter().take(3).chain(&replay).cloned().collect();
    stream.splice(tail..tail, twice);
    let verdict = judge(&stream);
    assert!(verdict.holds(), "{verdict}");
    assert_eq!(verdict.figures.repeats, 7);
}

#[test]
fn a_lost_row_is_incomplete_and_tears_its_transaction() {
    let mut stream = honest();
    let lost = at(&stream, 50, 1);
    stream.remove(lost);
    let verdict = judge(&stream);
    only(&verdict, &[Invariant::Completeness, Invariant::Transactions]);
    assert!(
        verdict.to_string().contains("lost: shop.accounts key 1 @50"),
        "{verdict}"
    );
}

#[test]
fn a_lost_transaction_is_incomplete() {
    let stream = honest()
        .into_iter()
        .filter(|(_, o)| !matches!(o, Observation::Row(row) if row.commit_ts == 50))
        .collect();
    let verdict = judge_by(
        Settings {
            banks: Vec::new(),
            ..settings()
        },
        &stream,
    );
    only(&verdict, &[Invariant::Completeness]);
    assert_eq!(verdict.counts[&Invariant::Completeness], 2);
}

#[test]
fn a_stream_that_stops_early_is_incomplete() {
    let mut stream = honest();
    stream.truncate(stream.len() - 2);
    only(&judge(&stream), &[Invariant::Completeness]);
}

#[test]
fn a_stream_without_watermarks_proves_nothing() {
    let stream: Stream = honest()
        .into_iter()
        .filter(|(_, o)| matches!(o, Observation::Row(_)))
        .collect();
    let lenient = Settings {
        banks: Vec::new(),
        must_reach: None,
        ..settings()
    };
    only(&judge_by(lenient.clone(), &stream), &[Invariant::Completeness]);
    let absent = Settings {
        watermarks: Watermarks::Absent,
        ..lenient
    };
    assert!(judge_by(absent.clone(), &stream).holds());
    only(
        &judge_by(absent, &stream[1..].to_vec()),
        &[Invariant::Completeness],
    );
}

#[test]
fn a_partition_without_a_watermark_holds_the_final_one_back() {
    let mut judge = Judge::new(truth(), settings());
    judge.partition("empty");
    for (partition, observation) in honest() {
        judge.observe(partition, &observation);
    }
    assert_eq!(judge.final_watermark(), None);
    assert!(judge.verdict().broken().contains(&Invariant::Completeness));
}

#[test]
fn a_key_in_two_partitions_is_told() {
    let mut stream = honest();
    let moved = at(&stream, 100, 2);
    stream[moved].0 = "odd";
    only(&judge(&stream), &[Invariant::Completeness]);
    let anywhere = Settings {
        placement: Placement::Anywhere,
        ..settings()
    };
    assert!(judge_by(anywhere, &stream).holds());
}

#[test]
fn swapped_rows_of_a_key_break_its_order() {
    let mut stream = honest();
    // No watermark between them, so that only the order is wrong.
    stream.retain(|(_, o)| !matches!(o, Observation::Watermark(ts) if (20..60).contains(ts)));
    let (one, other) = (at(&stream, 20, 2), at(&stream, 50, 2));
    stream.swap(one, other);
    only(&judge(&stream), &[Invariant::KeyOrder]);
}

#[test]
fn a_repeat_from_the_middle_that_skips_is_no_replay() {
    let mut stream = honest();
    let (first, third) = (at(&stream, 60, 2), at(&stream, 80, 0));
    let repeats = [stream[first].clone(), stream[third].clone()];
    let tail = at(&stream, 90, 2);
    stream.splice(tail..tail, repeats);
    only(&judge(&stream), &[Invariant::ReplayShape]);
}

#[test]
fn a_replay_that_stops_short_is_told() {
    let mut stream = honest();
    let repeated = stream[at(&stream, 50, 2)].clone();
    let tail = at(&stream, 90, 2);
    stream.insert(tail, repeated);
    only(&judge(&stream), &[Invariant::ReplayShape]);
    let by_key = Settings {
        replay_unit: ReplayUnit::Key,
        ..settings()
    };
    only(&judge_by(by_key, &stream), &[Invariant::ReplayShape]);
}

#[test]
fn a_replay_from_below_the_checkpoint_is_told() {
    let stream = honest();
    let row = stream[at(&stream, 100, 2)].clone();
    let run = |checkpoint: u64, floor: ReplayFloor| {
        let mut judge = Judge::new(
            truth(),
            Settings {
                replay_floor: floor,
                ..settings()
            },
        );
        stream
            .iter()
            .for_each(|(partition, observation)| judge.observe(partition, observation));
        judge.observe_checkpoint(checkpoint);
        judge.observe(row.0, &row.1);
        judge.verdict()
    };
    assert!(run(99, ReplayFloor::Checkpoint).holds());
    only(&run(100, ReplayFloor::Checkpoint), &[Invariant::ReplayShape]);
    only(&run(99, ReplayFloor::Watermark), &[Invariant::ReplayShape]);
}

#[test]
fn a_watermark_that_lies_is_told() {
    let mut stream = honest();
    // Both rows of the transaction are in the same partition's future, so it stays whole for the watermark's reader.
    let row = at(&stream, 50, 1);
    stream.insert(row, ("odd", Observation::Watermark(50)));
    let verdict = judge(&stream);
    assert_eq!(verdict.broken()[0], Invariant::Watermark, "{verdict}");
}

#[test]
fn a_falling_watermark_is_told() {
    let mut stream = honest();
    stream.insert(at(&honest(), 60, 2), ("even", Observation::Watermark(40)));
    only(&judge(&stream), &[Invariant::Watermark]);
}

#[test]
fn a_transaction_torn_across_a_watermark_is_told() {
    let mut stream = honest();
    let half = at(&stream, 50, 1);
    let row = stream.remove(half);
    let after = stream
        .iter()
        .position(|entry| *entry == ("odd", Observation::Watermark(53)))
        .unwrap();
    stream.insert(after + 1, row);
    let verdict = judge(&stream);
    only(&verdict, &[Invariant::Watermark, Invariant::Transactions]);
    let report = verdict.to_string();
    assert!(
        report.contains("transaction 45..50 only 1 of 2 rows are there at watermark 53"),
        "{report}"
    );
    assert!(
        report.contains("sums up to 393 instead of 400 at watermark 53")
            || report.contains("sums up to 407 instead of 400 at watermark 53"),
        "{report}"
    );
}

#[test]
fn a_late_row_counts_from_its_watermark_on_and_never_over_a_newer_one() {
    let mut stream = honest();
    // Key 2 changes at 20, 50 and 60; the change at 50 comes after the one at 60 and watermark 63.
    let late = at(&stream, 50, 2);
    let row = stream.remove(late);
    let after = stream
        .iter()
        .position(|entry| *entry == ("odd", Observation::Watermark(63)))
        .unwrap();
    stream.insert(after + 1, row);
    let verdict = judge(&stream);
    only(
        &verdict,
        &[Invariant::KeyOrder, Invariant::Watermark, Invariant::Transactions],
    );
    let sums: Vec<&str> = verdict
        .violations
        .iter()
        .map(|v| v.what.as_str())
        .filter(|what| what.contains("sums up to"))
        .collect();
    assert_eq!(sums.len(), 1, "{verdict}");
    assert!(sums[0].ends_with("at watermark 53"), "{verdict}");
}

#[test]
fn a_bank_that_does_not_add_up_is_told() {
    let mut wrong = settings();
    wrong.banks[0].sum = 401;
    only(&judge_by(wrong, &honest()), &[Invariant::Transactions]);
    let mut unfilled = settings();
    unfilled.banks[0].from_ts = 1_000;
    only(&judge_by(unfilled, &honest()), &[Invariant::Transactions]);
}

#[test]
fn an_altered_value_is_invented() {
    let mut stream = honest();
    row_mut(&mut stream, 30, 3)
        .row
        .insert("note".to_owned(), Some("y".to_owned()));
    let verdict = judge(&stream);
    only(&verdict, &[Invariant::NoInvention]);
    assert!(
        verdict.to_string().contains("note is \"y\", the truth is \"x\""),
        "{verdict}"
    );
}

#[test]
fn a_null_is_no_empty_text() {
    let mut stream = honest();
    row_mut(&mut stream, 30, 3).row.insert("note".to_owned(), None);
    only(&judge(&stream), &[Invariant::NoInvention]);
}

#[test]
fn a_missing_or_added_column_is_invented() {
    let mut stream = honest();
    row_mut(&mut stream, 30, 3).row.remove("note");
    row_mut(&mut stream, 40, 0).row.insert("extra".to_owned(), None);
    let verdict = judge(&stream);
    only(&verdict, &[Invariant::NoInvention]);
    assert_eq!(verdict.counts[&Invariant::NoInvention], 2);
}

#[test]
fn an_invented_row_is_told() {
    for forge in [
        (|row| row.commit_ts = 71) as fn(&mut RowObservation),
        |row| row.table = "nothing".to_owned(),
        |row| drop(row.row.insert("id".to_owned(), Some("17".to_owned()))),
    ] {
        let mut stream = honest();
        let real = at(&stream, 70, 3);
        let mut forged = stream[real].clone();
        if let Observation::Row(row) = &mut forged.1 {
            forge(row);
        }
        stream.insert(real, forged);
        only(&judge(&stream), &[Invariant::NoInvention]);
    }
}

#[test]
fn a_wrong_kind_of_change_is_invented() {
    let mut stream = honest();
    row_mut(&mut stream, 10, 3).op = RowOp::Update;
    only(&judge(&stream), &[Invariant::NoInvention]);
}

#[test]
fn a_wrong_or_missing_old_image_is_invented() {
    let mut stream = honest();
    row_mut(&mut stream, 30, 3)
        .old
        .as_mut()
        .unwrap()
        .insert("balance".to_owned(), Some("1".to_owned()));
    row_mut(&mut stream, 40, 0).old = None;
    let verdict = judge(&stream);
    only(&verdict, &[Invariant::NoInvention]);
    assert_eq!(verdict.counts[&Invariant::NoInvention], 2);
    assert!(
        judge_by(
            Settings {
                old_image: OldImage::Absent,
                ..settings()
            },
            &stream
        )
        .holds()
    );
}

#[test]
fn the_old_image_is_the_version_before_where_the_truth_does_not_say() {
    let mut rows = truth();
    rows.iter_mut().for_each(|row| row.old = None);
    let run = |stream: &Stream| {
        let mut judge = Judge::new(rows.clone(), settings());
        stream
            .iter()
            .for_each(|(partition, observation)| judge.observe(partition, observation));
        judge.verdict()
    };
    assert!(run(&honest()).holds());
    let mut stream = honest();
    row_mut(&mut stream, 90, 2).old = Some(account(2, 100));
    only(&run(&stream), &[Invariant::NoInvention]);
}

#[test]
fn an_old_image_of_changed_columns_is_enough_where_so_agreed() {
    let mut stream = honest();
    for (_, observation) in &mut stream {
        if let Observation::Row(RowObservation { old: Some(old), .. }) = observation {
            old.retain(|column, _| column == "balance");
        }
    }
    only(&judge(&stream), &[Invariant::NoInvention]);
    let changed = Settings {
        old_image: OldImage::Changed,
        ..settings()
    };
    assert!(judge_by(changed.clone(), &stream).holds());
    row_mut(&mut stream, 30, 3).old.as_mut().unwrap().clear();
    only(&judge_by(changed, &stream), &[Invariant::NoInvention]);
}

#[test]
fn a_repeat_that_differs_breaks_the_order() {
    let mut stream = honest();
    let last = at(&stream, 100, 2);
    let mut repeat = stream[last].clone();
    if let Observation::Row(row) = &mut repeat.1 {
        row.row.insert("note".to_owned(), Some("z".to_owned()));
    }
    stream.insert(last + 1, repeat);
    only(&judge(&stream), &[Invariant::KeyOrder]);
}

/// Splits the update of a key at a ts into its halves.
fn split(stream: &mut Stream, ts: u64, id: u64) -> usize {
    let index = at(stream, ts, id);
    let (partition, Observation::Row(row)) = stream[index].clone() else {
        unreachable!()
    };
    let delete = RowObservation {
        op: RowOp::Delete,
        row: row.old.clone().unwrap(),
        old: None,
        ..row.clone()
    };
    let insert = RowObservation {
        op: RowOp::Insert,
        old: None,
        ..row
    };
    stream.splice(
        index..=index,
        [
            (partition, Observation::Row(delete)),
            (partition, Observation::Row(insert)),
        ],
    );
    index
}

#[test]
fn an_update_may_come_as_delete_and_insert() {
    let mut stream = honest();
    let index = split(&mut stream, 50, 1);
    assert!(judge(&stream).holds());

    let mut swapped = stream.clone();
    swapped.swap(index, index + 1);
    only(&judge(&swapped), &[Invariant::KeyOrder]);

    let mut half = stream;
    half.remove(index + 1);
    let verdict = judge(&half);
    only(&verdict, &[Invariant::Completeness, Invariant::Transactions]);
    assert!(
        verdict.to_string().contains("only its delete was seen"),
        "{verdict}"
    );
}

#[test]
fn a_key_deleted_and_inserted_by_one_transaction_is_one_change() {
    let rows = vec![
        truth_row(10, 1, TruthOp::Insert, account(1, 1), None),
        truth_row(20, 1, TruthOp::Insert, account(1, 2), None),
        truth_row(20, 1, TruthOp::Delete, account(1, 1), None),
        truth_row(30, 1, TruthOp::Delete, account(1, 2), None),
    ];
    let mut judge = Judge::new(rows.clone(), Settings::default());
    for index in [0, 2, 1, 3] {
        judge.observe("p", &observed(&rows[index]));
    }
    judge.observe("p", &Observation::Watermark(40));
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
}

#[test]
fn a_deleted_row_shows_what_was_agreed() {
    let rows = vec![
        truth_row(10, 1, TruthOp::Insert, account(1, 9), None),
        truth_row(30, 1, TruthOp::Delete, account(1, 9), None),
    ];
    let run = |delete_image| {
        let mut judge = Judge::new(
            rows.clone(),
            Settings {
                delete_image,
                ..Settings::default()
            },
        );
        judge.observe("p", &observed(&rows[0]));
        let Observation::Row(mut row) = observed(&rows[1]) else {
            unreachable!()
        };
        row.row.retain(|column, _| column == "id");
        judge.observe("p", &Observation::Row(row));
        judge.observe("p", &Observation::Watermark(40));
        judge.verdict()
    };
    assert!(run(DeleteImage::Key).holds());
    only(&run(DeleteImage::Full), &[Invariant::NoInvention]);
}

#[test]
fn a_checkpoint_ahead_of_the_sink_is_told() {
    let mut judge = Judge::new(truth(), settings());
    let stream = honest();
    for (index, (partition, observation)) in stream.iter().enumerate() {
        if index == at(&stream, 40, 0) {
            judge.observe_checkpoint(30);
        }
        if index == at(&stream, 80, 1) {
            judge.observe_checkpoint(80);
        }
        judge.observe(partition, observation);
    }
    let verdict = judge.verdict();
    only(&verdict, &[Invariant::CheckpointSafety]);
    assert_eq!(verdict.counts[&Invariant::CheckpointSafety], 1, "{verdict}");
}

#[test]
fn a_falling_checkpoint_is_told() {
    let mut judge = Judge::new(truth(), settings());
    honest()
        .iter()
        .for_each(|(partition, observation)| judge.observe(partition, observation));
    judge.observe_checkpoint(60);
    judge.observe_checkpoint(50);
    only(&judge.verdict(), &[Invariant::CheckpointSafety]);
}

#[test]
fn what_was_before_the_start_is_not_expected_and_not_allowed() {
    let late = Settings {
        start_ts: 50,
        ..settings()
    };
    let stream: Stream = honest()
        .into_iter()
        .filter(|(_, o)| match o {
            Observation::Row(row) => row.commit_ts > 50,
            Observation::Watermark(ts) => *ts > 50,
        })
        .collect();
    let verdict = judge_by(late.clone(), &stream);
    assert!(verdict.holds(), "{verdict}");
    let mut early = stream;
    early.insert(0, honest()[at(&honest(), 50, 2)].clone());
    only(&judge_by(late, &early), &[Invariant::NoInvention]);
}

#[test]
fn a_common_watermark_counts_in_partitions_to_come() {
    let rows = truth();
    let mut judge = Judge::new(
        rows.clone(),
        Settings {
            placement: Placement::Successive,
            ..settings()
        },
    );
    let (before, after): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.commit_ts <= 50);
    before
        .iter()
        .for_each(|row| judge.observe("version 1", &observed(row)));
    judge.observe_watermark_everywhere(60);
    after
        .iter()
        .for_each(|row| judge.observe("version 2", &observed(row)));
    judge.observe_watermark_everywhere(100);
    let verdict = judge.verdict();
    only(&verdict, &[Invariant::Watermark]);
}

#[test]
fn latency_is_told_where_times_are_known() {
    let rows = vec![truth_row(5_000 << 18, 1, TruthOp::Insert, account(1, 1), None)];
    let mut judge = Judge::new(rows.clone(), Settings::default());
    judge.observe_at("p", &observed(&rows[0]), Some(5_250));
    judge.observe_at("p", &observed(&rows[0]), Some(9_999));
    let latency = judge.verdict().figures.latency.unwrap();
    assert_eq!((latency.p50, latency.max), (250, 250));
}

#[test]
fn many_violations_are_counted_and_the_first_told() {
    let stream: Stream = (1..=1_000)
        .flat_map(|_| [honest()[0].clone()])
        .enumerate()
        .map(|(index, (partition, mut o))| {
            if let Observation::Row(row) = &mut o {
                row.commit_ts = 1_000 + index as u64;
            }
            (partition, o)
        })
        .collect();
    let verdict = judge(&stream);
    assert_eq!(verdict.counts[&Invariant::NoInvention], 1_000);
    assert!(verdict.to_string().contains("... and 980 more"), "{verdict}");
}

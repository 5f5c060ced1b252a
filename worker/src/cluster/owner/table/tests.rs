use tidemark_model::Span;

use super::*;

const A: Seat = Seat(1);
const B: Seat = Seat(2);

fn key(id: i64) -> SpanKey {
    SpanKey {
        table_id: id,
        physical_id: id,
        range: Span::new(vec![u8::try_from(id).unwrap()], Vec::new()),
    }
}

fn table(spans: i64) -> SpanTable {
    let mut table = SpanTable::default();
    for id in 1..=spans {
        table.add(key(id), format!("t{id}").into(), Ts(10));
    }
    table
}

#[test]
fn the_checkpoint_is_the_lowest_and_a_floor_counts_only_for_what_was_taken_up_before() {
    let mut table = table(2);
    assert_eq!(table.give(&key(1), A), Some(Ts(10)));
    assert_eq!(table.give(&key(1), B), None, "it is another's");
    table.floor(A, None);
    table.started(A, &key(1));
    table.floor(A, Some(Ts(50)));
    assert_eq!(table.checkpoint(), Some(Ts(10)), "the other span stands still");
    table.give(&key(2), A);
    table.floor(A, Some(Ts(60)));
    assert_eq!(table.get(&key(2)), Some((Place::Starting(A), Ts(10))));
    table.started(A, &key(2));
    assert_eq!(
        table.get(&key(2)).unwrap().1,
        Ts(10),
        "no report speaks of it yet"
    );
    table.floor(A, Some(Ts(20)));
    assert_eq!(table.get(&key(2)).unwrap().1, Ts(20));
    assert_eq!(
        table.get(&key(1)).unwrap().1,
        Ts(60),
        "what was known stays known"
    );
    assert_eq!(table.checkpoint(), Some(Ts(20)));
}

#[test]
fn a_move_goes_on_where_the_span_was_given_up() {
    let mut table = table(1);
    table.give(&key(1), A);
    table.started(A, &key(1));
    table.floor(A, Some(Ts(30)));
    assert_eq!(table.take(&key(1)), Some(A));
    assert_eq!(table.take(&key(1)), None);
    table.floor(A, Some(Ts(31)));
    assert_eq!(
        table.checkpoint(),
        Some(Ts(31)),
        "it streams until it says that it stopped"
    );
    table.stopped(B, &key(1), Ts(99));
    assert_eq!(
        table.get(&key(1)),
        Some((Place::Stopping(A), Ts(31))),
        "not its word to give"
    );
    table.stopped(A, &key(1), Ts(40));
    assert_eq!(table.give(&key(1), B), Some(Ts(40)));
}

#[test]
fn the_dead_leave_their_spans_at_the_last_floor() {
    let mut table = table(2);
    for id in [1, 2] {
        table.give(&key(id), A);
        table.started(A, &key(id));
    }
    table.floor(A, Some(Ts(70)));
    table.vacate(A);
    assert_eq!(table.free().len(), 2);
    assert_eq!(table.checkpoint(), Some(Ts(70)));
    table.floor(A, Some(Ts(90)));
    assert_eq!(
        table.checkpoint(),
        Some(Ts(70)),
        "late words of the dead don't count"
    );
}

fn part(id: i64, start: &[u8], end: &[u8]) -> SpanKey {
    SpanKey {
        range: Span::new(start.to_vec(), end.to_vec()),
        ..key(id)
    }
}

#[test]
fn a_cut_span_is_put_together_again_by_what_workers_tell() {
    let mut table = SpanTable::default();
    table.add(part(1, b"a", b"z"), "shop.big".into(), Ts(10));
    table.cut(
        &part(1, b"a", b"z"),
        &[Bytes::from_static(b"k"), Bytes::from_static(b"p")],
    );
    let names: Vec<_> = table.iter().map(|(_, name, ..)| name.to_string()).collect();
    assert_eq!(names, ["shop.big", "shop.big:6b", "shop.big:70"]);
    table.give(&part(1, b"k", b"p"), A);
    table.cut(&part(1, b"k", b"p"), &[Bytes::from_static(b"m")]);
    assert_eq!(table.len(), 3, "what is streamed is not cut");

    let mut next = SpanTable::default();
    next.add(part(1, b"a", b"z"), "shop.big".into(), Ts(10));
    assert_eq!(next.hello(B, &[(part(1, b"k", b"p"), Ts(30))]), []);
    next.remember(&part(1, b"p", b"z"), Ts(20));
    let all: Vec<_> = next
        .iter()
        .map(|(key, _, place, at)| (key.clone(), place, at))
        .collect();
    assert_eq!(
        all,
        [
            (part(1, b"a", b"k"), Place::Free, Ts(10)),
            (part(1, b"k", b"p"), Place::Running(B), Ts(30)),
            (part(1, b"p", b"z"), Place::Free, Ts(20)),
        ]
    );
    assert_eq!(
        next.hello(A, &[(part(1, b"j", b"l"), Ts(40))]).len(),
        1,
        "it overlaps another's"
    );
}

#[test]
fn a_hello_tells_all_that_a_worker_has() {
    let mut table = table(3);
    table.give(&key(1), A);
    table.give(&key(3), B);
    let strange = table.hello(A, &[(key(2), Ts(25)), (key(3), Ts(25)), (key(9), Ts(25))]);
    assert_eq!(strange, [key(3), key(9)]);
    assert_eq!(table.get(&key(1)), Some((Place::Free, Ts(10))));
    assert_eq!(table.get(&key(2)), Some((Place::Running(A), Ts(25))));
    table.remember(&key(1), Ts(15));
    table.remember(&key(1), Ts(12));
    assert_eq!(table.get(&key(1)), Some((Place::Free, Ts(15))));
}

#[test]
fn an_heir_gets_a_span_when_it_is_free_and_counts_as_having_it() {
    let mut table = table(1);
    table.give(&key(1), A);
    table.started(A, &key(1));
    table.floor(A, Some(Ts(30)));
    assert_eq!(table.prepare(&key(1), A), None, "it has it");
    assert_eq!(table.prepare(&key(1), B), Some(Ts(30)));
    assert_eq!(table.prepare(&key(1), Seat(3)), None, "it has an heir");
    assert_eq!((table.of(A).len(), table.of(B).len()), (0, 1));
    assert_eq!(table.heir(&key(1)), Some((B, false)));
    table.prepared(A, &key(1));
    table.prepared(B, &key(1));
    assert_eq!(table.heir(&key(1)), Some((B, true)));
    assert_eq!(table.inherited(), []);
    table.take(&key(1));
    table.stopped(A, &key(1), Ts(40));
    assert_eq!(table.inherited(), [(key(1), B)]);
    assert_eq!(table.give(&key(1), B), Some(Ts(40)));
    assert_eq!(table.heir(&key(1)), None);
}

#[test]
fn the_dead_inherit_nothing() {
    let mut table = table(1);
    table.give(&key(1), A);
    table.started(A, &key(1));
    table.prepare(&key(1), B);
    table.vacate(B);
    assert_eq!(table.heir(&key(1)), None);
    table.prepare(&key(1), B);
    table.vacate(A);
    assert_eq!(
        table.inherited(),
        [(key(1), B)],
        "the heir of the dead takes over at once"
    );
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Version(u64);

impl Holder for Version {
    fn version(&self) -> u64 {
        self.0
    }
}

fn fresh() -> (Ranges<Version>, Frontier) {
    let mut frontier = Frontier::default();
    let ranges = Ranges::new(Span::new("a", "z"), Ts(10), &mut frontier);
    (ranges, frontier)
}

fn hold(
    ranges: &mut Ranges<Version>,
    frontier: &mut Frontier,
    start: &'static str,
    end: &'static str,
) -> u32 {
    match ranges.acquire(&Span::new(start, end), Version(1), frontier) {
        Acquired::Held { slot, .. } => slot,
        conflict => panic!("{conflict:?}"),
    }
}

fn free(ranges: &mut Ranges<Version>, start: &'static str) {
    ranges.get_mut(&Bytes::from(start)).unwrap().holder = None;
}

#[test]
fn a_merged_range_goes_on_from_its_slower_part() {
    let (mut ranges, mut frontier) = fresh();
    let left = hold(&mut ranges, &mut frontier, "a", "m");
    let right = hold(&mut ranges, &mut frontier, "m", "z");
    frontier.raise(left, Ts(30));
    frontier.raise(right, Ts(20));
    free(&mut ranges, "a");
    free(&mut ranges, "m");
    let merged = ranges.acquire(&Span::new("a", "z"), Version(2), &mut frontier);
    assert!(matches!(merged, Acquired::Held { ts: Ts(20), .. }));
    assert_eq!((ranges.len(), frontier.len(), frontier.min()), (1, 1, Ts(20)));
}

#[test]
fn split_parts_keep_their_ts() {
    let (mut ranges, mut frontier) = fresh();
    let whole = hold(&mut ranges, &mut frontier, "a", "z");
    frontier.raise(whole, Ts(40));
    free(&mut ranges, "a");
    hold(&mut ranges, &mut frontier, "f", "m");
    assert_eq!((ranges.len(), frontier.min()), (3, Ts(40)));
    let all = Span::new("a", "z");
    assert_eq!(
        ranges.free_within(&all),
        [Span::new("a", "f"), Span::new("m", "z")]
    );
}

#[test]
fn an_older_holder_is_named_and_a_newer_one_is_not() {
    let (mut ranges, mut frontier) = fresh();
    hold(&mut ranges, &mut frontier, "c", "f");
    let wide = Span::new("a", "m");
    let newer = ranges.acquire(&wide, Version(2), &mut frontier);
    let parts = vec![Span::new("a", "c"), Span::new("f", "m")];
    let older = vec![Bytes::from("c")];
    assert_eq!(
        newer,
        Acquired::Conflict {
            older,
            free: parts.clone()
        }
    );
    let stale = ranges.acquire(&wide, Version(1), &mut frontier);
    assert_eq!(
        stale,
        Acquired::Conflict {
            older: Vec::new(),
            free: parts
        }
    );
}

proptest! {
    #[test]
    fn pieces_cover_the_span_once_and_never_forget_progress(
        steps in prop::collection::vec((0_u8..26, 1_u8..26, 0_u64..4, 0_u64..60), 1..80),
    ) {
        let mut frontier = Frontier::default();
        let span = Span::new(vec![b'a'], vec![b'z']);
        let mut ranges = Ranges::new(span.clone(), Ts(10), &mut frontier);
        // How far each letter has been read, by the same rules.
        let mut read = [10_u64; 25];
        for (from, length, kind, ts) in steps {
            let start = (b'a' + from).min(b'y');
            let end = (start + length).min(b'z');
            let range = Span::new(vec![start], vec![end]);
            let letters = usize::from(start - b'a')..usize::from(end - b'a');
            match kind {
                0 | 1 => {
                    let acquired = ranges.acquire(&range, Version(ts), &mut frontier);
                    if let Acquired::Held { slot, ts, .. } = acquired {
                        let slowest = read[letters.clone()].iter().min().copied().unwrap();
                        prop_assert_eq!(ts, Ts(slowest));
                        read[letters].fill(slowest);
                        prop_assert_eq!(frontier.get(slot), ts);
                    }
                }
                2 => {
                    let piece = ranges.iter().find(|(_, piece)| piece.holder.is_some());
                    if let Some((start, piece)) = piece {
                        let letters = usize::from(start[0] - b'a')..usize::from(piece.end[0] - b'a');
                        if frontier.raise(piece.slot, Ts(ts)) {
                            read[letters].fill(ts);
                        }
                    }
                }
                _ => {
                    let held = ranges.iter().find(|(_, piece)| piece.holder.is_some());
                    if let Some(start) = held.map(|(start, _)| start.clone()) {
                        ranges.get_mut(&start).unwrap().holder = None;
                    }
                }
            }
            let mut at = span.start.clone();
            for (start, piece) in ranges.iter() {
                prop_assert_eq!(start, &at);
                prop_assert_eq!(ranges.of_slot(piece.slot).map(|(start, _)| start), Some(start));
                for ts in &read[usize::from(start[0] - b'a')..usize::from(piece.end[0] - b'a')] {
                    prop_assert_eq!(frontier.get(piece.slot), Ts(*ts));
                }
                at = piece.end.clone();
            }
            prop_assert_eq!(&at, &span.end);
            prop_assert_eq!(frontier.len(), ranges.len());
        }
    }
}

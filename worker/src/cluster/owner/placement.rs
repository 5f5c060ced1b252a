//! Which worker shall have which span, by load. Pure.

use super::table::Seat;
use crate::cluster::span_key::SpanKey;

/// A worker that can take spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) seat: Seat,
    /// Bytes per second of all its spans.
    pub(crate) load: u64,
}

/// Spans that are moved at once to even the load out: each stands still for a moment.
const MOVES: usize = 16;

/// Gives each span to the worker that has least to do, the heaviest spans first.
pub(crate) fn place(mut spans: Vec<(SpanKey, u64)>, mut candidates: Vec<Candidate>) -> Vec<(SpanKey, Seat)> {
    spans.sort_by(|(a_key, a), (b_key, b)| b.cmp(a).then_with(|| a_key.cmp(b_key)));
    let mut placed = Vec::with_capacity(spans.len());
    for (key, weight) in spans {
        let lightest = candidates
            .iter_mut()
            .min_by_key(|candidate| (candidate.load, candidate.seat));
        let Some(lightest) = lightest else { break };
        lightest.load += weight;
        placed.push((key, lightest.seat));
    }
    placed
}

/// Spans to take away from those who have most, so that placing them anew evens the load out; none where that would gain
/// little.
pub(crate) fn surplus(mut loads: Vec<(Candidate, Vec<(SpanKey, u64)>)>) -> Vec<SpanKey> {
    let mut moved = Vec::new();
    while moved.len() < MOVES {
        loads.sort_by_key(|(candidate, _)| (candidate.load, candidate.seat));
        let [(lightest, _), .., (heaviest, _)] = loads.as_slice() else {
            break;
        };
        let gap = heaviest.load - lightest.load;
        let mean = loads.iter().map(|(candidate, _)| candidate.load).sum::<u64>() / loads.len() as u64;
        let Some((heaviest, spans)) = loads.last_mut() else {
            break;
        };
        // The one that comes nearest to closing the gap, and never more than that.
        let best = spans
            .iter()
            .enumerate()
            .filter(|(_, (_, weight))| *weight <= gap / 2)
            .max_by_key(|(_, (_, weight))| *weight);
        let Some((index, weight)) = best.map(|(index, (_, weight))| (index, *weight)) else {
            break;
        };
        if gap < mean / 4 {
            break;
        }
        let (key, _) = spans.swap_remove(index);
        heaviest.load -= weight;
        if let Some((lightest, _)) = loads.first_mut() {
            lightest.load += weight;
        }
        moved.push(key);
    }
    moved
}

/// A span of more than `above` bytes per second that is too much for one worker: it makes that worker's load stand out, and
/// moving it whole would not help.
pub(crate) fn too_big(loads: &[(Candidate, Vec<(SpanKey, u64)>)], above: u64) -> Option<SpanKey> {
    let mean = loads.iter().map(|(candidate, _)| candidate.load).sum::<u64>() / (loads.len() as u64).max(1);
    let (heaviest, spans) = loads.iter().max_by_key(|(candidate, _)| candidate.load)?;
    let (key, weight) = spans.iter().max_by_key(|(_, weight)| *weight)?;
    let stands_out = loads.len() > 1 && heaviest.load > mean + mean / 4;
    (stands_out && *weight > mean / 2 && *weight > above).then(|| key.clone())
}

#[cfg(test)]
mod tests {
    use tidemark_model::Span;

    use super::*;

    fn key(id: i64) -> SpanKey {
        SpanKey {
            table_id: id,
            physical_id: id,
            range: Span::new(Vec::new(), Vec::new()),
        }
    }

    fn candidate(seat: u64, load: u64) -> Candidate {
        Candidate {
            seat: Seat(seat),
            load,
        }
    }

    fn even(spans: usize, weight: u64) -> Vec<(SpanKey, u64)> {
        (0..spans)
            .map(|id| (key(i64::try_from(id).unwrap()), weight))
            .collect()
    }

    #[test]
    fn the_heaviest_are_spread_first() {
        let spans = vec![(key(1), 1), (key(2), 10), (key(3), 9), (key(4), 2)];
        let placed = place(spans, vec![candidate(1, 0), candidate(2, 0)]);
        let of = |seat| -> Vec<_> {
            let mine = placed.iter().filter(|(_, s)| *s == Seat(seat));
            mine.map(|(key, _)| key.table_id).collect()
        };
        assert_eq!((of(1), of(2)), (vec![2, 1], vec![3, 4]));
        assert_eq!(place(even(3, 1), Vec::new()), []);
    }

    #[test]
    fn a_newcomer_gets_its_share() {
        let loads = vec![(candidate(1, 60), even(6, 10)), (candidate(2, 0), Vec::new())];
        assert_eq!(surplus(loads).len(), 3);
    }

    #[test]
    fn what_would_gain_little_stays() {
        let little = vec![(candidate(1, 50), even(5, 10)), (candidate(2, 40), even(4, 10))];
        assert_eq!(surplus(little), []);
        let one_big = vec![(candidate(1, 100), even(1, 100)), (candidate(2, 10), even(1, 10))];
        assert_eq!(surplus(one_big), [], "moving it would only turn the tables");
        assert_eq!(surplus(vec![(candidate(1, 100), even(10, 10))]), []);
    }

    #[test]
    fn a_span_that_outweighs_all_others_is_too_big() {
        let (above, big) = (1 << 20, 10 << 20);
        let loads = [
            (candidate(1, big), even(1, big)),
            (candidate(2, 100), even(1, 100)),
        ];
        assert_eq!(too_big(&loads, above), Some(key(0)));
        assert_eq!(too_big(&loads[..1], above), None, "nobody else is there");
        let balanced = [
            (candidate(1, big), even(1, big)),
            (candidate(2, big), even(1, big)),
        ];
        assert_eq!(too_big(&balanced, above), None);
        let idle = [
            (candidate(1, 1000), even(1, 1000)),
            (candidate(2, 10), even(1, 10)),
        ];
        assert_eq!(too_big(&idle, above), None, "it isn't worth it");
    }

    #[test]
    fn few_are_moved_at_once() {
        let loads = vec![(candidate(1, 1000), even(1000, 1)), (candidate(2, 0), Vec::new())];
        assert_eq!(surplus(loads).len(), MOVES);
    }
}

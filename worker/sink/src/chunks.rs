use std::collections::VecDeque;
use std::ops::Range;

use tidemark_model::KvChange;

/// A chunk ends here at the latest, in multiples of its target, so that one huge transaction is encoded in pieces too.
const STRETCH: usize = 4;

/// Rows of a chunk: enough to outweigh a task's cost.
const ROWS: usize = 512;

/// Cuts a batch into chunks that are encoded on their own: about `bytes` each, and between transactions where that takes no
/// chunk beyond four times its size.
pub(crate) fn chunks(changes: &[KvChange], bytes: usize) -> VecDeque<Range<usize>> {
    let mut chunks = VecDeque::new();
    let (mut start, mut weight) = (0, 0);
    for (at, change) in changes.iter().enumerate() {
        weight += change.weight();
        let rows = at + 1 - start;
        let whole = changes
            .get(at + 1)
            .is_none_or(|next| (next.commit_ts, next.start_ts) != (change.commit_ts, change.start_ts));
        let reach = if whole { 1 } else { STRETCH };
        if weight >= bytes * reach || rows >= ROWS * reach {
            chunks.push_back(start..at + 1);
            (start, weight) = (at + 1, 0);
        }
    }
    if start < changes.len() {
        chunks.push_back(start..changes.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidemark_model::{Op, Ts};

    use super::*;

    fn changes(transactions: &[usize]) -> Vec<KvChange> {
        let of = |(ts, &rows): (usize, &usize)| {
            let change = KvChange {
                key: Bytes::from_static(b"k"),
                value: Bytes::from_static(b"v"),
                old_value: Bytes::new(),
                start_ts: Ts(ts as u64),
                commit_ts: Ts(ts as u64 + 1),
                op: Op::Put,
            };
            std::iter::repeat_n(change, rows)
        };
        transactions.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn chunks_end_between_transactions() {
        let all = changes(&[500, 100, 500]);
        assert_eq!(chunks(&all, 1 << 20), [0..600, 600..1100]);
    }

    #[test]
    fn a_huge_transaction_is_cut_all_the_same() {
        let all = changes(&[5000]);
        let cut = chunks(&all, 1 << 20);
        assert_eq!(cut.iter().map(Range::len).collect::<Vec<_>>(), [2048, 2048, 904]);
        assert!(chunks(&[], 1).is_empty());
    }
}

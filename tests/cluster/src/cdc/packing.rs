//! How resolved timestamps of many regions are put into few messages.

use tidemark_proto::cdcpb::ResolvedTs;

/// Regions in the first message; each next one takes [`GROWTH`] times as many.
const FIRST: usize = 8;
const GROWTH: usize = 4;

/// Packs `(ts, region)` pairs: the slowest eight regions in one message, then 32, 128 and so on. A message's ts is
/// the least of its regions, so one slow region holds back those of its group.
pub(super) fn pack(request_id: u64, mut regions: Vec<(u64, u64)>) -> Vec<ResolvedTs> {
    regions.sort_unstable();
    let mut messages = Vec::new();
    let (mut rest, mut size) = (&regions[..], FIRST);
    while let Some((ts, _)) = rest.first() {
        let (group, tail) = rest.split_at(size.min(rest.len()));
        messages.push(ResolvedTs {
            regions: group.iter().map(|(_, region)| *region).collect(),
            ts: *ts,
            request_id,
        });
        rest = tail;
        size = size.saturating_mul(GROWTH);
    }
    messages
}

/// Keeps each region once, with its least ts: for streams where several requests of a region share a message.
pub(super) fn least_per_region(regions: &mut Vec<(u64, u64)>) {
    regions.sort_unstable_by_key(|(ts, region)| (*region, *ts));
    regions.dedup_by_key(|(_, region)| *region);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_by_four_and_take_the_least_ts() {
        let regions = (0..200u64).map(|region| (1000 - region, region)).collect();
        let messages = pack(7, regions);
        let shape: Vec<_> = messages
            .iter()
            .map(|message| (message.regions.len(), message.ts))
            .collect();
        assert_eq!(shape, [(8, 801), (32, 809), (128, 841), (32, 969)]);
        assert!(messages.iter().all(|message| message.request_id == 7));
        assert!(messages[0].regions.contains(&199), "the slowest come first");
    }

    #[test]
    fn no_region_gives_no_message() {
        assert!(pack(1, Vec::new()).is_empty());
    }

    #[test]
    fn a_region_of_two_requests_counts_once() {
        let mut regions = vec![(9, 1), (5, 1), (7, 2)];
        least_per_region(&mut regions);
        assert_eq!(regions, [(5, 1), (7, 2)]);
    }
}

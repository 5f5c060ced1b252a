//! Where a big span is cut: at region bounds, so that each part has about as many regions.

use bytes::Bytes;
use tidemark_crds::{PartitionBy, SinkSpec};
use tidemark_model::Span;
use tidemark_pull::PdClient;

use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;

/// A span and the keys at which it is to be cut.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) span: SpanKey,
    pub(super) at: Vec<Bytes>,
}

/// Whether the sink keeps its promises when several workers write one table: not where a table's rows come in one sequence,
/// be it the files of a folder or a topic's partition.
pub(super) fn may_cut(sink: &SinkSpec) -> bool {
    let by_key = |kafka: &tidemark_crds::KafkaSink| kafka.partition_by == PartitionBy::Key;
    sink.storage.is_none() && sink.kafka.as_ref().is_none_or(by_key)
}

/// Asks PD for the regions of a span, to cut it in so many parts; no keys where it has fewer regions.
pub(super) async fn find(pd: &PdClient, span: SpanKey, parts: usize) -> Result<Cut, FeedError> {
    let regions = pd.regions(std::slice::from_ref(&span.range), 0).await?;
    let bounds: Vec<Span> = regions.into_iter().map(|region| region.span).collect();
    Ok(Cut {
        at: bounds_of(&bounds, parts),
        span,
    })
}

/// The starts of every so many regions.
fn bounds_of(regions: &[Span], parts: usize) -> Vec<Bytes> {
    let parts = parts.min(regions.len());
    (1..parts)
        .filter_map(|part| regions.get(part * regions.len() / parts))
        .map(|region| region.start.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(starts: &[&str]) -> Vec<Span> {
        let starts = starts.iter();
        starts
            .map(|start| Span::new(start.as_bytes().to_vec(), Vec::new()))
            .collect()
    }

    #[test]
    fn parts_have_about_as_many_regions() {
        let five = regions(&["a", "b", "c", "d", "e"]);
        assert_eq!(bounds_of(&five, 2), ["c"]);
        assert_eq!(bounds_of(&five, 3), ["b", "d"]);
        assert_eq!(bounds_of(&five, 9), ["b", "c", "d", "e"]);
        assert_eq!(bounds_of(&five[..1], 4), [""; 0]);
        assert_eq!(bounds_of(&[], 4), [""; 0]);
    }
}

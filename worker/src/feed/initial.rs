use std::sync::Arc;

use tidemark_crds::{ChangefeedSpec, SourceFormat, TableRules};
use tidemark_model::{Span, Ts};
use tidemark_pull::{KvClient, PdClient};
use tidemark_tidb::{Table, TimeZone};

use super::catalog::Catalog;
use crate::error::FeedError;

/// A table and the key ranges of its physical tables.
pub(crate) type Ranged = (Arc<Table>, Vec<(i64, Span)>);

/// What there is to stream at one ts.
pub(crate) struct Initial {
    pub(crate) tables: Vec<Ranged>,
    /// Follows DDL; a source of plain keys has none.
    pub(crate) catalog: Option<Catalog>,
}

impl Initial {
    /// Reads what there is to stream at `start`.
    pub(crate) async fn read(spec: &ChangefeedSpec, pd: &PdClient, start: Ts) -> Result<Self, FeedError> {
        if spec.source.format == SourceFormat::Kv {
            let mut ranges = Vec::new();
            for range in &spec.key_ranges {
                let (start, end) = range.bounds().map_err(FeedError::Stopped)?;
                ranges.push((0, Span::new(start, end)));
            }
            let tables = vec![(Arc::new(Table::plain_kv()), ranges)];
            return Ok(Self {
                tables,
                catalog: None,
            });
        }
        let rules = TableRules::parse(&spec.tables).map_err(|error| FeedError::Stopped(error.to_string()))?;
        let catalog = Catalog::load(&KvClient::new(pd.clone()), rules, start).await?;
        let with_spans = |table: Arc<Table>| {
            let spans = Catalog::spans(&table);
            (table, spans)
        };
        Ok(Self {
            tables: catalog.tables().into_iter().map(with_spans).collect(),
            catalog: Some(catalog),
        })
    }
}

/// The zone that TIMESTAMP columns are written in.
pub(crate) fn time_zone(spec: &ChangefeedSpec) -> Result<TimeZone, FeedError> {
    TimeZone::parse(&spec.time_zone).map_err(|error| {
        FeedError::Stopped(format!(
            "spec.timeZone: {:?} is no time zone: {error}",
            spec.time_zone
        ))
    })
}

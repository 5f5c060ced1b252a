use std::sync::Arc;

use tidemark_crds::{StorageFormat, StorageSink as Settings};
use tidemark_model::{KvChange, Ts};
use tidemark_tidb::{RowKey, Table, TimeZone};

use super::layout::Dates;
use crate::SinkError;
use crate::encode::{CanalJson, CanalOptions, Csv, RowChange};

/// The encoder of one announced table version, and where its files go.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) table: Arc<Table>,
    /// The ts in the folder's name.
    pub(super) version: Ts,
    format: Format,
    /// Constant text of a row, for estimates.
    frame: usize,
}

#[derive(Debug)]
enum Format {
    CanalJson(CanalJson),
    Csv(Csv),
}

/// Encoded rows of one date folder, in commit order.
#[derive(Debug)]
pub(super) struct Piece {
    /// The date folder; empty without.
    pub(super) date: String,
    pub(super) bytes: Vec<u8>,
    pub(super) first: Transaction,
    /// Where the next transaction begins in `bytes`.
    pub(super) second: Option<(usize, Transaction)>,
    pub(super) last: Transaction,
}

/// Commit ts and start ts.
pub(super) type Transaction = (Ts, Ts);

impl Piece {
    /// Takes off the first transaction's rows, if others follow.
    pub(super) fn take_first(&mut self) -> Option<Self> {
        let (end, second) = self.second.take()?;
        let rest = self.bytes.split_off(end);
        let first = Self {
            date: self.date.clone(),
            bytes: std::mem::replace(&mut self.bytes, rest),
            first: self.first,
            second: None,
            last: self.first,
        };
        self.first = second;
        Some(first)
    }
}

impl Version {
    pub(super) fn new(
        table: &Arc<Table>,
        version: Ts,
        settings: &Settings,
        zone: &TimeZone,
    ) -> Result<Self, SinkError> {
        let format = match settings.format {
            StorageFormat::CanalJson => {
                let options = CanalOptions {
                    tidb_extension: true,
                    zone: zone.clone(),
                };
                Format::CanalJson(CanalJson::new(table, &options))
            }
            StorageFormat::Csv => {
                let csv = Csv::new(table, &settings.csv, zone);
                Format::Csv(csv.map_err(|error| SinkError::Config(error.to_string()))?)
            }
        };
        let names: usize = table.columns.iter().map(|column| column.name.len()).sum();
        let frame = match format {
            Format::CanalJson(_) => 250 + 4 * names + 40 * table.columns.len(),
            Format::Csv(_) => 60 + 8 * table.columns.len(),
        };
        Ok(Self {
            table: Arc::clone(table),
            version,
            format,
            frame,
        })
    }

    /// About how many bytes the rows make.
    pub(super) fn estimate(&self, changes: &[KvChange]) -> usize {
        let payload =
            |change: &KvChange| change.key.len() + 2 * (change.value.len() + change.old_value.len());
        changes.iter().map(|change| self.frame + payload(change)).sum()
    }

    /// What a file begins with.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        if let Format::Csv(csv) = &self.format {
            csv.header(&mut header);
        }
        header
    }

    /// Encodes a chunk: one piece, or more where the date changes.
    pub(super) fn encode(
        &self,
        changes: &[KvChange],
        dates: &mut Dates,
        now_ms: u64,
    ) -> Result<Vec<Piece>, SinkError> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let transaction = (change.commit_ts, change.start_ts);
            let date = dates.of(change.commit_ts);
            let piece = match pieces.last_mut() {
                Some(piece) if piece.date == date => piece,
                _ => {
                    let rest = changes.get(at..).unwrap_or_default();
                    pieces.push(Piece {
                        date: date.to_owned(),
                        bytes: Vec::with_capacity(self.estimate(rest)),
                        first: transaction,
                        second: None,
                        last: transaction,
                    });
                    let Some(piece) = pieces.last_mut() else { continue };
                    piece
                }
            };
            if piece.second.is_none() && piece.first != transaction {
                piece.second = Some((piece.bytes.len(), transaction));
            }
            piece.last = transaction;
            self.row(change, now_ms, &mut piece.bytes)?;
        }
        for piece in &mut pieces {
            piece.bytes.shrink_to_fit();
        }
        Ok(pieces)
    }

    fn row(&self, change: &KvChange, now_ms: u64, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let key = RowKey::new(&change.key);
        let row = RowChange::decode(&self.table, &key, change)?;
        for event in row.events() {
            match &self.format {
                Format::CanalJson(canal) => {
                    canal.row(&event, change.commit_ts, now_ms, out)?;
                    out.extend_from_slice(b"\r\n");
                }
                Format::Csv(csv) => csv.row(&event, change.commit_ts, out)?,
            }
        }
        Ok(())
    }
}

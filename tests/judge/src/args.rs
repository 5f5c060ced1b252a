use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};
use tidemark_judge::source::{BinaryText, CsvFormat, StorageFormat};
use tidemark_judge::{Bank, DeleteImage, OldImage, Placement, ReplayFloor, ReplayUnit, Settings};

/// Holds what a consumer read against the truth.
#[derive(Debug, Parser)]
#[command(version, group(ArgGroup::new("source").required(true).args(["kafka", "storage"])))]
pub(crate) struct Args {
    /// File of truth rows as JSON lines; `.gz` is unpacked.
    #[arg(long)]
    pub(crate) truth: PathBuf,
    /// Kafka brokers, `host:port,...`.
    #[arg(long, requires = "topic_choice")]
    pub(crate) kafka: Option<String>,
    /// Read all topics whose name begins so.
    #[arg(long, group = "topic_choice")]
    pub(crate) topic_prefix: Option<String>,
    /// Read this topic; can be repeated.
    #[arg(long = "topic", group = "topic_choice")]
    pub(crate) topics: Vec<String>,
    /// Setting of librdkafka, `name=value`; can be repeated.
    #[arg(long = "kafka-property", value_parser = pair)]
    pub(crate) kafka_properties: Vec<(String, String)>,
    /// Storage, `file:///folder` or `s3://bucket/prefix`.
    #[arg(long)]
    pub(crate) storage: Option<String>,
    /// Setting of the storage, `name=value`, such as `aws_endpoint=http://...`; can be repeated.
    #[arg(long = "storage-option", value_parser = pair)]
    pub(crate) storage_options: Vec<(String, String)>,
    /// Format of the storage's data files.
    #[arg(long, value_enum, default_value_t = Format::CanalJson)]
    format: Format,
    /// CSV: UPDATEs are a D and an I row, and rows have the is-update cell.
    #[arg(long)]
    csv_old_values: bool,
    /// CSV: files begin with column names.
    #[arg(long)]
    csv_header: bool,
    /// CSV: between cells.
    #[arg(long, default_value = ",")]
    csv_delimiter: String,
    /// CSV: around texts; empty for none.
    #[arg(long, default_value = "\"")]
    csv_quote: String,
    /// CSV: what NULL is.
    #[arg(long, default_value = "\\N")]
    csv_null: String,
    /// CSV: binary values are hex digits, not base64.
    #[arg(long)]
    csv_hex: bool,
    /// Changes at or below this ts are not part of the stream.
    #[arg(long, default_value_t = 0)]
    start_ts: u64,
    /// The watermark to wait for and to reach; the truth's last commit ts if not given.
    #[arg(long)]
    pub(crate) must_reach: Option<u64>,
    /// Read to the end as it is now instead of waiting for the watermark.
    #[arg(long)]
    pub(crate) to_end: bool,
    /// Seconds to wait.
    #[arg(long, default_value_t = 60)]
    pub(crate) deadline: u64,
    /// Key columns of a table, `schema.table=column,column`; found out by the truth if not given; can be repeated.
    #[arg(long = "key", value_parser = key)]
    keys: Vec<((String, String), Vec<String>)>,
    /// A table whose column sums up to the same always, `schema.table.column=sum@from-ts`; can be repeated.
    #[arg(long = "bank", value_parser = bank)]
    banks: Vec<Bank>,
    /// What UPDATEs tell of the row before; CSV tells nothing.
    #[arg(long, value_enum, default_value_t = Old::Full)]
    old_image: Old,
    /// DELETEs show key columns only.
    #[arg(long)]
    delete_keys_only: bool,
    /// Rows of a key may be in several partitions.
    #[arg(long)]
    partitioned_by_ts: bool,
    /// Within what a replay has no gaps.
    #[arg(long, value_enum, default_value_t = Unit::Table)]
    replay_unit: Unit,
    /// Repeats at or below the partition's watermark are wrong too.
    #[arg(long)]
    replay_above_watermark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    CanalJson,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Old {
    Full,
    Changed,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    Partition,
    Table,
    Key,
}

impl Args {
    pub(crate) fn settings(&self, must_reach: u64) -> Settings {
        let is_csv = self.storage.is_some() && self.format == Format::Csv;
        Settings {
            start_ts: self.start_ts,
            must_reach: Some(must_reach),
            keys: self.keys.iter().cloned().collect(),
            old_image: match self.old_image {
                _ if is_csv => OldImage::Absent,
                Old::Full => OldImage::Full,
                Old::Changed => OldImage::Changed,
                Old::Absent => OldImage::Absent,
            },
            delete_image: if self.delete_keys_only {
                DeleteImage::Key
            } else {
                DeleteImage::Full
            },
            placement: match (self.storage.is_some(), self.partitioned_by_ts) {
                (true, _) => Placement::Successive,
                (false, true) => Placement::Anywhere,
                (false, false) => Placement::OnePartition,
            },
            replay_unit: match self.replay_unit {
                Unit::Partition => ReplayUnit::Partition,
                Unit::Table => ReplayUnit::Table,
                Unit::Key => ReplayUnit::Key,
            },
            replay_floor: if self.replay_above_watermark {
                ReplayFloor::Watermark
            } else {
                ReplayFloor::Checkpoint
            },
            banks: self.banks.clone(),
            ..Settings::default()
        }
    }

    pub(crate) fn storage_format(&self) -> StorageFormat {
        match self.format {
            Format::CanalJson => StorageFormat::CanalJson,
            Format::Csv => StorageFormat::Csv(CsvFormat {
                delimiter: self.csv_delimiter.clone(),
                quote: self.csv_quote.chars().next(),
                null: self.csv_null.clone(),
                binary: if self.csv_hex {
                    BinaryText::Hex
                } else {
                    BinaryText::Base64
                },
                output_old_value: self.csv_old_values,
                header: self.csv_header,
                ..CsvFormat::default()
            }),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn key(text: &str) -> Result<((String, String), Vec<String>), String> {
    let (table, columns) = text.split_once('=').ok_or("not schema.table=column,column")?;
    let (schema, table) = table.split_once('.').ok_or("not schema.table=column,column")?;
    let columns = columns.split(',').map(str::to_owned).collect();
    Ok(((schema.to_owned(), table.to_owned()), columns))
}

fn bank(text: &str) -> Result<Bank, String> {
    let parse = || {
        let (name, amount) = text.split_once('=')?;
        let (table, column) = name.rsplit_once('.')?;
        let (schema, table) = table.split_once('.')?;
        let (sum, from) = amount.split_once('@')?;
        Some(Bank {
            schema: schema.to_owned(),
            table: table.to_owned(),
            column: column.to_owned(),
            sum: sum.parse().ok()?,
            from_ts: from.parse().ok()?,
        })
    };
    parse().ok_or_else(|| "not schema.table.column=sum@from-ts".to_owned())
}

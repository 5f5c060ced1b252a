use std::collections::{HashMap, HashSet};
use std::io;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use url::Url;

use super::{CanalMessage, CsvFormat, CsvReader, SchemaFile, Seen, Sighting, SourceError, parse_canal};
use crate::Observation;

/// A folder in TiCDC's storage layout.
#[derive(Clone, Debug)]
pub struct StorageSource {
    /// `file:///folder` or `s3://bucket/prefix`.
    pub url: String,
    /// Settings of the storage as `object_store` names them, such as `aws_endpoint`.
    pub options: Vec<(String, String)>,
    /// The data files' format.
    pub format: StorageFormat,
}

/// The data files' format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageFormat {
    /// One canal-json message a line.
    CanalJson,
    /// CSV with `include-commit-ts`.
    Csv(CsvFormat),
}

/// Reads a storage folder by the rules for its consumers: `metadata` first, then what the `CDC.index` files name, table
/// version by table version. Each poll goes on where the last one ended.
pub struct StorageReader {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    format: StorageFormat,
    /// Files read, by index file.
    progress: HashMap<String, u64>,
    schemas: HashMap<(String, String, u64), SchemaFile>,
    schema_files: HashSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    checkpoint_ts: u64,
}

/// A folder of data files with an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Folder {
    schema: String,
    table: String,
    version: u64,
    /// Partition id, if any.
    partition: Option<u64>,
    date: Option<String>,
    /// Path of the index file, relative to the prefix.
    index: String,
}

impl StorageReader {
    /// A reader that has read nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Url`] or [`SourceError::Storage`] if the URL or options name no storage.
    pub fn new(source: StorageSource) -> Result<Self, SourceError> {
        let url = Url::parse(&source.url).map_err(|error| SourceError::Url {
            url: source.url.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
        let (store, prefix) =
            object_store::parse_url_opts(&url, source.options).map_err(|error| SourceError::Storage {
                path: source.url,
                source: error,
            })?;
        Ok(Self {
            store,
            prefix,
            format: source.format,
            progress: HashMap::new(),
            schemas: HashMap::new(),
            schema_files: HashSet::new(),
        })
    }

    /// Reads what is new, then tells the checkpoint of `metadata`, read before everything else, as a watermark of all
    /// sequences. Gives it too; `None` while there is no `metadata`.
    ///
    /// # Errors
    /// [`SourceError::Storage`] if the storage can't be read.
    pub async fn poll(&mut self, see: &mut dyn FnMut(Sighting)) -> Result<Option<u64>, SourceError> {
        let Some((metadata, _)) = self.get("metadata").await? else {
            return Ok(None);
        };
        let checkpoint = match serde_json::from_slice::<Metadata>(&metadata) {
            Ok(metadata) => metadata.checkpoint_ts,
            Err(error) => {
                see(malformed("metadata", format!("metadata: {error}")));
                return Ok(None);
            }
        };
        let mut folders = Vec::new();
        for path in self.list().await? {
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                [.., "meta", name] if name.starts_with("schema_") && name.ends_with(".json") => {
                    self.schema(&path, name, see).await?;
                }
                [schema, table, version, middle @ .., "meta", name] if name.ends_with(".index") => {
                    let Ok(version) = version.parse() else {
                        see(malformed(
                            "index",
                            format!("{path}: {version:?} is no table version"),
                        ));
                        continue;
                    };
                    let mut folder = Folder {
                        schema: (*schema).to_owned(),
                        table: (*table).to_owned(),
                        version,
                        partition: None,
                        date: None,
                        index: path.clone(),
                    };
                    for part in middle {
                        match part.parse() {
                            Ok(id) if folder.partition.is_none() && !part.contains('-') => {
                                folder.partition = Some(id);
                            }
                            _ => folder.date = Some((*part).to_owned()),
                        }
                    }
                    // Not there yet for a consumer.
                    if version <= checkpoint {
                        folders.push(folder);
                    }
                }
                _ => {}
            }
        }
        folders.sort();
        for folder in &folders {
            self.folder(folder, see).await?;
        }
        see(Sighting {
            partition: "metadata".to_owned(),
            at_ms: None,
            seen: Seen::WatermarkEverywhere(checkpoint),
        });
        Ok(Some(checkpoint))
    }

    async fn schema(
        &mut self,
        path: &str,
        name: &str,
        see: &mut dyn FnMut(Sighting),
    ) -> Result<(), SourceError> {
        if self.schema_files.contains(path) {
            return Ok(());
        }
        let Some((json, _)) = self.get(path).await? else {
            return Ok(());
        };
        self.schema_files.insert(path.to_owned());
        match SchemaFile::parse(name, &json) {
            Ok(file) => {
                if !file.query.is_empty() {
                    see(Sighting {
                        partition: "schema".to_owned(),
                        at_ms: None,
                        seen: Seen::Ddl {
                            schema: file.schema.clone(),
                            table: file.table.clone(),
                            commit_ts: file.table_version,
                            sql: file.query.clone(),
                        },
                    });
                }
                let key = (file.schema.clone(), file.table.clone(), file.table_version);
                self.schemas.insert(key, file);
            }
            Err(what) => see(malformed("schema", format!("{path}: {what}"))),
        }
        Ok(())
    }

    async fn folder(&mut self, folder: &Folder, see: &mut dyn FnMut(Sighting)) -> Result<(), SourceError> {
        let sequence = folder.sequence();
        let Some((newest, _)) = self.get(&folder.index).await? else {
            return Ok(());
        };
        let newest = String::from_utf8_lossy(&newest);
        let Some((stem, digits, extension)) = split_name(newest.trim()) else {
            see(malformed(
                &sequence,
                format!("{}: names {newest:?}, no data file", folder.index),
            ));
            return Ok(());
        };
        let last: u64 = digits.parse().unwrap_or_default();
        let read = self.progress.get(&folder.index).copied().unwrap_or_default();
        if last < read {
            see(malformed(
                &sequence,
                format!("{}: falls from {read} to {last}", folder.index),
            ));
            return Ok(());
        }
        let dir = folder.index.rsplit_once("/meta/").map_or("", |(dir, _)| dir);
        for number in read + 1..=last {
            let path = format!("{dir}/{stem}{number:0width$}.{extension}", width = digits.len());
            let Some((bytes, at_ms)) = self.get(&path).await? else {
                see(malformed(
                    &sequence,
                    format!("{path} is missing, though {} names {last}", folder.index),
                ));
                continue;
            };
            self.data(folder, &path, &bytes, at_ms, see);
        }
        self.progress.insert(folder.index.clone(), last);
        Ok(())
    }

    fn data(&self, folder: &Folder, path: &str, bytes: &[u8], at_ms: u64, see: &mut dyn FnMut(Sighting)) {
        let sequence = folder.sequence();
        let Ok(text) = std::str::from_utf8(bytes) else {
            see(malformed(&sequence, format!("{path} is no UTF-8")));
            return;
        };
        let key = (folder.schema.clone(), folder.table.clone(), folder.version);
        let Some(schema) = self.schemas.get(&key) else {
            see(malformed(
                &sequence,
                format!("{path}: its table version has no schema file"),
            ));
            return;
        };
        let mut tell = |row: Result<Option<Observation>, String>| {
            let seen = match row {
                Ok(None) => return,
                Ok(Some(observation)) => Seen::Observation(observation),
                Err(what) => Seen::Malformed(format!("{path}: {what}")),
            };
            see(Sighting {
                partition: sequence.clone(),
                at_ms: Some(at_ms),
                seen,
            });
        };
        match &self.format {
            StorageFormat::CanalJson => {
                if !text.is_empty() && !text.ends_with('\n') {
                    tell(Err("the last line is not terminated".to_owned()));
                }
                for line in text.lines() {
                    tell(match parse_canal(line.as_bytes()) {
                        Ok(CanalMessage::Row(row))
                            if row.schema != schema.schema || row.table != schema.table =>
                        {
                            Err(format!("a row of {}.{}", row.schema, row.table))
                        }
                        Ok(CanalMessage::Row(row)) => Ok(Some(Observation::Row(row))),
                        Ok(CanalMessage::Ddl { .. }) => Err("a DDL among rows".to_owned()),
                        Ok(CanalMessage::Watermark(_)) => Err("a watermark among rows".to_owned()),
                        Err(what) => Err(what),
                    });
                }
            }
            StorageFormat::Csv(format) => {
                let mut reader = CsvReader::new(format, text);
                if format.header
                    && let Err(what) = reader.cells()
                {
                    tell(Err(what));
                    return;
                }
                loop {
                    match reader.row(schema) {
                        Ok(None) => break,
                        Ok(Some(row)) => tell(Ok(Some(Observation::Row(row)))),
                        // What follows can't be told apart any more.
                        Err(what) => {
                            tell(Err(what));
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn list(&self) -> Result<Vec<String>, SourceError> {
        let found: Vec<object_store::ObjectMeta> = self
            .store
            .list(Some(&self.prefix))
            .try_collect()
            .await
            .map_err(|source| SourceError::Storage {
                path: self.prefix.to_string(),
                source,
            })?;
        let mut paths: Vec<String> = found
            .iter()
            .filter_map(|object| {
                let parts: Vec<_> = object.location.prefix_match(&self.prefix)?.collect();
                Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
            })
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// An object's bytes and time of writing in milliseconds; `None` if there is none.
    async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, u64)>, SourceError> {
        let failed = |source| SourceError::Storage {
            path: path.to_owned(),
            source,
        };
        let location = path
            .split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part));
        let result = match self.store.get(&location).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let at_ms = u64::try_from(result.meta.last_modified.timestamp_millis()).unwrap_or_default();
        let bytes = result.bytes().await.map_err(failed)?;
        Ok(Some((bytes.to_vec(), at_ms)))
    }
}

impl Folder {
    /// Dates go on within a sequence; table versions and partitions are sequences of their own.
    fn sequence(&self) -> String {
        let name = format!("{}/{}/{}", self.schema, self.table, self.version);
        match self.partition {
            Some(partition) => format!("{name}/{partition}"),
            None => name,
        }
    }
}

fn malformed(sequence: &str, what: String) -> Sighting {
    Sighting {
        partition: sequence.to_owned(),
        at_ms: None,
        seen: Seen::Malformed(what),
    }
}

/// `CDC000001.json` in `CDC`, `000001` and `json`.
fn split_name(name: &str) -> Option<(&str, &str, &str)> {
    let (base, extension) = name.rsplit_once('.')?;
    let stem = base.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &base[stem.len()..];
    (stem.starts_with("CDC") && !digits.is_empty()).then_some((stem, digits, extension))
}

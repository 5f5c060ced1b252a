use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tidemark_harness::{Folder, Kafka, S3Server};
use tidemark_judge::source::{
    CsvFormat, KafkaReader, KafkaSource, Seen as What, Sighting, SourceError, StorageFormat, StorageReader,
    StorageSource, Topics, Until,
};
use tidemark_judge::{Judge, Observation, OldImage, Placement, Settings};

use crate::{Feed, Progress};

/// Where a feed writes to, and the consumer that reads it.
pub struct Destination {
    target: Target,
    /// All that was read, and the checkpoints that the feed claimed, in the order they came.
    seen: Vec<Seen>,
    progress: Arc<Progress>,
}

enum Target {
    Kafka {
        brokers: String,
        prefix: String,
        reader: Option<Box<KafkaReader>>,
        _server: Option<Kafka>,
    },
    Files {
        url: String,
        format: &'static str,
        reader: Box<StorageReader>,
        extra: serde_json::Value,
        secret: Option<(String, String)>,
        _keep: Keep,
    },
}

/// What has to live as long as the files are read: a folder or a server.
type Keep = Box<dyn std::any::Any + Send>;

enum Seen {
    Sighting(Sighting),
    Checkpoint(u64),
}

/// A table's rows and DDLs in one partition.
#[derive(Default)]
struct TableStream {
    /// Commit ts of rows.
    rows: BTreeSet<u64>,
    highest: u64,
    /// The highest ts of a DDL.
    passed: u64,
}

/// How long a consumer waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(180);

impl Destination {
    /// Topics of a Kafka server whose names begin with `prefix`.
    pub fn kafka(server: Kafka, prefix: &str) -> Result<Self> {
        let brokers = server.bootstrap();
        let mut destination = Self::kafka_at(&brokers, prefix)?;
        if let Target::Kafka { _server, .. } = &mut destination.target {
            *_server = Some(server);
        }
        Ok(destination)
    }

    /// Topics of a Kafka server that someone else keeps.
    pub fn kafka_at(brokers: &str, prefix: &str) -> Result<Self> {
        let source = KafkaSource {
            brokers: brokers.to_owned(),
            topics: Topics::Prefix(format!("{prefix}.")),
            properties: Vec::new(),
        };
        let reader = Some(Box::new(KafkaReader::new(source)?));
        let target = Target::Kafka {
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
            reader,
            _server: None,
        };
        Ok(Self {
            target,
            seen: Vec::new(),
            progress: Arc::default(),
        })
    }

    /// A folder; `format` is `csv` or `canal-json`.
    pub fn folder(format: &'static str) -> Result<Self> {
        let folder = Folder::new("sink")?;
        let url = format!("file://{}", folder.path().display());
        Self::files(url, format, Vec::new(), json!({}), None, Box::new(folder))
    }

    /// A prefix of an S3 server's bucket; `format` is `csv` or `canal-json`.
    pub fn s3(server: S3Server, prefix: &str, format: &'static str) -> Result<Self> {
        let mut destination = Self::s3_at(&server, prefix, format)?;
        if let Target::Files { _keep, .. } = &mut destination.target {
            *_keep = Box::new(server);
        }
        Ok(destination)
    }

    /// A prefix of the bucket of an S3 server that someone else keeps.
    pub fn s3_at(server: &S3Server, prefix: &str, format: &'static str) -> Result<Self> {
        let url = format!("s3://{}/{prefix}", server.bucket());
        let options = [
            ("aws_endpoint", server.endpoint()),
            ("aws_region", server.region()),
            ("aws_access_key_id", server.access_key()),
            ("aws_secret_access_key", server.secret_key()),
            ("aws_allow_http", "true"),
        ];
        let options = options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let extra = json!({"endpoint": server.endpoint(), "region": server.region(), "secretName": "s3"});
        let secret = Some((server.access_key().to_owned(), server.secret_key().to_owned()));
        Self::files(url, format, options, extra, secret, Box::new(()))
    }

    fn files(
        url: String,
        format: &'static str,
        options: Vec<(String, String)>,
        extra: serde_json::Value,
        secret: Option<(String, String)>,
        keep: Keep,
    ) -> Result<Self> {
        let parsed = match format {
            "csv" => StorageFormat::Csv(CsvFormat::default()),
            "canal-json" => StorageFormat::CanalJson,
            other => bail!("unknown format {other}"),
        };
        let source = StorageSource {
            url: url.clone(),
            options,
            format: parsed,
        };
        let reader = Box::new(StorageReader::new(source)?);
        let target = Target::Files {
            url,
            format,
            reader,
            extra,
            secret,
            _keep: keep,
        };
        Ok(Self {
            target,
            seen: Vec::new(),
            progress: Arc::default(),
        })
    }

    /// The feed that writes here.
    pub fn feed(&self, pd: Vec<String>) -> Feed {
        match &self.target {
            Target::Kafka { brokers, prefix, .. } => Feed::to_kafka(pd, brokers, prefix),
            Target::Files {
                url, format, extra, ..
            } => {
                let mut feed = Feed::to_storage(pd, url, format);
                if let (Some(storage), Some(extra)) =
                    (feed.sink["storage"].as_object_mut(), extra.as_object())
                {
                    storage.extend(extra.clone());
                }
                feed
            }
        }
    }

    /// Secrets that the feed names, as (Secret, key, value).
    pub fn secrets(&self) -> Vec<(&'static str, &'static str, String)> {
        match &self.target {
            Target::Files {
                secret: Some((id, key)),
                ..
            } => {
                vec![
                    ("s3", "access-key-id", id.clone()),
                    ("s3", "secret-access-key", key.clone()),
                ]
            }
            _ => Vec::new(),
        }
    }

    /// How far the consumer is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Reads what is there now.
    pub async fn read_on(&mut self) -> Result<()> {
        self.read(None).await
    }

    /// Reads until everything at or below `ts` is said to be there.
    pub async fn read_until(&mut self, ts: u64) -> Result<()> {
        self.read(Some(ts)).await
    }

    /// Reads what comes within this time.
    pub async fn read_for(&mut self, time: Duration) -> Result<()> {
        if let Target::Files { .. } = self.target {
            self.read(None).await?;
            tokio::time::sleep(time).await;
            return Ok(());
        }
        Ok(self.read_kafka(Until::Deadline, time).await??)
    }

    async fn read(&mut self, until: Option<u64>) -> Result<()> {
        let (seen, progress) = (&mut self.seen, &self.progress);
        match &mut self.target {
            Target::Kafka { .. } => {
                let aim = until.map_or(Until::End, Until::Watermark);
                Ok(self.read_kafka(aim, PATIENCE).await??)
            }
            Target::Files { reader, .. } => {
                let deadline = tokio::time::Instant::now() + PATIENCE;
                loop {
                    let mut see = |sighting| {
                        progress.note(&sighting);
                        seen.push(Seen::Sighting(sighting));
                    };
                    let checkpoint = reader.poll(&mut see).await?;
                    if until.is_none_or(|ts| checkpoint.is_some_and(|checkpoint| checkpoint >= ts)) {
                        return Ok(());
                    }
                    if tokio::time::Instant::now() > deadline {
                        bail!("the checkpoint {checkpoint:?} of the files does not reach {until:?}");
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn read_kafka(&mut self, until: Until, patience: Duration) -> Result<Result<(), SourceError>> {
        let Target::Kafka { reader, .. } = &mut self.target else {
            bail!("no topics");
        };
        let mut moved = reader.take().context("the reader is in use")?;
        let progress = Arc::clone(&self.progress);
        let (moved, sightings, read) = tokio::task::spawn_blocking(move || {
            let mut sightings = Vec::new();
            let read = moved.read(until, patience, &mut |sighting| {
                progress.note(&sighting);
                sightings.push(Seen::Sighting(sighting));
            });
            (moved, sightings, read)
        })
        .await?;
        *reader = Some(moved);
        self.seen.extend(sightings);
        Ok(read)
    }

    /// Notes a checkpoint that the feed claims: what was read until now has to hold all at or below it.
    pub fn checkpoint(&mut self, ts: u64) {
        self.seen.push(Seen::Checkpoint(ts));
    }

    /// The DDLs that were read, each once, in the order of their ts.
    ///
    /// # Errors
    /// If one stands in a partition of its table's topic before a row that it had to follow, or behind one that it had to come
    /// before.
    pub fn ddls(&self) -> Result<BTreeMap<u64, String>> {
        let mut ddls = BTreeMap::new();
        let mut streams: HashMap<[&str; 3], TableStream> = HashMap::new();
        for seen in &self.seen {
            let Seen::Sighting(sighting) = seen else { continue };
            match &sighting.seen {
                What::Ddl {
                    schema,
                    table,
                    commit_ts,
                    sql,
                } => {
                    let stream = streams.entry([&sighting.partition, schema, table]).or_default();
                    let known = ddls.insert(*commit_ts, sql.clone()).is_some();
                    ensure!(
                        known || stream.highest < *commit_ts,
                        "{sql} at {commit_ts} comes behind a row of {}",
                        stream.highest
                    );
                    stream.passed = stream.passed.max(*commit_ts);
                }
                What::Observation(Observation::Row(row)) => {
                    let stream = streams
                        .entry([&sighting.partition, &row.schema, &row.table])
                        .or_default();
                    ensure!(
                        !stream.rows.insert(row.commit_ts) || row.commit_ts > stream.passed,
                        "a new row of {} comes behind the DDL at {}",
                        row.commit_ts,
                        stream.passed
                    );
                    stream.highest = row.commit_ts.max(stream.highest);
                }
                _ => {}
            }
        }
        Ok(ddls)
    }

    /// Takes out all that was read from partitions whose names begin so, to be judged apart.
    pub fn take_out(&mut self, prefix: &str) -> Vec<Sighting> {
        let mut taken = Vec::new();
        self.seen = std::mem::take(&mut self.seen)
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::Sighting(sighting) if sighting.partition.starts_with(prefix) => {
                    taken.push(sighting);
                    None
                }
                seen => Some(seen),
            })
            .collect();
        taken
    }

    /// Adapts the judge's settings to what the format can tell.
    pub fn adapt(&self, settings: &mut Settings) {
        if let Target::Files { format, .. } = &self.target {
            settings.placement = Placement::Successive;
            if *format == "csv" {
                settings.old_image = OldImage::Absent;
            }
        }
    }

    /// Shows the judge all that was read.
    pub fn show(self, judge: &mut Judge) {
        for seen in self.seen {
            match seen {
                Seen::Sighting(sighting) => judge.take(sighting),
                Seen::Checkpoint(ts) => judge.observe_checkpoint(ts),
            }
        }
    }
}

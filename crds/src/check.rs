use std::fmt;

use crate::spec::{ChangefeedSpec, SourceFormat};
use crate::{CsvOptions, KafkaSink, SinkSpec, StorageFormat, StorageSink, TableRules};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as a path below the document: `spec.sink.kafka.topic`.
    pub field: String,
    /// What is wrong with its value and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All that is wrong with a spec and can be told without reaching a server.
pub fn check(spec: &ChangefeedSpec) -> Vec<Problem> {
    let mut problems = Problems::default();
    source(spec, &mut problems);
    start(spec, &mut problems);
    sink(&spec.sink, &mut problems);
    limits(spec, &mut problems);
    problems.0
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            field: field.into(),
            message: message.into(),
        });
    }

    fn require(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(field, message());
        }
    }
}

fn source(spec: &ChangefeedSpec, problems: &mut Problems) {
    let source = &spec.source;
    problems.require(!source.pd.is_empty(), "spec.source.pd", || {
        "names no PD: give at least one url like \"http://pd:2379\"".into()
    });
    for (index, text) in source.pd.iter().enumerate() {
        let field = format!("spec.source.pd[{index}]");
        let scheme = if source.tls.is_some() { "https" } else { "http" };
        match url::Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
                problems.add(
                    field,
                    format!("{text:?} is no http url: write it like \"{scheme}://pd:2379\""),
                );
            }
            Ok(url) if url.scheme() != scheme => problems.add(
                field,
                format!("{text:?} doesn't fit spec.source.tls: it must begin with \"{scheme}://\""),
            ),
            Ok(_) => {}
            Err(error) => {
                problems.add(
                    field,
                    format!("{text:?} is no url ({error}): write it like \"{scheme}://pd:2379\""),
                );
            }
        }
    }
    if let Some(id) = &source.cluster_id {
        problems.require(id.parse::<u64>().is_ok(), "spec.source.clusterId", || {
            format!("{id:?} is no cluster id: it is a decimal number in quotes")
        });
    }
    match source.format {
        SourceFormat::Tidb => {
            problems.require(spec.key_ranges.is_empty(), "spec.keyRanges", || {
                "is for spec.source.format \"kv\" only: choose tables with spec.tables".into()
            });
            for (index, rule) in spec.tables.iter().enumerate() {
                if let Err(error) = TableRules::parse(&[rule]) {
                    problems.add(format!("spec.tables[{index}]"), error.to_string());
                }
            }
        }
        SourceFormat::Kv => key_ranges(spec, problems),
    }
}

fn key_ranges(spec: &ChangefeedSpec, problems: &mut Problems) {
    problems.require(spec.tables.is_empty(), "spec.tables", || {
        "is for spec.source.format \"tidb\" only: choose keys with spec.keyRanges".into()
    });
    problems.require(!spec.key_ranges.is_empty(), "spec.keyRanges", || {
        "is empty: give at least one range of keys".into()
    });
    let mut known = Vec::new();
    for (index, range) in spec.key_ranges.iter().enumerate() {
        let field = format!("spec.keyRanges[{index}]");
        match range.bounds() {
            Err(message) => problems.add(field, message),
            Ok(bounds) => known.push((bounds, field)),
        }
    }
    known.sort();
    for pair in known.windows(2) {
        if let [((_, end), first), ((start, _), second)] = pair
            && (end.is_empty() || start < end)
        {
            problems.add(second, format!("overlaps {first}: ranges must be apart"));
        }
    }
}

fn start(spec: &ChangefeedSpec, problems: &mut Problems) {
    let start = &spec.start;
    let set = [start.at.is_some(), start.ts.is_some(), start.time.is_some()];
    problems.require(set.iter().filter(|set| **set).count() <= 1, "spec.start", || {
        "has more than one of at, ts and time: keep one".into()
    });
    if let Some(ts) = &start.ts {
        problems.require(ts.parse::<u64>().is_ok_and(|ts| ts > 0), "spec.start.ts", || {
            format!("{ts:?} is no timestamp: it is a TSO as a decimal number in quotes")
        });
    }
    if let Some(time) = &start.time {
        problems.require(time.parse::<jiff::Timestamp>().is_ok(), "spec.start.time", || {
            format!("{time:?} is no time: write it like \"2026-01-31T12:00:00Z\"")
        });
    }
}

fn sink(sink: &SinkSpec, problems: &mut Problems) {
    let set = [
        ("kafka", sink.kafka.is_some()),
        ("storage", sink.storage.is_some()),
        ("blackhole", sink.blackhole.is_some()),
    ];
    let named: Vec<_> = set
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match named.as_slice() {
        [_] => {}
        [] => problems.add(
            "spec.sink",
            "names no sink: set one of kafka, storage and blackhole",
        ),
        many => problems.add(
            "spec.sink",
            format!("names {} sinks ({}): keep one", many.len(), many.join(", ")),
        ),
    }
    if let Some(kafka) = &sink.kafka {
        check_kafka(kafka, problems);
    }
    if let Some(storage) = &sink.storage {
        check_storage(storage, problems);
    }
}

fn check_kafka(kafka: &KafkaSink, problems: &mut Problems) {
    problems.require(!kafka.brokers.is_empty(), "spec.sink.kafka.brokers", || {
        "is empty: give at least one \"host:port\"".into()
    });
    for (index, broker) in kafka.brokers.iter().enumerate() {
        let fits = broker.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains("//") && port.parse::<u16>().is_ok()
        });
        problems.require(fits, &format!("spec.sink.kafka.brokers[{index}]"), || {
            format!("{broker:?} is no broker address: write it as \"host:port\"")
        });
    }
    let literal = kafka.topic.replace("{schema}", "").replace("{table}", "");
    let legal = literal
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    problems.require(!kafka.topic.is_empty() && legal, "spec.sink.kafka.topic", || {
        format!(
            "{:?} is no topic: use letters, digits, \".\", \"_\", \"-\", \"{{schema}}\" and \"{{table}}\"",
            kafka.topic
        )
    });
    problems.require(kafka.partitions != Some(0), "spec.sink.kafka.partitions", || {
        "is 0: leave it out, or give 1 or more".into()
    });
    problems.require(
        kafka.replication_factor > 0,
        "spec.sink.kafka.replicationFactor",
        || "is 0: give 1 or more".into(),
    );
    problems.require(
        kafka.max_message_bytes.0 >= 1024,
        "spec.sink.kafka.maxMessageBytes",
        || "is below 1Ki: no row would fit".into(),
    );
}

fn check_storage(storage: &StorageSink, problems: &mut Problems) {
    const URL: &str = "spec.sink.storage.url";
    match url::Url::parse(&storage.url) {
        Err(error) => problems.add(
            URL,
            format!(
                "{:?} is no url ({error}): write \"s3://bucket/prefix\" or \"file:///folder\"",
                storage.url
            ),
        ),
        Ok(url) => match url.scheme() {
            "s3" => problems.require(
                url.host_str().is_some_and(|bucket| !bucket.is_empty()),
                URL,
                || format!("{:?} names no bucket: write \"s3://bucket/prefix\"", storage.url),
            ),
            "file" => problems.require(url.path().len() > 1 && url.host_str().is_none(), URL, || {
                format!("{:?} names no folder: write \"file:///folder\"", storage.url)
            }),
            other => problems.add(
                URL,
                format!("{other:?} is no kind of storage: use \"s3://\" or \"file://\""),
            ),
        },
    }
    problems.require(
        (6..=20).contains(&storage.file_index_digits),
        "spec.sink.storage.fileIndexDigits",
        || format!("is {}: give 6 to 20", storage.file_index_digits),
    );
    problems.require(
        storage.flush_interval.0.as_millis() >= 50,
        "spec.sink.storage.flushInterval",
        || "is below 50ms: that would make countless files".into(),
    );
    problems.require(storage.file_size.0 >= 1024, "spec.sink.storage.fileSize", || {
        "is below 1Ki: that would make countless files".into()
    });
    if storage.format == StorageFormat::Csv {
        check_csv(&storage.csv, problems);
    } else if storage.csv != CsvOptions::default() {
        problems.add(
            "spec.sink.storage.csv",
            "is set, but spec.sink.storage.format is not \"csv\"",
        );
    }
}

fn check_csv(csv: &CsvOptions, problems: &mut Problems) {
    let length = csv.delimiter.chars().count();
    let clean = !csv.delimiter.contains(['\r', '\n']);
    problems.require(
        (1..=3).contains(&length) && clean,
        "spec.sink.storage.csv.delimiter",
        || format!("{:?}: give 1 to 3 characters, no line breaks", csv.delimiter),
    );
    problems.require(
        csv.quote.chars().count() <= 1,
        "spec.sink.storage.csv.quote",
        || format!("{:?}: give one character or none", csv.quote),
    );
    problems.require(
        csv.quote.is_empty() || !csv.delimiter.contains(csv.quote.as_str()),
        "spec.sink.storage.csv.quote",
        || format!("{:?} is part of the delimiter: choose another", csv.quote),
    );
}

fn limits(spec: &ChangefeedSpec, problems: &mut Problems) {
    problems.require(spec.limits.memory.0 >= 32 << 20, "spec.limits.memory", || {
        "is below 32Mi: give more, or the stream crawls".into()
    });
    problems.require(spec.limits.disk.0 >= 64 << 20, "spec.limits.disk", || {
        "is below 64Mi: a backlog could not wait there".into()
    });
    problems.require(spec.limits.gc_ttl.0.as_secs() >= 60, "spec.limits.gcTtl", || {
        "is below 1m: history could be lost while the worker restarts".into()
    });
    problems.require(
        (1..=1000).contains(&spec.limits.scans_per_store),
        "spec.limits.scansPerStore",
        || format!("is {}: give 1 to 1000", spec.limits.scans_per_store),
    );
    problems.require(
        (1..=100).contains(&spec.workers.replicas),
        "spec.workers.replicas",
        || {
            format!(
                "is {}: give 1 to 100, or pause the feed with spec.state",
                spec.workers.replicas
            )
        },
    );
}

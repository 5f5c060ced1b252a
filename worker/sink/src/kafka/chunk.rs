use tidemark_model::KvChange;
use tidemark_tidb::{RowKey, Value};

use super::route::Route;
use crate::SinkError;
use crate::encode::{RowChange, RowEvent};

/// What Kafka and TiCDC count for a message besides key and value: five varints of up to five bytes, one of ten, and a byte.
pub(super) const MESSAGE_OVERHEAD: usize = 36;

/// Header of a record batch, which a broker counts for the topic's limit too.
pub(super) const BATCH_OVERHEAD: usize = 61;

/// What librdkafka keeps for a message besides its bytes, about.
const QUEUE_OVERHEAD: usize = 256;

/// Encoded messages, one after the other in one buffer, each with its partition.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// The end of each message in `bytes`, and its partition.
    ends: Vec<(usize, i32)>,
}

impl Messages {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory that librdkafka will take for them.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.ends.len() * QUEUE_OVERHEAD
    }

    /// The buffer to append a message to; [`Messages::end`] ends it.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn end(&mut self, partition: i32) {
        self.ends.push((self.bytes.len(), partition));
    }

    /// The messages from the `from`th on: partition and value.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = (i32, &[u8])> {
        let mut start = match from.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(&(end, _)) => end,
            None => 0,
        };
        self.ends.iter().skip(from).map(move |&(end, partition)| {
            let value = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            (partition, value)
        })
    }
}

/// Appends the messages of the changes. On an error, `out` holds those of the changes before.
pub(super) fn encode(
    route: &Route,
    changes: &[KvChange],
    now_ms: u64,
    text: &mut Vec<u8>,
    out: &mut Messages,
) -> Result<(), SinkError> {
    for change in changes {
        let key = RowKey::new(&change.key);
        let row = RowChange::decode(&route.table, &key, change)?;
        let (ends, begun) = (out.ends.len(), out.bytes.len());
        for event in row.events() {
            let one = message(route, &event, change, now_ms, text, out);
            if let Err(error) = one {
                out.ends.truncate(ends);
                out.bytes.truncate(begun);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn message(
    route: &Route,
    event: &RowEvent<'_>,
    change: &KvChange,
    now_ms: u64,
    text: &mut Vec<u8>,
    out: &mut Messages,
) -> Result<(), SinkError> {
    let begun = out.bytes.len();
    route
        .encoder
        .row(event, change.commit_ts, now_ms, &mut out.bytes)?;
    let size = out.bytes.len() - begun;
    if size > route.topic.largest {
        return Err(too_large(route, event, change, size));
    }
    let partition = route
        .partitioner
        .of(&route.table, event, change.commit_ts, &route.zone, text)
        .map_err(|problem| {
            let (schema, name) = (&route.table.schema, &route.table.name);
            SinkError::Row(format!(
                "table {schema}.{name}, key {}: {problem}",
                hex(&change.key)
            ))
        })?;
    out.end(partition);
    Ok(())
}

fn too_large(route: &Route, event: &RowEvent<'_>, change: &KvChange, size: usize) -> SinkError {
    let (schema, name) = (&route.table.schema, &route.table.name);
    SinkError::Row(format!(
        "table {schema}.{name}: the row {} makes a message of {size} bytes, {}",
        key_text(route, event, change),
        route.topic.limit_text(),
    ))
}

/// `(id=5, name=x)`, or the key in hex where the table has no key columns.
fn key_text(route: &Route, event: &RowEvent<'_>, change: &KvChange) -> String {
    let table = &route.table;
    let mut parts = Vec::new();
    for &at in &table.handle_key {
        let (Some(&value), Some(column)) = (event.row().get(at), table.columns.get(at)) else {
            continue;
        };
        let mut text = Vec::new();
        let printed = match value {
            Value::Null => "NULL".into(),
            _ => match value.write_text(column, &route.zone, &mut text) {
                Ok(()) => String::from_utf8_lossy(&text).chars().take(100).collect(),
                Err(_) => "?".to_owned(),
            },
        };
        parts.push(format!("{}={printed}", column.name));
    }
    if parts.is_empty() {
        format!("with key {}", hex(&change.key))
    } else {
        format!("({})", parts.join(", "))
    }
}

fn hex(key: &[u8]) -> String {
    key.iter().take(100).map(|byte| format!("{byte:02x}")).collect()
}

//! The revision of a feed: a short hash of everything whose change needs new worker processes.

use serde::Serialize;
use serde_json::Value;
use tidemark_crds::{ChangefeedSpec, KeyRange, Limits, SinkSpec, Source, Start};

/// What a worker's process depends on. Replicas, state and the pod template are left out: they change what runs around it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relevant<'a> {
    source: &'a Source,
    start: &'a Start,
    tables: &'a [String],
    key_ranges: &'a [KeyRange],
    time_zone: &'a str,
    sink: &'a SinkSpec,
    limits: &'a Limits,
}

/// The revision of a spec: ten hexadecimal digits that depend on its values only, not on the order of fields.
pub fn revision(spec: &ChangefeedSpec) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(Relevant {
        source: &spec.source,
        start: &spec.start,
        tables: &spec.tables,
        key_ranges: &spec.key_ranges,
        time_zone: &spec.time_zone,
        sink: &spec.sink,
        limits: &spec.limits,
    })?;
    let mut text = String::new();
    canonical(&value, &mut text);
    let digits = format!("{:016x}", fnv1a(text.as_bytes()));
    Ok(digits.chars().take(10).collect())
}

/// JSON with sorted keys: the order in which serde_json keeps them depends on its features.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// FNV-1a: not for secrets, but the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use tidemark_crds::State;

    use super::*;
    use crate::fixture::feed;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_revision_stays_as_it_is_over_versions() {
        // If this changes, an upgrade of the operator restarts every worker of every feed.
        assert_eq!(revision(&feed("shop").spec).unwrap(), "fc3cdfbf6c");
    }

    #[test]
    fn only_what_the_stream_depends_on_counts() {
        let feed = feed("shop");
        let base = revision(&feed.spec).unwrap();
        let mut around = feed.spec.clone();
        around.state = State::Paused;
        around.workers.replicas = 7;
        around.workers.image = Some("other".into());
        assert_eq!(revision(&around).unwrap(), base);
        let mut other = feed.spec.clone();
        other.tables.push("!shop.log".into());
        assert_ne!(revision(&other).unwrap(), base);
        let mut other = feed.spec;
        other.limits.scans_per_store += 1;
        assert_ne!(revision(&other).unwrap(), base);
    }
}

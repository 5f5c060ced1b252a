//! Fields that no `Changefeed` has, in files that people write.
//!
//! The types themselves pass over what they don't know: under a newer definition the API server shows fields with their
//! defaults, and an older operator or worker has to go on.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::spec::Changefeed;

/// The first unknown field of a document: its path, and what could stand there.
pub(crate) fn unknown_field(document: &Value) -> Option<(String, Vec<String>)> {
    let definition = Changefeed::crd();
    let version = definition.spec.versions.first()?;
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    let schema = serde_json::to_value(schema).ok()?;
    let spec = document.get("spec")?;
    find(spec, schema.get("properties")?.get("spec")?, "spec")
}

fn find(value: &Value, schema: &Value, path: &str) -> Option<(String, Vec<String>)> {
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties")?.as_object()?;
            fields.iter().find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(schema) => find(value, schema, &path),
                    None => Some((path, known.keys().cloned().collect())),
                }
            })
        }
        Value::Array(items) => {
            let schema = schema.get("items")?;
            items
                .iter()
                .enumerate()
                .find_map(|(index, value)| find(value, schema, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_looked_for_at_every_depth() {
        let document = json!({"spec": {"sink": {"kafka": {"brokers": [], "topik": 1}}}});
        let (path, expected) = unknown_field(&document).unwrap();
        assert_eq!(path, "spec.sink.kafka.topik");
        assert!(expected.contains(&"topic".to_owned()), "{expected:?}");
        let document = json!({"spec": {"keyRanges": [{"start": ""}, {"begin": ""}]}});
        assert_eq!(unknown_field(&document).unwrap().0, "spec.keyRanges[1].begin");
    }

    #[test]
    fn free_objects_hold_anything() {
        let document = json!({
            "anything": 1,
            "spec": {"workers": {"resources": {"limits": {"cpu": 1}}, "podTemplate": {"metadata": {"labels": {"a": "b"}}}}},
        });
        assert_eq!(unknown_field(&document), None);
    }
}

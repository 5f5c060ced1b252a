//! Strategic merge: one document laid over another.

use serde_json::{Map, Value};

/// Lays `over` on `base`: objects field by field, lists of named items item by item, everything else replaced. A null
/// removes a field.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_fields(base, over),
        (Value::Array(base), Value::Array(over)) if is_keyed(base) && is_keyed(&over) => {
            merge_items(base, over);
        }
        (base, over) => *base = over,
    }
}

fn merge_fields(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        if value.is_null() {
            base.remove(&key);
        } else {
            merge(base.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn merge_items(base: &mut Vec<Value>, over: Vec<Value>) {
    for item in over {
        let same = base.iter_mut().find(|have| key(have) == key(&item));
        match same {
            Some(have) => merge(have, item),
            None => base.push(item),
        }
    }
}

/// What tells an item from the others of its list. Mounts have a name too, but one volume may be mounted twice.
pub(super) fn key(item: &Value) -> Option<&str> {
    item.get("mountPath").or_else(|| item.get("name"))?.as_str()
}

fn is_keyed(items: &[Value]) -> bool {
    items.iter().all(|item| key(item).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut base: Value, over: Value) -> Value {
        merge(&mut base, over);
        base
    }

    #[test]
    fn objects_are_merged_and_nulls_remove() {
        assert_eq!(
            merged(
                json!({"a": 1, "b": {"c": 2, "d": 3}}),
                json!({"b": {"c": null, "e": 4}, "f": 5})
            ),
            json!({"a": 1, "b": {"d": 3, "e": 4}, "f": 5})
        );
        assert_eq!(merged(json!({}), json!({"a": {"b": 1}})), json!({"a": {"b": 1}}));
    }

    #[test]
    fn lists_of_named_items_are_merged_by_name() {
        assert_eq!(
            merged(
                json!([{"name": "a", "value": 1}, {"name": "b"}]),
                json!([{"name": "a", "image": "x"}, {"name": "c"}])
            ),
            json!([{"name": "a", "value": 1, "image": "x"}, {"name": "b"}, {"name": "c"}])
        );
    }

    #[test]
    fn mounts_are_told_apart_by_their_path() {
        assert_eq!(
            merged(
                json!([{"name": "state", "mountPath": "/a"}]),
                json!([{"name": "state", "mountPath": "/b"}])
            ),
            json!([{"name": "state", "mountPath": "/a"}, {"name": "state", "mountPath": "/b"}])
        );
    }

    #[test]
    fn other_lists_are_replaced() {
        assert_eq!(merged(json!({"l": [1, 2]}), json!({"l": [3]})), json!({"l": [3]}));
        assert_eq!(
            merged(json!([{"name": "a"}]), json!([{"key": "b"}])),
            json!([{"key": "b"}])
        );
    }
}

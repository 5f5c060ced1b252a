//! Whether Changefeeds are served as this operator knows them.
//!
//! Asked of what the API server publishes to everyone, since the operator may not read definitions: discovery lists only
//! what is established, and OpenAPI tells the schema by which objects are checked and pruned.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use kube::api::GetParams;
use kube::{Client, Resource};
use serde_json::{Map, Value};
use tidemark_crds::Changefeed;

use super::{Finding, PAUSE, WINDOW, brief, few};
use crate::Error;
use crate::deadline::bounded;

/// Fields of a schema that change nothing but what people read.
const PROSE: [&str; 2] = ["description", "title"];
/// Fields of the whole object's schema that the API server adds.
const ADDED: [&str; 2] = [
    "x-kubernetes-group-version-kind",
    "x-kubernetes-selectable-fields",
];
/// Properties of every object.
const OF_ANY: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Looks until the definition is as it shall be, or for as long as a new one takes to be served.
pub(super) async fn look(client: &Client) -> Finding {
    let ours = schema()?;
    let begun = Instant::now();
    loop {
        let finding = compare(client, &ours).await;
        if finding.is_ok() || begun.elapsed() >= WINDOW {
            return finding;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn compare(client: &Client, ours: &Value) -> Finding {
    let version = Changefeed::api_version(&());
    let unserved = || {
        format!(
            "the API server doesn't serve {version} Changefeeds: install the definition, with the chart's \
             crds.enabled=true or by kubectl apply --server-side -f crds/changefeeds.yaml"
        )
    };
    let call = client.list_api_group_resources(&version);
    let listed = match bounded(format!("list the resources of {version}"), call).await {
        Ok(list) => list.resources,
        Err(error) if error.is_code(404) => return Err(unserved()),
        Err(error) => return Err(format!("{}: look at the API server's log", brief(&error))),
    };
    let plural = Changefeed::plural(&());
    if !listed.iter().any(|resource| resource.name == plural) {
        return Err(unserved());
    }
    for subresource in ["status", "scale"] {
        let name = format!("{plural}/{subresource}");
        if !listed.iter().any(|resource| resource.name == name) {
            return Err(format!("{name} isn't served: {MEND}"));
        }
    }
    let served = match served(client, &version).await {
        Ok(Some(served)) => served,
        Ok(None) => {
            return Err(format!(
                "the API server publishes no schema of {version}: look at its log"
            ));
        }
        Err(error) => return Err(format!("{}: look at the API server's log", brief(&error))),
    };
    judge(ours, &served, &version)
}

const MEND: &str = "install the definition of this version, with the chart's crds.enabled=true or by kubectl apply \
                    --server-side -f crds/changefeeds.yaml";

/// The schema that the API server publishes.
async fn served(client: &Client, version: &str) -> Result<Option<Value>, Error> {
    let what = format!("get the schema of {version}");
    let path = kube::core::Request::new("/openapi/v3/apis");
    let request = path.get(version, &GetParams::default());
    let request = request.map_err(|error| Error::Value(format!("{what}: {error}")))?;
    let document: Value = match bounded(what, client.request(request)).await {
        Err(error) if error.is_code(404) => return Ok(None),
        other => other?,
    };
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let kind = Changefeed::kind(&());
    let is_ours = |schema: &&Value| {
        let kinds = schema.get(ADDED[0]).and_then(Value::as_array);
        kinds.into_iter().flatten().any(|have| have["kind"] == *kind)
    };
    Ok(schemas
        .and_then(|schemas| schemas.values().find(is_ours))
        .cloned())
}

/// The schema as this operator would install it.
fn schema() -> Result<Value, String> {
    let crd = tidemark_crds::crd_yaml().map_err(|error| error.to_string())?;
    let crd: Value = serde_yaml::from_str(&crd).map_err(|error| error.to_string())?;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema");
    schema
        .cloned()
        .ok_or_else(|| "the definition has no schema".to_owned())
}

fn judge(ours: &Value, served: &Value, version: &str) -> Finding {
    let differences = differences(ours, served);
    if differences.is_empty() {
        return Ok(format!("{version} is served, with the schema of this operator"));
    }
    let is_newer = differences
        .iter()
        .all(|difference| matches!(difference, Difference::Unknown(_)));
    let mend = if is_newer {
        "the definition is a newer one, upgrade the operator"
    } else {
        MEND
    };
    let list = differences.iter().map(ToString::to_string).collect();
    Err(format!(
        "{version} is served with another schema than this operator's: {}: {mend}",
        few(list)
    ))
}

/// Where two schemas differ.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Difference {
    /// A field that the API server would drop.
    Missing(String),
    /// A field that the operator doesn't know.
    Unknown(String),
    /// A field that is checked otherwise.
    Changed(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{path} is missing"),
            Self::Unknown(path) => write!(f, "{path} is unknown to it"),
            Self::Changed(path) => write!(f, "{path} is another"),
        }
    }
}

fn differences(ours: &Value, served: &Value) -> Vec<Difference> {
    let bare = |schema: &Value| {
        let mut schema = schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.retain(|name, _| !ADDED.contains(&name.as_str()));
        }
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|name, _| !OF_ANY.contains(&name.as_str()));
        }
        schema
    };
    let mut found = Vec::new();
    walk(&bare(ours), &bare(served), "", &mut found);
    found
}

/// Compares the schemas of a field, then those of what is in it.
fn walk(ours: &Value, served: &Value, path: &str, found: &mut Vec<Difference>) {
    let (Some(ours), Some(served)) = (ours.as_object(), served.as_object()) else {
        if !same(ours, served) {
            found.push(Difference::Changed(named(path)));
        }
        return;
    };
    let mut changed = false;
    for keyword in names(ours, served) {
        match (keyword, ours.get(keyword), served.get(keyword)) {
            (prose, ..) if PROSE.contains(&prose) => {}
            ("properties", Some(Value::Object(ours)), Some(Value::Object(served))) => {
                for name in names(ours, served) {
                    let path = format!("{path}.{name}");
                    match (ours.get(name), served.get(name)) {
                        (Some(ours), Some(served)) => walk(ours, served, &path, found),
                        (Some(_), None) => found.push(Difference::Missing(named(&path))),
                        _ => found.push(Difference::Unknown(named(&path))),
                    }
                }
            }
            ("items" | "additionalProperties", Some(ours), Some(served)) => {
                walk(ours, served, &format!("{path}[]"), found);
            }
            (_, Some(ours), Some(served)) => changed |= !same(ours, served),
            _ => changed = true,
        }
    }
    if changed {
        found.push(Difference::Changed(named(path)));
    }
}

fn names<'a>(left: &'a Map<String, Value>, right: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    left.keys().chain(right.keys()).map(String::as_str).collect()
}

fn named(path: &str) -> String {
    match path.strip_prefix('.') {
        Some(path) => path.to_owned(),
        None => "the whole".to_owned(),
    }
}

/// Whether two values are the same; a number may be written with a point or without.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let both = |name: &&str| Some((left.get(*name)?, right.get(*name)?));
            names(left, right)
                .iter()
                .all(|name| both(name).is_some_and(|(left, right)| same(left, right)))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As the API server publishes it.
    fn published() -> Value {
        let mut schema = schema().unwrap();
        schema["properties"]["metadata"] = json!({"$ref": "ObjectMeta"});
        schema[ADDED[0]] = json!([{"kind": "Changefeed"}]);
        schema
    }

    fn told(change: impl FnOnce(&mut Value)) -> Finding {
        let mut served = published();
        change(&mut served);
        judge(&schema().unwrap(), &served, "tidemark.io/v1alpha1")
    }

    fn spec(served: &mut Value) -> &mut Map<String, Value> {
        let spec = &mut served["properties"]["spec"]["properties"];
        spec.as_object_mut().unwrap()
    }

    #[test]
    fn a_schema_is_the_same_whatever_its_prose_and_its_numbers_look_like() {
        told(|_| {}).unwrap();
        told(|served| served["description"] = json!("For people.")).unwrap();
        assert!(same(&json!({"minimum": 1}), &json!({"minimum": 1.0})));
        assert!(!same(&json!([1, 2]), &json!([1])));
        assert!(!same(&json!({"minimum": 1}), &json!({})));
    }

    #[test]
    fn a_difference_is_named_and_says_which_side_to_mend() {
        let older = told(|served| {
            spec(served).remove("limits");
        });
        let older = older.unwrap_err();
        assert!(
            older.contains("spec.limits is missing: install the definition"),
            "{older}"
        );
        let newer = told(|served| {
            spec(served).insert("colour".into(), json!({"type": "string"}));
        });
        let newer = newer.unwrap_err();
        assert!(
            newer.contains("spec.colour is unknown to it: the definition is a newer one"),
            "{newer}"
        );
        let other = told(|served| {
            spec(served)["tables"]["items"] = json!({"type": "integer"});
        });
        let other = other.unwrap_err();
        assert!(other.contains("spec.tables[] is another"), "{other}");
        let rules = told(|served| {
            served["x-kubernetes-validations"] = json!([]);
        });
        assert!(rules.unwrap_err().contains("the whole is another"));
    }
}

//! `spec.workers.podTemplate`: the user's changes to the pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::container;
use super::merge::{key, merge};

/// Fields of the pod's spec that the operator and the worker rely on.
const POD_FIELDS: [&str; 3] = [
    "serviceAccountName",
    "automountServiceAccountToken",
    "restartPolicy",
];
/// Fields of the container `worker` that can't be changed.
const CONTAINER_FIELDS: [&str; 2] = ["command", "args"];
/// Lists of the container `worker` whose own items can't be changed, while more may be added.
const CONTAINER_LISTS: [&str; 3] = ["ports", "env", "volumeMounts"];

/// Lays the user's template over ours; what the worker can't do without is kept.
///
/// The result is no typed value, so that fields of newer Kubernetes versions survive, but it has been read as one.
pub(super) fn overlay(ours: &PodTemplateSpec, over: Option<&Map<String, Value>>) -> Result<Value, String> {
    let base = serde_json::to_value(ours).map_err(|error| error.to_string())?;
    let Some(over) = over else { return Ok(base) };
    let mut template = base.clone();
    merge(&mut template, Value::Object(over.clone()));
    serde_json::from_value::<PodTemplateSpec>(template.clone()).map_err(|error| error.to_string())?;
    keep(&mut template, &base);
    Ok(template)
}

/// Puts back what must stay.
fn keep(template: &mut Value, base: &Value) {
    keep_fields(template, base, "/metadata/labels", None);
    keep_fields(template, base, "/spec", Some(&POD_FIELDS));
    keep_items(template, base, "/spec/volumes");
    let Some(ours) = worker_path(base) else { return };
    if worker_path(template).is_none() {
        // Removed or replaced by something that is no list of containers.
        put_back(template, base, "/spec/containers");
    }
    let Some(theirs) = worker_path(template) else {
        return;
    };
    let (Some(base), Some(worker)) = (base.pointer(&ours), template.pointer_mut(&theirs)) else {
        return;
    };
    keep_fields(worker, base, "", Some(&CONTAINER_FIELDS));
    for list in CONTAINER_LISTS {
        keep_items(worker, base, &format!("/{list}"));
    }
}

fn worker_path(template: &Value) -> Option<String> {
    let containers = template.pointer("/spec/containers")?.as_array()?;
    let index = containers
        .iter()
        .position(|container| container.get("name").and_then(Value::as_str) == Some(container::NAME))?;
    Some(format!("/spec/containers/{index}"))
}

/// Restores the named fields of the object at `path`, or all that we set.
fn keep_fields(template: &mut Value, base: &Value, path: &str, only: Option<&[&str]>) {
    let Some(ours) = base.pointer(path).and_then(Value::as_object) else {
        return;
    };
    if template.pointer(path).is_none_or(|there| !there.is_object()) {
        put_back(template, base, path);
    }
    let Some(theirs) = template.pointer_mut(path).and_then(Value::as_object_mut) else {
        return;
    };
    let names: Vec<&str> = only.map_or_else(|| ours.keys().map(String::as_str).collect(), <[_]>::to_vec);
    for name in names {
        match ours.get(name) {
            Some(value) => {
                theirs.insert(name.to_owned(), value.clone());
            }
            None => {
                theirs.remove(name);
            }
        }
    }
}

/// Restores our items of the list at `path`; items of the user's with other keys stay.
fn keep_items(template: &mut Value, base: &Value, path: &str) {
    let Some(ours) = base.pointer(path).and_then(Value::as_array) else {
        return;
    };
    let theirs = template.pointer(path).and_then(Value::as_array);
    let mut items = ours.clone();
    items.extend(
        theirs
            .into_iter()
            .flatten()
            .filter(|item| {
                let known = |have: &Value| key(have).is_some() && key(have) == key(item);
                !ours.iter().any(known)
            })
            .cloned(),
    );
    let Some((parent, name)) = path.rsplit_once('/') else {
        return;
    };
    if let Some(parent) = template.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(name.to_owned(), Value::Array(items));
    }
}

fn put_back(template: &mut Value, base: &Value, path: &str) {
    let Some((parent, name)) = path.rsplit_once('/') else {
        return;
    };
    if let (Some(value), Some(parent)) = (
        base.pointer(path),
        template.pointer_mut(parent).and_then(Value::as_object_mut),
    ) {
        parent.insert(name.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::feed;
    use crate::plan::{Identity, pod};

    fn ours() -> PodTemplateSpec {
        let feed = feed("shop");
        pod::template(&Identity::of(&feed), &feed.spec, "0123456789", "image:1").unwrap()
    }

    fn overlaid(over: Value) -> Value {
        let Value::Object(over) = over else {
            panic!("an object")
        };
        overlay(&ours(), Some(&over)).unwrap()
    }

    #[test]
    fn what_the_user_adds_is_there() {
        let template = overlaid(json!({
            "metadata": {"labels": {"team": "shop"}, "annotations": {"a": "b"}},
            "spec": {
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "cdc"}],
                "terminationGracePeriodSeconds": 120,
                "containers": [
                    {"name": "worker", "env": [{"name": "RUST_BACKTRACE", "value": "1"}]},
                    {"name": "proxy", "image": "proxy:1"},
                ],
                "volumes": [{"name": "roots", "configMap": {"name": "roots"}}],
                "fieldOfTheFuture": {"x": 1},
            },
        }));
        assert_eq!(template["metadata"]["labels"]["team"], "shop");
        assert_eq!(template["spec"]["nodeSelector"]["disk"], "fast");
        assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 120);
        assert_eq!(template["spec"]["containers"][1]["name"], "proxy");
        assert_eq!(template["spec"]["fieldOfTheFuture"]["x"], 1);
        let last = |list: &Value| list.as_array().unwrap().last().unwrap()["name"].clone();
        assert_eq!(last(&template["spec"]["containers"][0]["env"]), "RUST_BACKTRACE");
        assert_eq!(last(&template["spec"]["volumes"]), "roots");
    }

    #[test]
    fn what_the_worker_needs_is_kept() {
        let base = serde_json::to_value(ours()).unwrap();
        let template = overlaid(json!({
            "metadata": {"labels": {"tidemark.io/feed": "other"}},
            "spec": {
                "serviceAccountName": "admin",
                "automountServiceAccountToken": null,
                "restartPolicy": "Never",
                "volumes": [{"name": "state", "hostPath": {"path": "/"}}],
                "containers": [{
                    "name": "worker",
                    "command": ["sh"],
                    "args": null,
                    "ports": [{"name": "metrics", "containerPort": 1}],
                    "env": [{"name": "POD_UID", "value": "x"}],
                    "volumeMounts": [{"name": "other", "mountPath": "/var/lib/tidemark"}],
                }],
            },
        }));
        assert_eq!(template, base);
    }

    #[test]
    fn removing_whole_parts_brings_them_back() {
        let base = serde_json::to_value(ours()).unwrap();
        for over in [
            json!({"metadata": null}),
            json!({"metadata": {"labels": null}}),
            json!({"spec": {"containers": null}}),
            json!({"spec": {"volumes": null}}),
        ] {
            let template = overlaid(over.clone());
            assert_eq!(template["spec"], base["spec"], "{over}");
        }
    }

    #[test]
    fn a_template_of_the_wrong_shape_is_refused() {
        let over = json!({"spec": {"tolerations": "all"}});
        let over = over.as_object().unwrap();
        let error = overlay(&ours(), Some(over)).unwrap_err();
        assert!(error.contains("invalid type"), "{error}");
    }
}

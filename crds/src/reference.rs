use std::fmt::Write;

use kube::CustomResourceExt;
use serde_yaml::Value;

use crate::spec::Changefeed;

/// The page `docs/changefeed.md`: every field of the spec with its type, default and meaning.
pub fn reference() -> Result<String, serde_yaml::Error> {
    let crd = serde_yaml::to_value(Changefeed::crd())?;
    let schema = crd
        .get("spec")
        .and_then(|spec| spec.get("versions"))
        .and_then(|versions| versions.get(0))
        .and_then(|version| version.get("schema"))
        .and_then(|schema| schema.get("openAPIV3Schema"))
        .and_then(|schema| schema.get("properties"))
        .and_then(|properties| properties.get("spec"));
    let mut page = String::from(
        "# The Changefeed resource\n\n\
         Made by `make generate` from the types in `crds/src`; don't edit.\n\n\
         A file that `kubectl apply` takes is also what `tidemark-worker run --changefeed` reads. A Secret `S` with key `K` is, \
         without Kubernetes, the file `S/K` in the folder `--secrets`.\n\n\
         | field | type | default | meaning |\n| --- | --- | --- | --- |\n",
    );
    if let Some(schema) = schema {
        describe(schema, "spec", &mut page);
    }
    Ok(page)
}

fn describe(schema: &Value, path: &str, page: &mut String) {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_sequence)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = schema.get("properties").and_then(Value::as_mapping) else {
        return;
    };
    for (name, field) in properties {
        let Some(name) = name.as_str() else { continue };
        let inner = field.get("items").unwrap_or(field);
        let is_list = field.get("items").is_some();
        let path = format!("{path}.{name}{}", if is_list { "[]" } else { "" });
        let is_object = inner.get("properties").is_some();
        let default = match field.get("default") {
            _ if required.contains(&name) => "required".into(),
            Some(_) if is_object => String::new(),
            Some(value) => format!("`{}`", serde_json::to_string(value).unwrap_or_default()),
            None => String::new(),
        };
        let meaning = field
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // Writing to a String can't fail.
        let _ = writeln!(
            page,
            "| `{path}` | {} | {default} | {} |",
            type_of(inner, is_list),
            meaning.replace('\n', " ").replace('|', "\\|")
        );
        describe(inner, &path, page);
    }
}

fn type_of(schema: &Value, is_list: bool) -> String {
    let one = match schema.get("enum").and_then(Value::as_sequence) {
        Some(values) => {
            let names: Vec<_> = values
                .iter()
                .filter_map(Value::as_str)
                .map(|name| format!("`{name}`"))
                .collect();
            names.join(", ")
        }
        None => schema
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("object")
            .to_owned(),
    };
    if is_list { format!("list of {one}s") } else { one }
}

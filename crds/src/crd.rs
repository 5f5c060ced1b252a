use kube::CustomResourceExt;
use serde_yaml::Value;

use crate::spec::Changefeed;

/// The CustomResourceDefinition as YAML, as it is checked in under `crds/`.
pub fn crd_yaml() -> Result<String, serde_yaml::Error> {
    let mut crd = serde_yaml::to_value(Changefeed::crd())?;
    drop_closed_objects(&mut crd);
    let body = serde_yaml::to_string(&crd)?;
    Ok(format!(
        "# Made by `make generate` from the types in crds/src; don't edit.\n{body}"
    ))
}

/// Removes `additionalProperties: false`: structural schemas refuse it beside `properties`, and the API
/// server prunes or (with strict validation) refuses unknown fields by itself.
fn drop_closed_objects(value: &mut Value) {
    match value {
        Value::Mapping(fields) => {
            if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
                fields.remove("additionalProperties");
            }
            fields.values_mut().for_each(drop_closed_objects);
        }
        Value::Sequence(items) => items.iter_mut().for_each(drop_closed_objects),
        _ => {}
    }
}

use kube::CustomResourceExt;

use crate::spec::Changefeed;

/// The CustomResourceDefinition as YAML, as it is checked in under `crds/`.
pub fn crd_yaml() -> Result<String, serde_yaml::Error> {
    let body = serde_yaml::to_string(&Changefeed::crd())?;
    Ok(format!(
        "# Made by `make generate` from the types in crds/src; don't edit.\n{body}"
    ))
}

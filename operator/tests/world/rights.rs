//! Which of its rights the operator used: the API server's audit log against what it was granted.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// What the operator holds only to hand it on to workers: nobody may grant what they don't hold.
const HANDED_ON: [&str; 1] = ["/pods get"];
/// Asked for by an admission plugin that not every cluster has on: OwnerReferencesPermissionEnforcement.
const ELSEWHERE: [&str; 1] = ["tidemark.io/changefeeds/finalizers update"];

pub(crate) const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: [operator]}
- {level: None}
"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    object_ref: Option<Object>,
    response_status: Option<Response>,
    #[serde(rename = "requestURI")]
    request_uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_group: String,
    resource: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    code: u16,
}

/// Fails if the operator was refused anything, or holds a right that it never used.
pub(crate) fn are_the_least(log: &Path, granted: &str) -> Result<()> {
    let mut used = BTreeSet::new();
    for line in std::fs::read_to_string(log)?.lines() {
        let entry: Entry = serde_json::from_str(line)?;
        let code = entry.response_status.map_or(0, |response| response.code);
        ensure!(code != 403, "refused: {} {}", entry.verb, entry.request_uri);
        let Some(object) = entry.object_ref else { continue };
        let mut resource = format!("{}/{}", object.api_group, object.resource);
        if !object.subresource.is_empty() {
            resource = format!("{resource}/{}", object.subresource);
        }
        if entry.verb == "patch" && code == 201 {
            // Server-side apply of what wasn't there asks for both.
            used.insert(format!("{resource} create"));
        }
        used.insert(format!("{resource} {}", entry.verb));
    }
    let spare: Vec<_> = rights(granted)?
        .into_iter()
        .filter(|right| !used.contains(right))
        .filter(|right| !HANDED_ON.contains(&right.as_str()) && !ELSEWHERE.contains(&right.as_str()))
        .collect();
    ensure!(spare.is_empty(), "granted, but never used: {spare:?}");
    Ok(())
}

fn rights(granted: &str) -> Result<BTreeSet<String>> {
    let mut rights = BTreeSet::new();
    let role = granted.split("---").next().context("a role")?;
    let role: Value = serde_yaml::from_str(role)?;
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().cloned().unwrap_or_default();
        list.iter()
            .filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect()
    };
    for rule in role["rules"].as_array().context("rules")? {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    rights.insert(format!("{group}/{resource} {verb}"));
                }
            }
        }
    }
    Ok(rights)
}

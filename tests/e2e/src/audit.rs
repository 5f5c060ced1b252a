//! What operator and workers asked of the API server, from its audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

/// Operator and workers are written down, with what they send and get; what each service account may ask about itself and the
/// API isn't theirs.
pub(crate) const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: false
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: RequestResponse, users: [operator]}
- {level: RequestResponse, userGroups: ["system:serviceaccounts"]}
- {level: None}
"#;

/// One call, once it was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// `operator`, or `system:serviceaccount:<namespace>:<feed>-worker`.
    pub user: String,
    /// What the client calls itself.
    pub agent: String,
    /// `get`, `update`, …
    pub verb: String,
    /// `<group>/<resource>`, with the subresource.
    pub resource: String,
    /// The object's name; empty for a list.
    pub name: String,
    /// The answer's code.
    pub code: u64,
    /// When it was answered, in milliseconds since 1970.
    pub at_ms: i64,
    /// Bytes of the request's body, as JSON.
    pub sent: usize,
    /// Bytes of the answer's body, as JSON.
    pub got: usize,
}

impl Call {
    fn read(entry: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let mut resource = format!("{}/{}", text(&object["apiGroup"]), text(&object["resource"]));
        if let Some(part) = object["subresource"].as_str() {
            resource = format!("{resource}/{part}");
        }
        let size = |body: &Value| {
            if body.is_null() { 0 } else { body.to_string().len() }
        };
        let at: jiff::Timestamp = text(&entry["stageTimestamp"]).parse()?;
        Ok(Self {
            user: text(&entry["user"]["username"]),
            agent: text(&entry["userAgent"]),
            verb: text(&entry["verb"]),
            resource,
            name: text(&object["name"]),
            code: entry["responseStatus"]["code"].as_u64().unwrap_or(0),
            at_ms: at.as_millisecond(),
            sent: size(&entry["requestObject"]),
            got: size(&entry["responseObject"]),
        })
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }
}

/// Reads a log; a line that is being written is left out.
pub(crate) fn read(log: &Path) -> Result<Vec<Call>> {
    let text = std::fs::read_to_string(log)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entries = whole.lines().map(serde_json::from_str::<Value>);
    entries.map(|entry| Call::read(&entry?)).collect()
}

/// Rights as `<group>/<resource> <verb>`.
pub fn rights(role: &Role) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role.rules.iter().flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| format!("{group}/{resource} {verb}")));
            }
        }
    }
    rights
}

/// Fails if workers hold a right that none of them used, or are refused something else than a look at the Lease of a pod that
/// isn't there any more. `feeds` are those whose workers are meant, by namespace, name and number of pods.
pub fn are_the_least(calls: &[Call], role: &Role, feeds: &[(&str, &str, usize)]) -> Result<()> {
    let mut used = BTreeSet::new();
    for (namespace, feed, pods) in feeds {
        let account = format!("system:serviceaccount:{namespace}:{feed}-worker");
        let there = |name: &str| (0..*pods).any(|ordinal| name == format!("{feed}-{ordinal}"));
        // The last answer counts: an API server that has just begun refuses everything until it has read the Roles.
        let mut last = BTreeMap::new();
        for call in calls.iter().filter(|call| call.user == account) {
            let right = format!("{} {}", call.resource, call.verb);
            used.insert(right.clone());
            last.insert((right, call.name.as_str()), call.code);
        }
        for ((right, name), code) in last {
            let of_the_gone = right == "coordination.k8s.io/leases get" && !there(name);
            ensure!(
                code != 403 || of_the_gone,
                "refused: {right} of {name} to {account}"
            );
        }
    }
    let spare: Vec<_> = rights(role).difference(&used).cloned().collect();
    ensure!(spare.is_empty(), "granted, but never used: {spare:?}");
    Ok(())
}

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use thiserror::Error;

use crate::check::{Problem, check};
use crate::spec::{Changefeed, ChangefeedSpec};
use crate::status::ChangefeedStatus;
use crate::unknown::unknown_field;

/// The `apiVersion` that this build reads.
const API_VERSION: &str = "tidemark.io/v1alpha1";

/// Why a file is no changefeed that can run.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The text is no YAML; the message names the line.
    #[error("not YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// A field is unknown, missing or of the wrong shape.
    #[error("{field}: {problem}")]
    Shape {
        /// The field's path.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The document is of another kind.
    #[error("{field}: {found:?} is not {expected:?}")]
    Kind {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Fields hold values that can't work; one line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A document as it stands in a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: ChangefeedSpec,
    #[serde(default)]
    status: Option<ChangefeedStatus>,
}

impl Changefeed {
    /// Reads a feed from YAML that a person wrote, and checks it as far as that goes without a server. A field that no
    /// feed has is a mistake.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        let document: serde_yaml::Value = serde_yaml::from_str(text)?;
        // What JSON can't hold is no feed either, and told below.
        let unknown = serde_json::to_value(&document)
            .ok()
            .as_ref()
            .and_then(unknown_field);
        if let Some((field, expected)) = unknown {
            let name = field.rsplit('.').next().unwrap_or_default();
            let problem = format!(
                "unknown field `{name}`, expected one of `{}`",
                expected.join("`, `")
            );
            return Err(ManifestError::Shape { field, problem });
        }
        Self::read(document)
    }

    /// Reads a feed from YAML that an operator wrote, which may be newer: fields that this build doesn't know are passed
    /// over.
    pub fn from_operators_yaml(text: &str) -> Result<Self, ManifestError> {
        Self::read(serde_yaml::from_str(text)?)
    }

    fn read(document: serde_yaml::Value) -> Result<Self, ManifestError> {
        let manifest: Manifest =
            serde_path_to_error::deserialize(document).map_err(|error| ManifestError::Shape {
                field: match error.path().to_string().as_str() {
                    "." => "the document".into(),
                    path => path.to_owned(),
                },
                problem: error.inner().to_string(),
            })?;
        let kind = |field, found: &str, expected| {
            if found == expected {
                Ok(())
            } else {
                Err(ManifestError::Kind {
                    field,
                    found: found.to_owned(),
                    expected,
                })
            }
        };
        kind("apiVersion", &manifest.api_version, API_VERSION)?;
        kind("kind", &manifest.kind, "Changefeed")?;
        let name = manifest.metadata.name.as_deref().unwrap_or_default();
        let mut problems = check_name(name);
        problems.extend(check(&manifest.spec));
        if !problems.is_empty() {
            return Err(ManifestError::Invalid(problems));
        }
        let mut feed = Self::new(name, manifest.spec);
        feed.metadata = manifest.metadata;
        feed.status = manifest.status;
        Ok(feed)
    }
}

/// Names end up in StatefulSets, pods and labels: 52 characters leave room for their suffixes.
fn check_name(name: &str) -> Vec<Problem> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=52).contains(&name.len())
        && name.chars().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        return Vec::new();
    }
    vec![Problem {
        field: "metadata.name".into(),
        message: format!("{name:?} is no name: use 1 to 52 lower-case letters, digits and inner \"-\""),
    }]
}

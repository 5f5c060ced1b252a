//! Whether the operator may do what it does.

use std::collections::BTreeSet;
use std::fmt;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;

use super::{Finding, brief, few, place};
use crate::Error;
use crate::controller::Scope;
use crate::deadline::bounded;

/// What the chart grants in the namespaces of feeds.
const OF_FEEDS: &str = include_str!("../../../charts/tidemark/files/operator-rules.yaml");
/// What the chart grants in the operator's own namespace.
const OF_LEADER: &str = include_str!("../../../charts/tidemark/files/leader-rules.yaml");
/// Questions that are asked at once.
const AT_ONCE: usize = 8;

/// Asks the API server for every right that the chart grants.
pub(super) async fn look(client: &Client, scope: &Scope, own: &str) -> Finding {
    let feeds = rights(OF_FEEDS)?;
    let mut wanted = Vec::new();
    for namespace in scope.parts() {
        wanted.extend(feeds.iter().map(|right| (right.clone(), namespace)));
    }
    wanted.extend(rights(OF_LEADER)?.into_iter().map(|right| (right, Some(own))));
    let count = wanted.len();
    let who = whoami(client).await;
    let asked = futures::stream::iter(wanted).map(|(right, namespace)| async move {
        let granted = is_granted(client, &right, namespace).await?;
        let place = namespace.map_or_else(|| "all namespaces".to_owned(), str::to_owned);
        Ok::<_, Error>((!granted).then(|| format!("{right} in {place}")))
    });
    let asked: Result<Vec<_>, _> = asked.buffered(AT_ONCE).try_collect().await;
    let lacks: Vec<_> = asked
        .map_err(|error| {
            format!(
                "{}: {who} has to be let ask for its own rights (system:basic-user)",
                brief(&error)
            )
        })?
        .into_iter()
        .flatten()
        .collect();
    if lacks.is_empty() {
        let place = place(scope);
        return Ok(format!(
            "{who} has all {count} that it needs in {place} and its own namespace {own}"
        ));
    }
    Err(format!(
        "{who} may not {}: install the chart with rbac.create=true, or grant what its files/operator-rules.yaml and \
         files/leader-rules.yaml hold",
        few(lacks)
    ))
}

/// Something that may be done to a kind of object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    group: String,
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        for part in self.subresource.iter().chain(&self.name) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

#[derive(Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

/// The rights of a list of rules, each by itself.
fn rights(yaml: &str) -> Result<BTreeSet<Right>, String> {
    let Rules { rules } = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
    let mut rights = BTreeSet::new();
    for rule in rules {
        let names: Vec<_> = match rule.resource_names.is_empty() {
            true => vec![None],
            false => rule.resource_names.into_iter().map(Some).collect(),
        };
        for (group, whole) in pairs(&rule.api_groups, &rule.resources) {
            let (resource, subresource) = match whole.split_once('/') {
                Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
                None => (whole.as_str(), None),
            };
            rights.extend(pairs(&rule.verbs, &names).map(|(verb, name)| Right {
                verb: verb.clone(),
                group: group.clone(),
                resource: resource.to_owned(),
                subresource: subresource.clone(),
                name: name.clone(),
            }));
        }
    }
    Ok(rights)
}

fn pairs<'a, A, B>(left: &'a [A], right: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    left.iter().flat_map(move |a| right.iter().map(move |b| (a, b)))
}

async fn is_granted(client: &Client, right: &Right, namespace: Option<&str>) -> Result<bool, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(right.group.clone()),
                name: right.name.clone(),
                namespace: namespace.map(str::to_owned),
                resource: Some(right.resource.clone()),
                subresource: right.subresource.clone(),
                verb: Some(right.verb.clone()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let call = api.create(&params, &review);
    let answer = bounded(format!("ask whether one may {right}"), call).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Who asks, as the API server calls it.
async fn whoami(client: &Client) -> String {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let answer = bounded("ask who one is", api.create(&params, &review)).await;
    let user = answer.ok().and_then(|answer| answer.status?.user_info?.username);
    user.unwrap_or_else(|| "the operator's account".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charts_rules_are_taken_apart() {
        let words = |yaml: &str| -> Vec<_> {
            let rights = rights(yaml).unwrap();
            rights.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            words(OF_LEADER),
            [
                "create leases.coordination.k8s.io",
                "get leases.coordination.k8s.io/tidemark-operator",
                "update leases.coordination.k8s.io/tidemark-operator",
            ]
        );
        let feeds = words(OF_FEEDS);
        for right in [
            "patch changefeeds.tidemark.io/status",
            "watch statefulsets.apps",
            "delete pods",
        ] {
            assert!(
                feeds.iter().any(|have| have == right),
                "{right} is not in {feeds:?}"
            );
        }
    }

    #[test]
    fn tests_run_with_the_rights_that_the_chart_grants() {
        let file = include_str!("../../tests/rbac.yaml");
        let role = file.split("---").next().unwrap();
        assert_eq!(rights(role).unwrap(), rights(OF_FEEDS).unwrap());
    }
}

//! The whole plan of a feed, against a file that shows every change of it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;
use tidemark_crds::Changefeed;

use super::*;
use crate::fixture::{feed, noon};

fn plan_of(feed: &Changefeed, existing: &Existing) -> Plan {
    plan(
        &Identity::of(feed),
        &feed.spec,
        "registry/tidemark:1",
        existing,
        noon(),
    )
    .unwrap()
}

/// A feed that uses everything which shapes a pod.
fn rich() -> Changefeed {
    let mut feed = feed("shop");
    feed.spec = serde_json::from_value(json!({
        "source": {"pd": ["https://pd:2379"], "tls": {"secretName": "tikv.tls"}},
        "tables": ["shop.*", "!shop.log"],
        "sink": {"kafka": {
            "brokers": ["kafka:9093"],
            "topic": "{schema}.{table}",
            "tls": {"secretName": "broker"},
            "sasl": {"mechanism": "SCRAM-SHA-512", "secretName": "login"},
        }},
        "limits": {"memory": "1Gi", "disk": "20Gi"},
        "workers": {
            "replicas": 3,
            "podTemplate": {"spec": {"nodeSelector": {"disk": "fast"}}},
        },
    }))
    .unwrap();
    feed
}

/// Compares with a checked-in file. After a wanted change: `TIDEMARK_BLESS=1 cargo test -p tidemark-operator`.
fn golden(name: &str, plan: &Plan) {
    let path = format!("{}/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let manifests = plan.apply.iter().chain(&plan.create).chain(&plan.workers);
    let documents: Vec<_> = manifests
        .map(|manifest| serde_yaml::to_string(&manifest.body).unwrap())
        .collect();
    let text = documents.join("---\n");
    if std::env::var_os("TIDEMARK_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == expected,
        "{path} differs: if the pod template changed, installing this version restarts every worker. It is now:\n{text}"
    );
}

#[test]
fn a_plain_feed_gets_what_the_golden_file_shows() {
    golden("plain", &plan_of(&feed("shop"), &Existing::default()));
}

#[test]
fn a_rich_feed_gets_what_the_golden_file_shows() {
    golden("rich", &plan_of(&rich(), &Existing::default()));
}

#[test]
fn a_plan_prints_what_it_does() {
    let plan = plan_of(&feed("shop"), &Existing::default());
    let revision = revision(&feed("shop").spec).unwrap();
    assert_eq!(
        plan.to_string(),
        format!(
            "apply ServiceAccount shop-worker\napply Role shop-worker\napply RoleBinding shop-worker\n\
             apply Service shop-workers\napply ConfigMap shop-{revision}\n\
             create Lease shop-owner\ncreate Lease shop-0\napply StatefulSet shop\n"
        )
    );
}

#[test]
fn a_resting_feed_keeps_its_objects_and_has_no_pods() {
    for state in [State::Paused, State::Stopped] {
        let mut feed = rich();
        feed.spec.state = state;
        let plan = plan_of(&feed, &Existing::default());
        let workers = plan.workers.unwrap();
        assert_eq!(workers.body["spec"]["replicas"], 0);
        assert!(
            !plan
                .apply
                .iter()
                .any(|m| m.resource.kind == "PodDisruptionBudget")
        );
        assert_eq!(plan.create.len(), 4);
    }
}

fn lease_of(feed: &Changefeed, name: &str, holder: &str) -> Lease {
    Lease {
        metadata: Identity::of(feed).meta(name.into()),
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(noon() - Duration::from_secs(1))),
            ..LeaseSpec::default()
        }),
    }
}

#[test]
fn leases_of_pods_that_went_away_are_deleted_once_nobody_holds_them() {
    let feed = feed("shop");
    let mut foreign = lease_of(&feed, "shop-9", "");
    foreign.metadata.owner_references = None;
    let existing = Existing {
        leases: vec![
            lease_of(&feed, "shop-owner", "a"),
            lease_of(&feed, "shop-0", "a"),
            lease_of(&feed, "shop-1", ""),
            lease_of(&feed, "shop-2", "c"),
            foreign,
        ],
        ..Existing::default()
    };
    let plan = plan_of(&feed, &existing);
    let gone: Vec<_> = plan.delete.iter().map(ToString::to_string).collect();
    assert_eq!(gone, ["Lease shop-1"]);
    assert!(plan.create.is_empty());
    let role = plan.apply.iter().find(|m| m.resource.kind == "Role").unwrap();
    let names = role.body.pointer("/rules/2/resourceNames").unwrap().to_string();
    assert!(
        names.contains("shop-2"),
        "the pod that still holds it must be able to give it back: {names}"
    );
}

#[test]
fn config_maps_go_when_neither_pods_nor_the_set_use_them() {
    let feed = feed("shop");
    let identity = Identity::of(&feed);
    let config = |revision: &str| ConfigMap {
        metadata: identity.meta(names::config("shop", revision)),
        ..ConfigMap::default()
    };
    let pod: Pod = serde_json::from_value(json!({
        "spec": {"containers": [], "volumes": [{"name": "feed", "configMap": {"name": "shop-inpod"}}]}
    }))
    .unwrap();
    let set: StatefulSet = serde_json::from_value(json!({
        "spec": {
            "selector": {},
            "template": {"spec": {"containers": [], "volumes": [{"name": "feed", "configMap": {"name": "shop-inset"}}]}},
        }
    }))
    .unwrap();
    let current = revision(&feed.spec).unwrap();
    let existing = Existing {
        config_maps: [current.as_str(), "inpod", "inset", "old"].map(config).into(),
        pods: vec![pod],
        set: Some(set),
        ..Existing::default()
    };
    let plan = plan_of(&feed, &existing);
    let gone: Vec<_> = plan.delete.iter().map(ToString::to_string).collect();
    assert_eq!(gone, ["ConfigMap shop-old"]);
}

#[test]
fn a_budget_is_for_several_pods_only() {
    let several = plan_of(&rich(), &Existing::default());
    assert!(
        several
            .apply
            .iter()
            .any(|m| m.resource.kind == "PodDisruptionBudget")
    );
    let feed = feed("shop");
    let existing = Existing {
        budget: Some(pdb::budget(&Identity::of(&feed))),
        ..Existing::default()
    };
    let gone: Vec<_> = plan_of(&feed, &existing)
        .delete
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(gone, ["PodDisruptionBudget shop"]);
}

#[test]
fn resources_and_templates_of_the_wrong_shape_are_named() {
    let mut feed = feed("shop");
    feed.spec.workers.resources = json!({"limits": "all"}).as_object().cloned();
    let refuse = |feed: &Changefeed| {
        plan(
            &Identity::of(feed),
            &feed.spec,
            "image",
            &Existing::default(),
            noon(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(refuse(&feed).starts_with("spec.workers.resources: "));
    feed.spec.workers.resources = None;
    feed.spec.workers.pod_template = json!({"spec": []}).as_object().cloned();
    assert!(refuse(&feed).starts_with("spec.workers.podTemplate: "));
}

//! `check` against a real API server: what is missing is told, and what is whole.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidemark_crds::crd_yaml;
use tidemark_harness::{ControlPlane, ControlPlaneOptions, Folder, Process, Signal, eventually, free_port};
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidemark-operator");
const PATIENCE: Duration = Duration::from_secs(90);
/// What the chart grants.
const RULES: &str = include_str!("../../charts/tidemark/files/operator-rules.yaml");
const LEADER_RULES: &str = include_str!("../../charts/tidemark/files/leader-rules.yaml");
/// Serves all namespaces, by a ClusterRole.
const OPERATOR: &str = "operator";
/// Serves the namespace `shop` alone, by Roles.
const TENANT: &str = "tenant";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_is_told_to_be_whole_or_what_it_lacks() -> Result<()> {
    let options = ControlPlaneOptions::default().without_controllers();
    let site = Site {
        plane: ControlPlane::own(options.user(OPERATOR, &[]).user(TENANT, &[])).await?,
        folder: Folder::new("check")?,
    };
    site.plane.kubectl(&["create", "namespace", "shop"]).await?;
    nothing_is_installed(&site).await?;
    only_rights_are(&site).await?;
    let mut operator = all_is_whole(&site).await?;
    a_tenant_is_whole_in_its_namespace(&site).await?;
    an_operator_that_hangs_is_told(&site, &mut operator).await?;
    another_definition_is_told(&site).await
}

async fn nothing_is_installed(site: &Site) -> Result<()> {
    let told = site.check(OPERATOR, &[], false).await?;
    told.holds("ok     API server: v1.")?;
    told.holds("WRONG  definition: the API server doesn't serve tidemark.io/v1alpha1 Changefeeds: install")?;
    told.holds("WRONG  leader: get Lease default/tidemark-operator: ")?;
    told.holds("WRONG  rights: operator may not create configmaps in all namespaces, ")?;
    told.holds("WRONG  feeds: list Changefeeds: ")
}

async fn only_rights_are(site: &Site) -> Result<()> {
    site.apply(&role("ClusterRole", None, OPERATOR, RULES)?).await?;
    site.apply(&role("Role", Some("default"), OPERATOR, LEADER_RULES)?)
        .await?;
    let told = site.check(OPERATOR, &[], false).await?;
    told.holds("WRONG  definition: ")?;
    told.holds_not("  feeds:")?;
    told.holds("WRONG  leader: there is no Lease default/tidemark-operator: ")?;
    told.holds("ok     rights: operator has all ")
}

async fn all_is_whole(site: &Site) -> Result<Process> {
    site.plane
        .kubectl_with_input(&["apply", "-f", "-"], &crd_yaml()?)
        .await?;
    let admin = format!("127.0.0.1:{}", free_port()?);
    let log = site.folder.path().join("operator.log");
    let mut run = std::process::Command::new(PROGRAM);
    run.args([
        "run",
        "--image=tidemark:test",
        "--own-namespace=default",
        "--admin",
        &admin,
    ])
    .env("KUBECONFIG", site.kubeconfig(OPERATOR)?);
    let operator = Process::spawn("operator", &mut run, &log, Some(&site.folder))?;
    eventually(PATIENCE, "a whole installation", || async {
        let told = site.check(OPERATOR, &[], true).await?;
        told.holds("ok     definition: tidemark.io/v1alpha1 is served, with the schema of this operator")?;
        told.holds(" leads, by Lease default/tidemark-operator")?;
        told.holds("ok     feeds: 0 in all namespaces, 0 ready, 0 stalled")
    })
    .await?;
    Ok(operator)
}

async fn a_tenant_is_whole_in_its_namespace(site: &Site) -> Result<()> {
    site.apply(&role("Role", Some("shop"), TENANT, RULES)?).await?;
    site.apply(&role("Role", Some("default"), TENANT, LEADER_RULES)?)
        .await?;
    let told = site.check(TENANT, &["--namespace=shop"], true).await?;
    told.holds("in shop and its own namespace default")?;
    let told = site.check(TENANT, &["--namespace=shop,billing"], false).await?;
    told.holds("WRONG  rights: tenant may not create configmaps in billing, ")?;
    told.holds("WRONG  feeds: ")
}

async fn an_operator_that_hangs_is_told(site: &Site, operator: &mut Process) -> Result<()> {
    operator.signal(Signal::STOP)?;
    let told = site.check(OPERATOR, &[], false).await?;
    operator.signal(Signal::CONT)?;
    told.holds(" holds Lease default/tidemark-operator and doesn't renew it: ")?;
    told.holds("ok     definition: ")
}

async fn another_definition_is_told(site: &Site) -> Result<()> {
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/timeZone";
    let patch = json!([{"op": "remove", "path": field}]).to_string();
    let crd = "customresourcedefinition/changefeeds.tidemark.io";
    site.plane
        .kubectl(&["patch", crd, "--type=json", "-p", &patch])
        .await?;
    eventually(PATIENCE, "the other definition", || async {
        let told = site.check(OPERATOR, &[], false).await?;
        told.holds("spec.timeZone is missing: install the definition of this version")
    })
    .await
}

struct Site {
    plane: ControlPlane,
    folder: Folder,
}

impl Site {
    fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        self.plane.kubeconfig_for(user)
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        self.plane
            .kubectl_with_input(&["apply", "-f", "-"], &object.to_string())
            .await?;
        Ok(())
    }

    /// Runs the program; fails if the exit code tells otherwise than `whole`.
    async fn check(&self, user: &str, args: &[&str], whole: bool) -> Result<Told> {
        let output = Command::new(PROGRAM)
            .args(["check", "--own-namespace=default"])
            .args(args)
            .env("KUBECONFIG", self.kubeconfig(user)?)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8(output.stdout)?;
        let code = if whole { 0 } else { 1 };
        ensure!(
            output.status.code() == Some(code),
            "{}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Told(text))
    }
}

/// What `check` printed.
struct Told(String);

impl Told {
    fn holds(&self, words: &str) -> Result<()> {
        ensure!(self.0.contains(words), "{words:?} is not in:\n{}", self.0);
        Ok(())
    }

    fn holds_not(&self, words: &str) -> Result<()> {
        ensure!(!self.0.contains(words), "{words:?} is in:\n{}", self.0);
        Ok(())
    }
}

/// A role with the chart's rules and its binding to a user.
fn role(kind: &str, namespace: Option<&str>, user: &str, rules: &str) -> Result<Value> {
    let rules: Value = serde_yaml::from_str(rules)?;
    let mut meta = json!({"name": user});
    if let Some(namespace) = namespace {
        meta["namespace"] = namespace.into();
    }
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": version, "kind": kind, "metadata": meta, "rules": rules["rules"]},
        {
            "apiVersion": version,
            "kind": format!("{kind}Binding"),
            "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": kind, "name": user},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        },
    ]}))
}

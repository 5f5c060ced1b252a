//! `verify-config`: what is wrong with a file, and whether the cluster would take it.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use kube::Api;
use kube::api::{Patch, PatchParams, ValidationDirective};
use kube::core::Status;
use serde_json::Value;
use tidemark_crds::Changefeed;

use crate::cli::ClusterArgs;
use crate::cluster::{Cluster, is_unreachable};
use crate::output::{line, print};

pub(crate) async fn run(file: &Path, args: &ClusterArgs) -> Result<ExitCode> {
    let name = match file.to_str() {
        Some("-") => "standard input".into(),
        _ => file.display().to_string(),
    };
    let text = read(file).with_context(|| name.clone())?;
    let feed = match Changefeed::from_yaml(&text) {
        Ok(feed) => feed,
        Err(error) => return Ok(refuse(&name, error.to_string().lines())),
    };
    let document: Value = serde_yaml::from_str(&text).with_context(|| name.clone())?;
    let cluster = match Cluster::connect(args).await {
        Ok(cluster) => cluster,
        Err(error) => return unchecked(&name, &format!("{error:#}")),
    };
    let namespace = namespace(&feed, args, &cluster)?;
    let api: Api<Changefeed> = Api::namespaced(cluster.client.clone(), &namespace);
    let params = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some("kubectl-tidemark".into()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let feed_name = feed.metadata.name.unwrap_or_default();
    match api.patch(&feed_name, &params, &Patch::Apply(&document)).await {
        Ok(_) => {
            print(format!(
                "{name}: nothing wrong; the cluster would take it in namespace {namespace}\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if is_unreachable(&error) => unchecked(&name, &format!("{:#}", cluster.explain(error))),
        Err(kube::Error::Api(status)) if status.code == 401 || status.code == 403 => {
            unchecked(&name, &line(&status.message))
        }
        Err(kube::Error::Api(status)) if has_causes(&status) => {
            let lines = causes(&status);
            Ok(refuse(&name, lines.iter().map(String::as_str)))
        }
        Err(error) => {
            let said = format!("{:#}", cluster.explain(error));
            Ok(refuse(&name, [said.as_str()].into_iter()))
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// The file's namespace, else that of the command line or the context.
fn namespace(feed: &Changefeed, args: &ClusterArgs, cluster: &Cluster) -> Result<String> {
    match (&feed.metadata.namespace, &args.namespace) {
        (Some(own), Some(asked)) if own != asked => {
            bail!("metadata.namespace is {own:?}, but --namespace says {asked:?}")
        }
        (Some(own), _) => Ok(own.clone()),
        (None, _) => Ok(cluster.namespace.clone()),
    }
}

fn unchecked(name: &str, why: &str) -> Result<ExitCode> {
    print(format!(
        "{name}: nothing wrong as far as can be told without a cluster: {}\n",
        line(why)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn refuse<'a>(name: &str, lines: impl Iterator<Item = &'a str>) -> ExitCode {
    for text in lines {
        eprintln!("{name}: {text}");
    }
    ExitCode::FAILURE
}

fn has_causes(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| !details.causes.is_empty())
}

/// What the API server holds against it, a line each.
fn causes(status: &Status) -> Vec<String> {
    let all = status.details.iter().flat_map(|details| &details.causes);
    let mut lines: Vec<_> = all
        .map(|cause| match cause.field.as_str() {
            "" | "<nil>" => line(&cause.message),
            field => format!("{field}: {}", line(&cause.message)),
        })
        .collect();
    lines.dedup();
    lines
}

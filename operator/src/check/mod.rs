//! `check`: looks at an installation from inside the cluster, and says of each thing whether it is as it has to be.

mod definition;
mod feeds;
mod lease;
mod rights;

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;

use crate::Error;
use crate::cli::CheckArgs;
use crate::controller::Scope;
use crate::deadline::bounded;

/// What was just installed gets so long to settle, and a Lease to be renewed: it is every 2 s.
const WINDOW: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// The oldest Kubernetes 1.x that Tidemark is made for.
const OLDEST_MINOR: u32 = 33;

/// What holds, or what is wrong and how to mend it; one line.
type Finding = Result<String, String>;

/// All that was looked at, a line each.
#[derive(Debug)]
pub struct Findings(Vec<(&'static str, Finding)>);

impl Findings {
    /// Whether nothing is wrong.
    pub fn all_hold(&self) -> bool {
        self.0.iter().all(|(_, finding)| finding.is_ok())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (subject, finding) in &self.0 {
            match finding {
                Ok(words) => writeln!(f, "ok     {subject}: {words}")?,
                Err(words) => writeln!(f, "WRONG  {subject}: {words}")?,
            }
        }
        Ok(())
    }
}

/// Looks at everything; fails where there is no way to any API server.
pub async fn check(args: &CheckArgs) -> anyhow::Result<Findings> {
    let client = Client::try_default()
        .await
        .context("no way to the API server: run in a pod, or set KUBECONFIG")?;
    let own = args.own_namespace.clone();
    let own = own.unwrap_or_else(|| client.default_namespace().to_owned());
    let scope = args.serves.scope();
    let server = server(&client).await;
    let answers = server.is_ok();
    let mut findings = Findings(vec![("API server", server)]);
    if answers {
        let (definition, lease, rights, feeds) = tokio::join!(
            Box::pin(definition::look(&client)),
            Box::pin(lease::look(&client, &own)),
            Box::pin(rights::look(&client, &scope, &own)),
            Box::pin(feeds::look(&client, &scope)),
        );
        let rest = [("definition", definition), ("leader", lease), ("rights", rights)];
        findings.0.extend(rest);
        findings.0.extend(feeds.map(|feeds| ("feeds", feeds)));
    }
    Ok(findings)
}

/// Whether the API server answers, and is new enough.
async fn server(client: &Client) -> Finding {
    let version = bounded("version of the API server", client.apiserver_version()).await;
    let version = version.map_err(|error| {
        format!(
            "{}: look whether it runs, and whether a NetworkPolicy keeps this pod from it",
            brief(&error)
        )
    })?;
    judge_version(&version.major, &version.minor, &version.git_version)
}

fn judge_version(major: &str, minor: &str, name: &str) -> Finding {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let is_old = major == "1" && digits.parse().is_ok_and(|minor: u32| minor < OLDEST_MINOR);
    if is_old {
        return Err(format!(
            "it is {name}: Tidemark needs 1.{OLDEST_MINOR} or newer, upgrade the cluster"
        ));
    }
    Ok(format!("{name} answers"))
}

/// An error in one line that people can read: the API server's words, or what is at the bottom of it.
fn brief(error: &Error) -> String {
    let Error::Api { what, source } = error else {
        return error.to_string();
    };
    if let Some(answer) = error.answer() {
        return format!("{what}: {}", answer.message);
    }
    let mut root: &dyn std::error::Error = source.as_ref();
    while let Some(deeper) = root.source() {
        root = deeper;
    }
    format!("{what}: {root}")
}

/// The namespaces of a scope in words.
fn place(scope: &Scope) -> String {
    match scope {
        Scope::All => "all namespaces".into(),
        Scope::Namespaces(names) => names.join(", "),
    }
}

/// The first few of a list, and how many are left.
fn few(mut list: Vec<String>) -> String {
    const FEW: usize = 4;
    let left = list.len().saturating_sub(FEW);
    list.truncate(FEW);
    match left {
        0 => list.join(", "),
        left => format!("{} and {left} more", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_out_and_counts() {
        let good = ("API server", Ok("v1.36.3 answers".to_owned()));
        let bad = ("rights", Err("get pods is missing: grant it".to_owned()));
        let findings = Findings(vec![good.clone()]);
        assert!(findings.all_hold());
        let findings = Findings(vec![good, bad]);
        assert!(!findings.all_hold());
        assert_eq!(
            findings.to_string(),
            "ok     API server: v1.36.3 answers\nWRONG  rights: get pods is missing: grant it\n"
        );
    }

    #[test]
    fn a_server_that_is_too_old_is_told() {
        assert_eq!(judge_version("1", "36", "v1.36.3"), Ok("v1.36.3 answers".into()));
        assert_eq!(
            judge_version("1", "33+", "v1.33.1-x"),
            Ok("v1.33.1-x answers".into())
        );
        let old = judge_version("1", "29+", "v1.29.0-x").unwrap_err();
        assert!(old.contains("needs 1.33 or newer"), "{old}");
    }

    #[test]
    fn long_lists_are_cut() {
        let list = |count: usize| few((0..count).map(|n| n.to_string()).collect());
        assert_eq!(list(4), "0, 1, 2, 3");
        assert_eq!(list(6), "0, 1, 2, 3 and 2 more");
    }
}

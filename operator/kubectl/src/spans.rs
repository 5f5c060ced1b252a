//! `spans`: what the feed's owner tells of each span, through the API server.

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;
use tidemark_crds::Changefeed;

use crate::cli::Output;
use crate::cluster::{Cluster, full_name};
use crate::output::{Table, print};
use crate::times::{age, of_ts};

/// A span as the owner tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    span: String,
    table: Option<i64>,
    physical: Option<i64>,
    member: Option<String>,
    state: String,
    checkpoint_ts: Option<String>,
}

pub(crate) async fn run(cluster: &Cluster, name: &str, output: Output, port: u16) -> Result<()> {
    let feed = cluster.feed(name).await?;
    let owner = owner(&feed)?;
    let pods = Pod::url_path(&(), Some(&cluster.namespace));
    let pod = format!("http:{owner}:{port}");
    let request = Request::new(pods).get_subresource("proxy/spans", &pod);
    let answer = cluster.client.request_text(request.context("request")?).await;
    let text = answer.map_err(|error| {
        let status = match &error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
        let hint = match status {
            Some(403) => " (it takes the right to get pods/proxy)",
            Some(404) => " (the pod is gone; another worker will own the feed soon)",
            _ => "",
        };
        anyhow!("{owner} gives no answer: {:#}{hint}", cluster.explain(error))
    })?;
    let spans: Vec<Value> =
        serde_json::from_str(&text).with_context(|| format!("{owner} answers strangely"))?;
    let spans = sorted(spans)?;
    match output {
        Output::Json => {
            let all: Vec<_> = spans.into_iter().map(|(_, value)| value).collect();
            print(format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
        Output::Table => print(table(spans.iter().map(|(span, _)| span), Timestamp::now())),
    }
}

fn owner(feed: &Changefeed) -> Result<&str> {
    let status = feed.status.as_ref();
    match status.and_then(|status| status.owner.as_deref()) {
        Some(owner) if !owner.is_empty() => Ok(owner),
        _ => bail!(
            "{} has no owner that could be asked: no worker streams it (spec.state is {:?})",
            full_name(feed),
            feed.spec.state
        ),
    }
}

/// The lowest checkpoint first; what has none yet before all.
fn sorted(values: Vec<Value>) -> Result<Vec<(Span, Value)>> {
    let mut spans = Vec::new();
    for value in values {
        let span: Span = serde_json::from_value(value.clone()).context("the owner answers strangely")?;
        spans.push((span, value));
    }
    spans.sort_by_cached_key(|(span, _)| {
        let checkpoint = span
            .checkpoint_ts
            .as_deref()
            .and_then(|text| text.parse::<u64>().ok());
        (checkpoint, span.span.clone())
    });
    Ok(spans)
}

fn table<'a>(spans: impl Iterator<Item = &'a Span>, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "SPAN",
        "TABLE",
        "PHYSICAL",
        "MEMBER",
        "STATE",
        "CHECKPOINT",
        "BEHIND",
    ]);
    let number = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
    for span in spans {
        let time = span.checkpoint_ts.as_deref().and_then(of_ts);
        table.row([
            span.span.clone(),
            number(span.table),
            number(span.physical),
            span.member.clone().unwrap_or_default(),
            span.state.clone(),
            span.checkpoint_ts.clone().unwrap_or_default(),
            time.map(|time| age(time, now)).unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{feed, new_feed, noon};

    #[test]
    fn the_span_farthest_behind_comes_first() {
        let span = |name: &str, ms: u64| {
            let ts = (ms << 18).to_string();
            json!({"span": name, "table": 1, "physical": 2, "member": "orders-0", "state": "streaming", "checkpointTs": ts, "more": 1})
        };
        let waiting =
            json!({"span": "shop.new", "table": 3, "physical": 3, "member": null, "state": "unassigned"});
        // As text the second would come first.
        let all = vec![span("shop.b", 1_769_860_799_000), span("shop.a", 900), waiting];
        let sorted = sorted(all).unwrap();
        let names: Vec<_> = sorted.iter().map(|(span, _)| span.span.as_str()).collect();
        assert_eq!(names, ["shop.new", "shop.a", "shop.b"]);
        assert_eq!(
            sorted[2].1["more"], 1,
            "what is told besides is kept for programs"
        );
        let shown = table(sorted.iter().map(|(span, _)| span), noon()).to_string();
        let expected = "\
SPAN       TABLE   PHYSICAL   MEMBER     STATE        CHECKPOINT           BEHIND
shop.new   3       3          -          unassigned   -                    -
shop.a     1       2          orders-0   streaming    235929600            20484d
shop.b     1       2          orders-0   streaming    463958389293056000   1s
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_an_owner_nobody_can_be_asked() {
        assert_eq!(owner(&feed()).unwrap(), "orders-0");
        let message = owner(&new_feed()).unwrap_err().to_string();
        assert!(message.starts_with("shop/orders has no owner"), "{message}");
    }
}

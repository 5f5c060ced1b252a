use std::time::Duration;

use anyhow::Result;

use crate::actor::{Actor, Cost};
use crate::arguments::{Arguments, Sizes};
use crate::source::Source;
use crate::subject::{Subject, blackhole};
use crate::table::{Table, mebibytes, ratio};

/// What regions send while nothing happens.
const INTERVAL: Duration = Duration::from_millis(200);
/// After the last scan, before measuring.
const SETTLE: Duration = Duration::from_secs(3);

/// Memory and CPU of a worker that follows very many regions in which nothing happens.
pub(crate) async fn measure(arguments: &Arguments, sizes: &Sizes, table: &mut Table) -> Result<()> {
    eprintln!("idle: {} regions", sizes.regions);
    let source = Source::start(0, sizes.regions, INTERVAL).await?;
    let binary = arguments.worker()?;
    let mut subject = Subject::start(&binary, &source.report, blackhole(), None).await?;
    subject.initialised(sizes.regions).await?;
    let subscribed = subject.cost(0)?;
    eprintln!(
        "    all subscribed after {:.1?}, CPU {:.1?}",
        subscribed.wall, subscribed.cpu
    );
    tokio::time::sleep(SETTLE).await;
    subject.reset().await?;
    let before = source.cpu()?;
    tokio::time::sleep(sizes.idle).await;
    let worker = subject.cost(0)?;
    let busy = (source.cpu()? - before).as_secs_f64() / worker.wall.as_secs_f64();
    eprintln!("    the source took {:.0} % of a core meanwhile", busy * 100.0);
    subject.end().await?;

    let mut drain = Actor::start(
        "drain",
        &[
            ("pd", source.report.pd.clone()),
            ("table", source.report.table.to_string()),
            ("start-ts", source.report.last_ts.to_string()),
            ("rows", "0".to_owned()),
            ("seconds", sizes.idle.as_secs().to_string()),
        ],
    )?;
    let bare: Cost = drain.report().await?;

    let percent = |cost: &Cost| format!("{:.1} % of a core", cost.share() * 100.0);
    table.heading(&format!(
        "{} idle regions, a resolved ts each {INTERVAL:?}",
        sizes.regions
    ));
    table.add(
        "  CPU",
        percent(&worker),
        format!("bare gRPC drain {}", percent(&bare)),
        ratio(worker.share(), bare.share()),
        "<= 10 %",
    );
    table.add(
        "  resident memory",
        mebibytes(worker.rss),
        format!("bare gRPC drain {}", mebibytes(bare.rss)),
        ratio(worker.rss as f64, bare.rss as f64),
        "<= 100 MB",
    );
    table.add(
        "  its peak, while subscribing",
        mebibytes(worker.peak_rss),
        String::new(),
        None,
        "",
    );
    table.add(
        "  until all are subscribed",
        format!("{:.1?}", subscribed.wall),
        format!("CPU {:.1?}", subscribed.cpu),
        None,
        "",
    );
    Ok(())
}

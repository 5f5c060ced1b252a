//! Judges a stream from the command line: exit code 0 only if all invariants hold, 1 if one is broken, 2 if the stream
//! can't be judged.

mod args;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tidemark_judge::source::{
    KafkaReader, KafkaSource, SourceError, StorageReader, StorageSource, Topics, Until,
};
use tidemark_judge::{Judge, Verdict, read_truth};
use tokio::time::{Instant, MissedTickBehavior, interval};

use args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    // A closed pipe can't be told of anywhere; the exit code says the rest.
    match run(&args) {
        Ok(verdict) => {
            let _ = write!(out, "{verdict}");
            ExitCode::from(u8::from(!verdict.holds()))
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cannot judge: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Verdict> {
    let truth = read_truth(&args.truth)?;
    let newest = truth
        .iter()
        .map(|row| row.commit_ts)
        .max()
        .context("the truth file holds no rows")?;
    let must_reach = args.must_reach.unwrap_or(newest);
    let mut judge = Judge::new(truth, args.settings(must_reach));
    let patience = Duration::from_secs(args.deadline);
    let read = match (&args.kafka, &args.storage) {
        (Some(brokers), _) => read_kafka(args, brokers, must_reach, patience, &mut judge),
        (None, Some(url)) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(read_storage(args, url, must_reach, patience, &mut judge))
        }
        (None, None) => anyhow::bail!("give --kafka or --storage"),
    };
    match read {
        // What was read until then is judged; the verdict says that it doesn't reach far enough.
        Err(SourceError::Deadline { waiting_for, so_far }) => {
            let _ = writeln!(
                std::io::stderr(),
                "{waiting_for} did not come in time; so far: {so_far}"
            );
        }
        other => other?,
    }
    Ok(judge.verdict())
}

fn read_kafka(
    args: &Args,
    brokers: &str,
    must_reach: u64,
    patience: Duration,
    judge: &mut Judge,
) -> Result<(), SourceError> {
    let topics = match &args.topic_prefix {
        Some(prefix) => Topics::Prefix(prefix.clone()),
        None => Topics::Names(args.topics.clone()),
    };
    let mut reader = KafkaReader::new(KafkaSource {
        brokers: brokers.to_owned(),
        topics,
        properties: args.kafka_properties.clone(),
    })?;
    let until = if args.to_end {
        Until::End
    } else {
        Until::Watermark(must_reach)
    };
    reader.read(until, patience, &mut |sighting| judge.take(sighting))
}

async fn read_storage(
    args: &Args,
    url: &str,
    must_reach: u64,
    patience: Duration,
    judge: &mut Judge,
) -> Result<(), SourceError> {
    let mut reader = StorageReader::new(StorageSource {
        url: url.to_owned(),
        options: args.storage_options.clone(),
        format: args.storage_format(),
    })?;
    let deadline = Instant::now() + patience;
    let mut ticks = interval(Duration::from_millis(500));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let checkpoint = reader.poll(&mut |sighting| judge.take(sighting)).await?;
        if args.to_end || checkpoint.is_some_and(|checkpoint| checkpoint >= must_reach) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(SourceError::Deadline {
                waiting_for: format!("checkpoint {must_reach}"),
                so_far: format!("checkpoint {checkpoint:?}"),
            });
        }
    }
}

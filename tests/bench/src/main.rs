//! `tidemark-bench`: what the worker costs, against ceilings measured in the same run.
//!
//! Every actor is a process of its own, so that its CPU time and memory can be read: this binary runs itself again
//! as the source, the bare drain, the bare producer and the bare file writer.
#![allow(clippy::print_stdout, reason = "its output is for people")]

mod actor;
mod arguments;
mod cost;
mod drain;
mod idle;
mod latency;
mod orders;
mod produce;
mod records;
mod source;
mod subject;
mod table;
mod write;
mod writer;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, Role};

// The worker's allocator, so that the bare actors have no worse one.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.role {
        None => Box::pin(run(&arguments)).await,
        Some(Role::Source(args)) => Box::pin(source::host(args)).await,
        Some(Role::Drain(args)) => Box::pin(drain::drain(args)).await,
        Some(Role::Produce(args)) => produce::produce(args),
        Some(Role::Write(args)) => write::write(args),
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let sizes = arguments.sizes();
    let mut table = table::Table::default();
    if arguments.runs("cost") {
        Box::pin(cost::measure(arguments, &sizes, &mut table)).await?;
    }
    if arguments.runs("idle") {
        Box::pin(idle::measure(arguments, &sizes, &mut table)).await?;
    }
    if arguments.runs("latency") {
        Box::pin(latency::measure(arguments, &sizes, &mut table)).await?;
    }
    print!("{table}");
    Ok(())
}

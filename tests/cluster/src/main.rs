//! `tikv-embedded`: an in-memory TiKV cluster for trying things out, and the commands that disturb it.
#![allow(clippy::print_stdout)] // Its output is for people.

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidemark_cluster::control::{self, Command};
use tidemark_cluster::{Cluster, ClusterConfig};
use tokio::net::TcpListener;

/// An in-memory TiKV cluster: PD, TiKV and its change feed over real sockets of this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a cluster and keep it until Ctrl-C. All data is in memory.
    Start(Start),
    /// Do something to a running cluster.
    Ctl {
        /// The control port of the cluster.
        #[arg(long, default_value = "127.0.0.1:2378")]
        control: String,
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(clap::Args)]
struct Start {
    /// TiKV stores.
    #[arg(long, default_value_t = 3)]
    stores: usize,
    /// Regions besides those of a fresh cluster: one for each table id from 101 on.
    #[arg(long, default_value_t = 8)]
    regions: u16,
    /// PD members.
    #[arg(long, default_value_t = 1)]
    pd_members: usize,
    /// Port of the first PD member; 0 for any.
    #[arg(long, default_value_t = 2379)]
    pd_port: u16,
    /// Port of the first store; 0 for any.
    #[arg(long, default_value_t = 20160)]
    store_port: u16,
    /// Port for `tikv-embedded ctl`; 0 for any.
    #[arg(long, default_value_t = 2378)]
    control_port: u16,
    /// Milliseconds between resolved timestamps.
    #[arg(long, default_value_t = 200)]
    resolved_ts_interval_ms: u64,
    /// Decides what is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().action {
        Action::Start(settings) => start(settings).await,
        Action::Ctl { control, command } => {
            let answer = control::ask(&control, &command).await?;
            println!("{}", serde_json::to_string_pretty(&answer)?);
            Ok(())
        }
    }
}

/// First table id that TiDB gives to a user's table, about.
const FIRST_TABLE: i64 = 101;

/// The first keys of so many tables, for a region each: `t` and the table id, big-endian with the sign flipped.
fn split_keys(tables: u16) -> Vec<Vec<u8>> {
    let start = |at: u16| {
        let id = (FIRST_TABLE + i64::from(at)).cast_unsigned() ^ 1 << 63;
        [&b"t"[..], &id.to_be_bytes()].concat()
    };
    (0..tables).map(start).collect()
}

async fn start(settings: Start) -> anyhow::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], settings.control_port));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("control port {address} can't be bound; choose another with --control-port")
    })?;
    let control = listener.local_addr()?;
    let config = ClusterConfig {
        stores: settings.stores,
        pd_members: settings.pd_members,
        pd_port: settings.pd_port,
        store_port: settings.store_port,
        split_keys: split_keys(settings.regions),
        seed: settings.seed,
        resolved_ts_interval: std::time::Duration::from_millis(settings.resolved_ts_interval_ms),
        ..Default::default()
    };
    let cluster = Cluster::start(config).await?;
    println!(
        "TiKV cluster {} runs in this process; its data is gone when it ends (Ctrl-C).",
        cluster.cluster_id()
    );
    println!("  PD:      {}", cluster.pd_endpoints().join(" "));
    for store in cluster.stores() {
        println!("  store {store}: {}", cluster.store_address(store)?);
    }
    println!("  regions: {}", cluster.regions().len());
    println!("Point any TiKV client at PD. To disturb it, from another terminal:");
    println!("  tikv-embedded ctl --control {control} regions");
    println!("  tikv-embedded ctl --control {control} split some-key");
    println!("  tikv-embedded ctl --control {control} kill-store 1");
    println!("  tikv-embedded ctl --help");
    tokio::select! {
        ended = control::serve(listener, cluster) => ended.context("the control port failed"),
        stopped = tokio::signal::ctrl_c() => stopped.context("Ctrl-C can't be awaited"),
    }
}

#[cfg(test)]
mod tests {
    use super::split_keys;

    #[test]
    fn each_table_has_a_region() {
        let keys = split_keys(2);
        assert_eq!(keys[0], b"t\x80\0\0\0\0\0\0\x65");
        assert_eq!(keys[1], b"t\x80\0\0\0\0\0\0\x66");
    }
}

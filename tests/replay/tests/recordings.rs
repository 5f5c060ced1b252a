//! Every recording of a real TiKV gives exactly its truth, and a damaged one does not.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tidemark_proto::cdcpb::event::{self, LogType};
use tidemark_replay::check::check;
use tidemark_replay::recording::{Recording, What};

fn folder(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data/recordings")
        .join(scenario)
}

async fn assert_exact(scenario: &str) {
    let recording = Recording::load(&folder(scenario)).unwrap();
    let report = check(&recording).await.unwrap();
    assert!(report.versions > 0);
    eprintln!("{scenario}: {report:?}");
}

macro_rules! recordings {
    ($($name:ident),*) => {$(
        #[tokio::test]
        async fn $name() {
            assert_exact(stringify!($name)).await;
        }
    )*};
}

recordings!(
    bigtxn,
    filters,
    manyregions,
    mixed,
    oldserver,
    pdrestart,
    resume,
    silentrollback,
    splitmerge,
    stores,
    stucklock,
    tables
);

#[test]
fn no_recording_is_left_out() {
    let all = fs::read_dir(folder(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(all.count(), 12);
}

/// Changes the first row of the kind in the recorded feed; `None` from `change` drops it.
async fn error_after(kind: LogType, change: impl Fn(&mut event::Row) -> Option<()>) -> String {
    let mut recording = Recording::load(&folder("tables")).unwrap();
    let wanted = |row: &event::Row| row.r#type() == kind && row.key.starts_with(b"t");
    let span = recording.subscriptions[1].span.clone();
    'changed: for record in &mut recording.feed {
        let What::Event(message) = &mut record.what else {
            continue;
        };
        for event in &mut message.events {
            let Some(tidemark_proto::cdcpb::event::Event::Entries(entries)) = &mut event.event else {
                continue;
            };
            let found = entries
                .entries
                .iter()
                .position(|row| wanted(row) && span.contains(&row.key));
            if let Some(at) = found {
                if change(&mut entries.entries[at]).is_none() {
                    entries.entries.remove(at);
                }
                break 'changed;
            }
        }
    }
    format!("{:#}", check(&recording).await.unwrap_err())
}

#[tokio::test]
async fn a_lost_commit_is_noticed() {
    let error = error_after(LogType::Commit, |_| None).await;
    assert!(error.contains("is lost"), "{error}");
}

#[tokio::test]
async fn an_altered_value_is_noticed() {
    let error = error_after(LogType::Committed, |row| {
        row.value = b"altered".as_slice().into();
        Some(())
    })
    .await;
    assert!(error.contains("another value"), "{error}");
}

#[tokio::test]
async fn an_altered_commit_ts_is_noticed() {
    let error = error_after(LogType::Committed, |row| {
        row.commit_ts += 1;
        Some(())
    })
    .await;
    assert!(
        error.contains("is lost") || error.contains("never committed"),
        "{error}"
    );
}

#[test]
fn a_cut_off_file_is_noticed() {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder("tables")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    assert!(Recording::load(copy.path()).is_ok());
    let feed = copy.path().join("feed.rec.gz");
    let whole = fs::read(&feed).unwrap();
    fs::write(&feed, &whole[..whole.len() - 100]).unwrap();
    assert!(Recording::load(copy.path()).is_err());
}

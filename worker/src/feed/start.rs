use jiff::Timestamp;
use tidemark_crds::Start;
use tidemark_model::Ts;

use crate::error::FeedError;

/// What a cluster says about which timestamps can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// PD's timestamp now.
    pub(crate) now: Ts,
    /// Versions below it may be gone.
    pub(crate) gc_safe_point: Ts,
}

/// Where a feed's checkpoint is kept, which decides what a person can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the worker's state folder.
    InFolder,
    /// In the resource's status, where it can't be lowered, as `spec.start` can't be changed.
    InStatus,
}

/// Where a run begins: after the saved checkpoint, else where the feed says.
pub(crate) fn decide(start: &Start, saved: Option<Ts>, clock: Clock, kept: Kept) -> Result<Ts, FeedError> {
    let (field, ts) = match (saved, &start.ts, &start.time) {
        (Some(checkpoint), ..) => match kept {
            Kept::InFolder => ("saved checkpoint", checkpoint),
            Kept::InStatus => ("status.checkpointTs", checkpoint),
        },
        (None, Some(ts), _) => ("spec.start.ts", parse_ts(ts)?),
        (None, None, Some(time)) => ("spec.start.time", parse_time(time)?),
        (None, None, None) => return Ok(clock.now),
    };
    if ts > clock.now {
        let mend = match (kept, saved) {
            (Kept::InStatus, Some(_)) => "someone else wrote it, and it can't be lowered: make a new feed",
            (Kept::InStatus, None) => "make a new feed with an earlier one",
            (Kept::InFolder, _) => "give an earlier one",
        };
        return Err(FeedError::Stopped(format!(
            "{field}: {ts} lies in the future of the cluster, whose clock stands at {}: {mend}",
            clock.now
        )));
    }
    if ts < clock.gc_safe_point {
        let mend = match kept {
            Kept::InFolder => {
                "begin at or after it, with an empty state folder and fresh copies of the tables"
            }
            Kept::InStatus => "make a new feed that begins at or after it, with fresh copies of the tables",
        };
        return Err(FeedError::Stopped(format!(
            "{field}: {ts} lies below the cluster's GC safe point {}, so history is missing: {mend}",
            clock.gc_safe_point
        )));
    }
    Ok(ts)
}

fn parse_ts(text: &str) -> Result<Ts, FeedError> {
    text.parse()
        .map_err(|_| FeedError::Stopped(format!("spec.start.ts: {text:?} is no timestamp")))
}

fn parse_time(text: &str) -> Result<Ts, FeedError> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| FeedError::Stopped(format!("spec.start.time: {text:?} is no time")))?;
    let ms = u64::try_from(time.as_millisecond())
        .map_err(|_| FeedError::Stopped(format!("spec.start.time: {text:?} lies before 1970")))?;
    Ok(Ts::new(ms, 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CLOCK: Clock = Clock {
        now: Ts(1000),
        gc_safe_point: Ts(500),
    };

    fn at(ts: &str) -> Start {
        Start {
            ts: Some(ts.into()),
            ..Start::default()
        }
    }

    #[test]
    fn the_checkpoint_comes_before_the_spec() {
        assert_eq!(
            decide(&at("600"), Some(Ts(700)), CLOCK, Kept::InFolder).unwrap(),
            Ts(700)
        );
        assert_eq!(decide(&at("600"), None, CLOCK, Kept::InFolder).unwrap(), Ts(600));
        assert_eq!(
            decide(&Start::default(), None, CLOCK, Kept::InFolder).unwrap(),
            Ts(1000)
        );
    }

    #[test]
    fn a_time_becomes_a_ts() {
        let start = Start {
            time: Some("1970-01-01T00:00:01Z".into()),
            ..Start::default()
        };
        let clock = Clock {
            now: Ts::new(2000, 0),
            gc_safe_point: Ts::ZERO,
        };
        assert_eq!(
            decide(&start, None, clock, Kept::InFolder).unwrap(),
            Ts::new(1000, 0)
        );
    }

    #[test]
    fn the_future_and_lost_history_are_refused() {
        let future = decide(&at("1001"), None, CLOCK, Kept::InFolder)
            .unwrap_err()
            .to_string();
        assert!(
            future.starts_with("spec.start.ts: 1001 lies in the future"),
            "{future}"
        );
        let lost = decide(&at("499"), None, CLOCK, Kept::InFolder)
            .unwrap_err()
            .to_string();
        assert!(lost.contains("below the cluster's GC safe point 500"), "{lost}");
        let lost = decide(&at("600"), Some(Ts(400)), CLOCK, Kept::InFolder)
            .unwrap_err()
            .to_string();
        assert!(lost.starts_with("saved checkpoint: 400"), "{lost}");
    }

    #[test]
    fn what_stands_in_a_status_is_mended_by_a_new_feed() {
        for saved in [Ts(400), Ts(1001)] {
            let refused = decide(&at("600"), Some(saved), CLOCK, Kept::InStatus);
            let words = refused.unwrap_err().to_string();
            let named = words.starts_with(&format!("status.checkpointTs: {saved}"));
            assert!(named && words.contains("make a new feed"), "{words}");
        }
    }
}

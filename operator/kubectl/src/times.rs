//! Times and how long ago they were.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidemark_model::Ts;

/// How long ago, as kubectl writes it: the longer, the coarser.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => format!("{hours}h{}m", minutes % 60),
        28_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// How long ago a time that may be unknown was.
pub(crate) fn age_of(since: Option<&Time>, now: Timestamp) -> String {
    since.map(|since| age(since.0, now)).unwrap_or_default()
}

/// The time of a ts in decimal text.
pub(crate) fn of_ts(text: &str) -> Option<Timestamp> {
    let ts: Ts = text.parse().ok()?;
    Timestamp::from_millisecond(i64::try_from(ts.physical_ms()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::noon;

    #[test]
    fn ages_get_coarser() {
        let of = |seconds: i64| {
            age(
                Timestamp::from_second(noon().as_second() - seconds).unwrap(),
                noon(),
            )
        };
        let shown = [0, 119, 125, 599, 3600, 4 * 3600 + 120, 36 * 3600, 3 * 86_400, -5].map(of);
        assert_eq!(
            shown,
            ["0s", "119s", "2m5s", "9m59s", "60m", "4h2m", "36h", "3d", "0s"]
        );
    }

    #[test]
    fn a_ts_has_a_time() {
        let ts = Ts::new(1_769_860_800_000, 7).to_string();
        assert_eq!(of_ts(&ts), Some(noon()));
        assert_eq!(of_ts("soon"), None);
    }
}

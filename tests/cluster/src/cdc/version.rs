//! What a client's metadata and version string make of its stream.

/// The one feature that `EventFeedV2` knows.
const MULTIPLEXING: &str = "stream-multiplexing";

/// Whether the `features` metadata (comma separated) asks for multiplexing.
///
/// # Errors
/// The unknown names, joined by commas: TiKV fails the stream with them.
pub(super) fn multiplexing(features: &str) -> Result<bool, String> {
    let names = features.split(',').map(str::trim).filter(|name| !name.is_empty());
    let (known, unknown): (Vec<_>, Vec<_>) = names.partition(|name| *name == MULTIPLEXING);
    if unknown.is_empty() {
        Ok(!known.is_empty())
    } else {
        Err(unknown.join(","))
    }
}

/// How resolved timestamps are put on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResolvedForm {
    /// Messages of many regions, one series per request id.
    PerRequest,
    /// Messages of many regions with request id 0.
    PerStream,
    /// One event per region: the deprecated form.
    PerRegion,
    /// None at all: a client older than 4.0.8 that asks for multiplexing (recording `filters`, streams 4 and 5).
    Nothing,
}

/// What the first request of a stream decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) resolved: ResolvedForm,
    /// Whether the client's cluster id is compared with ours.
    pub(super) checks_cluster: bool,
}

impl Dialect {
    pub(super) fn new(multiplexing: bool, ticdc_version: &str) -> Self {
        let version = parse(ticdc_version);
        let batched = version >= (4, 0, 8, true);
        let resolved = match (multiplexing, batched) {
            (true, true) => ResolvedForm::PerRequest,
            (false, true) => ResolvedForm::PerStream,
            (false, false) => ResolvedForm::PerRegion,
            (true, false) => ResolvedForm::Nothing,
        };
        Self {
            resolved,
            checks_cluster: version >= (5, 3, 0, true),
        }
    }
}

/// A semantic version as a tuple that compares as versions do; the last part is false for pre-releases.
/// What is no version counts as 0.0.0.
fn parse(version: &str) -> (u64, u64, u64, bool) {
    let without_build = version.split('+').next().unwrap_or_default();
    let (core, release) = match without_build.split_once('-') {
        Some((core, _)) => (core, false),
        None => (without_build, true),
    };
    let parts: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([major, minor, patch]) => (*major, *minor, *patch, release),
        _ => (0, 0, 0, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_features_are_named() {
        assert_eq!(multiplexing(""), Ok(false));
        assert_eq!(multiplexing("stream-multiplexing"), Ok(true));
        assert_eq!(
            multiplexing("stream-multiplexing,time-travel"),
            Err("time-travel".to_owned())
        );
        assert_eq!(multiplexing("a, b"), Err("a,b".to_owned()));
    }

    #[test]
    fn the_version_decides_the_form_of_resolved_timestamps() {
        let form = |multiplexing, version| Dialect::new(multiplexing, version).resolved;
        assert_eq!(form(true, "8.5.0"), ResolvedForm::PerRequest);
        assert_eq!(form(false, "4.0.8"), ResolvedForm::PerStream);
        assert_eq!(form(false, "4.0.8-beta"), ResolvedForm::PerRegion);
        assert_eq!(form(false, "4.0.0"), ResolvedForm::PerRegion);
        assert_eq!(form(true, "nightly"), ResolvedForm::Nothing);
        assert_eq!(form(false, ""), ResolvedForm::PerRegion);
    }

    #[test]
    fn clients_before_5_3_may_name_any_cluster() {
        assert!(Dialect::new(true, "5.3.0").checks_cluster);
        assert!(Dialect::new(true, "10.0.0-alpha+x").checks_cluster);
        assert!(!Dialect::new(true, "5.2.9").checks_cluster);
        assert!(!Dialect::new(true, "v8.5.0").checks_cluster);
    }
}

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone as Zone};
use tidemark_crds::{DateSeparator, StorageFormat};
use tidemark_model::Ts;
use tidemark_tidb::TimeZone;

/// Dates change at whole minutes in every zone in use.
const MINUTE_MS: u64 = 60_000;

/// The date folder of a commit ts.
///
/// TiCDC's documents name the transaction's commit date, its code takes the clock at the flush. Here it is the commit date:
/// a replay after a restart puts a row into the folder where it was before, and a reader that goes by folders
/// never meets an earlier transaction in a later one.
#[derive(Debug)]
pub(super) struct Dates {
    separator: DateSeparator,
    zone: Zone,
    minute: u64,
    text: String,
}

impl Dates {
    pub(super) fn new(separator: DateSeparator, zone: &TimeZone) -> Self {
        let zone = match zone {
            TimeZone::Utc => Zone::UTC,
            TimeZone::Fixed(seconds) => {
                Offset::from_seconds(*seconds).map_or(Zone::UTC, Offset::to_time_zone)
            }
            TimeZone::Named(zone) => zone.clone(),
        };
        Self {
            separator,
            zone,
            minute: u64::MAX,
            text: String::new(),
        }
    }

    /// `2006-01-02`, or what the separator leaves of it; empty without date folders.
    pub(super) fn of(&mut self, commit_ts: Ts) -> &str {
        let minute = commit_ts.physical_ms() / MINUTE_MS;
        if minute != self.minute && self.separator != DateSeparator::None {
            self.minute = minute;
            let ms = i64::try_from(commit_ts.physical_ms()).unwrap_or(i64::MAX);
            let date = Timestamp::from_millisecond(ms)
                .unwrap_or(Timestamp::MAX)
                .to_zoned(self.zone.clone())
                .date();
            self.text = match self.separator {
                DateSeparator::None => String::new(),
                DateSeparator::Year => format!("{:04}", date.year()),
                DateSeparator::Month => format!("{:04}-{:02}", date.year(), date.month()),
                DateSeparator::Day => date.to_string(),
            };
        }
        &self.text
    }
}

/// The names of a folder's data files: `CDC000001.json`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileNames {
    pub(super) digits: usize,
    pub(super) extension: &'static str,
}

impl FileNames {
    pub(super) fn new(digits: u8, format: StorageFormat) -> Self {
        Self {
            digits: usize::from(digits),
            extension: match format {
                StorageFormat::CanalJson => "json",
                StorageFormat::Csv => "csv",
            },
        }
    }

    pub(super) fn name(self, number: u64) -> String {
        format!("CDC{number:0width$}.{}", self.extension, width = self.digits)
    }

    /// The number in a name of any width, or in the line of an index file.
    pub(super) fn number(line: &str) -> Option<u64> {
        let (digits, _) = line.trim_end().strip_prefix("CDC")?.split_once('.')?;
        digits.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // 2023-11-14 22:13:20 UTC
    const NIGHT: Ts = Ts::new(1_700_000_000_000, 5);

    #[test]
    fn dates_follow_the_zone() {
        let date = |separator, zone: &str| {
            Dates::new(separator, &TimeZone::parse(zone).unwrap())
                .of(NIGHT)
                .to_owned()
        };
        assert_eq!(date(DateSeparator::Day, "UTC"), "2023-11-14");
        assert_eq!(date(DateSeparator::Day, "+08:00"), "2023-11-15");
        assert_eq!(date(DateSeparator::Day, "Asia/Tokyo"), "2023-11-15");
        assert_eq!(date(DateSeparator::Month, "UTC"), "2023-11");
        assert_eq!(date(DateSeparator::Year, "UTC"), "2023");
        assert_eq!(date(DateSeparator::None, "UTC"), "");
    }

    #[test]
    fn dates_change_at_midnight() {
        let mut dates = Dates::new(DateSeparator::Day, &TimeZone::Utc);
        let midnight = 1_700_006_400_000;
        assert_eq!(dates.of(Ts::new(midnight - 1, 0)), "2023-11-14");
        assert_eq!(dates.of(Ts::new(midnight, 0)), "2023-11-15");
        assert_eq!(dates.of(Ts::new(midnight - 1, 0)), "2023-11-14");
    }

    #[test]
    fn names_and_numbers_agree() {
        let names = FileNames::new(6, StorageFormat::Csv);
        assert_eq!(names.name(12), "CDC000012.csv");
        assert_eq!(names.name(1_234_567), "CDC1234567.csv");
        assert_eq!(FileNames::number("CDC000012.csv\n"), Some(12));
        assert_eq!(FileNames::number("CDC00000000000000000007.json"), Some(7));
        assert_eq!(FileNames::number("nonsense"), None);
    }
}

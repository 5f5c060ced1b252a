use jiff::Timestamp;
use thiserror::Error;

use crate::codec::time::Civil;

/// The zone that TIMESTAMP values are shown in; they are stored in UTC.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeZone {
    /// UTC: no conversion at all.
    Utc,
    /// A fixed offset in seconds east of UTC.
    Fixed(i32),
    /// A named zone with its own rules.
    Named(jiff::tz::TimeZone),
}

/// The text names no time zone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "time zone {0:?} is unknown; use UTC, an offset such as +08:00, or an IANA name such as Europe/Berlin"
)]
pub struct ZoneError(String);

impl TimeZone {
    /// Reads `UTC`, `±hh:mm` up to 15 hours, or an IANA name.
    ///
    /// # Errors
    /// If there is no such zone in the system's database.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let unknown = || ZoneError(text.to_owned());
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Self::Utc);
        }
        if text.starts_with(['+', '-']) {
            return match parse_offset(text).ok_or_else(unknown)? {
                0 => Ok(Self::Utc),
                seconds => Ok(Self::Fixed(seconds)),
            };
        }
        jiff::tz::TimeZone::get(text)
            .map(Self::Named)
            .map_err(|_| unknown())
    }

    /// The stored time as it shows in this zone. Zero dates and days that don't exist stay as they are.
    pub fn localise(&self, utc: Civil) -> Civil {
        let offset = match self {
            Self::Utc => return utc,
            Self::Fixed(seconds) => *seconds,
            Self::Named(zone) => {
                let moment = utc.epoch_seconds().map(Timestamp::from_second);
                let Some(Ok(moment)) = moment else { return utc };
                zone.to_offset(moment).seconds()
            }
        };
        utc.shifted(offset.into()).unwrap_or(utc)
    }
}

fn parse_offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let plain =
        |part: &str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(hours) || !plain(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(zone: &str, utc: &str) -> String {
        let mut out = Vec::new();
        let local = TimeZone::parse(zone)
            .unwrap()
            .localise(Civil::from_text(utc).unwrap());
        local.write_datetime(6, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_show_in_the_zone() {
        assert_eq!(
            shown("UTC", "2024-02-29 23:30:00.5"),
            "2024-02-29 23:30:00.500000"
        );
        assert_eq!(
            shown("+08:00", "2024-02-29 23:30:00"),
            "2024-03-01 07:30:00.000000"
        );
        assert_eq!(
            shown("-03:30", "2024-03-01 01:00:00"),
            "2024-02-29 21:30:00.000000"
        );
        assert_eq!(
            shown("Europe/Berlin", "2024-07-01 12:00:00"),
            "2024-07-01 14:00:00.000000"
        );
        assert_eq!(
            shown("Europe/Berlin", "2024-01-01 12:00:00"),
            "2024-01-01 13:00:00.000000"
        );
    }

    #[test]
    fn zero_dates_don_t_move() {
        assert_eq!(
            shown("+14:00", "0000-00-00 00:00:00"),
            "0000-00-00 00:00:00.000000"
        );
    }

    #[test]
    fn nonsense_is_no_zone() {
        for text in ["", "+", "+8", "+25:00", "+08:99", "Mars/Base", "+-1:00"] {
            assert!(TimeZone::parse(text).is_err(), "{text}");
        }
    }
}

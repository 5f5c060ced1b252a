//! Dates, times of day and durations: TiDB's packed form, the core form inside JSON, and their text.

use crate::ValueError;

use super::digits;

/// The parts of a date and time; each may be zero, as MySQL allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Civil {
    /// 0..=9999.
    pub year: u16,
    /// 0..=12.
    pub month: u8,
    /// 0..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=59.
    pub second: u8,
    /// 0..=999_999.
    pub micro: u32,
}

impl Civil {
    /// Takes apart the packed form of rows and keys:
    /// `(((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second) << 24 | micro`.
    ///
    /// # Errors
    /// If a part is out of its range.
    pub fn from_packed(packed: u64) -> Result<Self, ValueError> {
        let date = packed >> 41;
        let (months, clock) = (date >> 5, packed >> 24);
        Self::checked(
            [months / 13, months % 13, date & 31],
            [(clock >> 12) & 31, (clock >> 6) & 63, clock & 63],
            packed & 0xff_ffff,
        )
    }

    /// Takes apart the core form of JSON: year 63-50, month 49-46, day 45-41, hour 40-36, minute 35-30,
    /// second 29-24, microsecond 23-4. The low four bits say nothing there.
    ///
    /// # Errors
    /// If a part is out of its range.
    pub fn from_core(core: u64) -> Result<Self, ValueError> {
        Self::checked(
            [core >> 50, (core >> 46) & 15, (core >> 41) & 31],
            [(core >> 36) & 31, (core >> 30) & 63, (core >> 24) & 63],
            (core >> 4) & 0xf_ffff,
        )
    }

    fn checked(date: [u64; 3], clock: [u64; 3], micro: u64) -> Result<Self, ValueError> {
        let [year, month, day] = date;
        let [hour, minute, second] = clock;
        let fits = year <= 9999 && month <= 12 && day <= 31 && hour <= 23 && minute <= 59 && second <= 59;
        if !fits || micro > 999_999 {
            return Err(ValueError {
                what: "time",
                offset: 0,
                problem: "a part out of its range",
            });
        }
        let small = |part: u64| u8::try_from(part).unwrap_or(0);
        Ok(Self {
            year: u16::try_from(year).unwrap_or(0),
            month: small(month),
            day: small(day),
            hour: small(hour),
            minute: small(minute),
            second: small(second),
            micro: u32::try_from(micro).unwrap_or(0),
        })
    }

    /// The packed form.
    pub fn to_packed(self) -> u64 {
        let date = (u64::from(self.year) * 13 + u64::from(self.month)) << 5 | u64::from(self.day);
        let clock = u64::from(self.hour) << 12 | u64::from(self.minute) << 6 | u64::from(self.second);
        (date << 17 | clock) << 24 | u64::from(self.micro)
    }

    /// Seconds since the Unix epoch, read as UTC; `None` if there is no such day.
    pub fn epoch_seconds(self) -> Option<i64> {
        if self.month == 0 || self.day == 0 {
            return None;
        }
        let days = days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let clock = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Some(days * 86_400 + clock)
    }

    /// The same moment moved by so many seconds; `None` without a real day or beyond the year 9999.
    pub fn shifted(self, seconds: i64) -> Option<Self> {
        let moved = self.epoch_seconds()?.checked_add(seconds)?;
        let (days, clock) = (moved.div_euclid(86_400), moved.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let small = |part: i64| u8::try_from(part).ok();
        Some(Self {
            year: u16::try_from(year).ok().filter(|&year| year <= 9999)?,
            month: small(month)?,
            day: small(day)?,
            hour: small(clock / 3600)?,
            minute: small(clock / 60 % 60)?,
            second: small(clock % 60)?,
            micro: self.micro,
        })
    }

    /// Reads `YYYY-MM-DD[( |T)HH:MM:SS[.ffffff]]`.
    pub fn from_text(text: &str) -> Option<Self> {
        let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
        let mut date = date.splitn(3, '-').map(str::parse::<u64>);
        let date = [date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?];
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut clock = clock.splitn(3, ':').map(str::parse::<u64>);
        let clock = [clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?];
        Self::checked(date, clock, fraction_units(fraction, 6)?).ok()
    }

    /// Appends `YYYY-MM-DD`.
    pub fn write_date(self, out: &mut Vec<u8>) {
        digits::write_padded(u64::from(self.year), 4, out);
        for part in [self.month, self.day] {
            out.push(b'-');
            digits::write_padded(u64::from(part), 2, out);
        }
    }

    /// Appends `YYYY-MM-DD HH:MM:SS[.f]` with `fsp` fraction digits.
    pub fn write_datetime(self, fsp: usize, out: &mut Vec<u8>) {
        self.write_date(out);
        for (mark, part) in [(b' ', self.hour), (b':', self.minute), (b':', self.second)] {
            out.push(mark);
            digits::write_padded(u64::from(part), 2, out);
        }
        write_fraction(self.micro, fsp, out);
    }
}

/// Appends a duration as `[-]HH:MM:SS[.f]` with `fsp` fraction digits; hours may take three.
pub fn write_duration(nanos: i64, fsp: usize, out: &mut Vec<u8>) {
    if nanos < 0 {
        out.push(b'-');
    }
    let nanos = nanos.unsigned_abs();
    let seconds = nanos / 1_000_000_000;
    digits::write_padded(seconds / 3600, 2, out);
    for part in [seconds / 60 % 60, seconds % 60] {
        out.push(b':');
        digits::write_padded(part, 2, out);
    }
    write_fraction(u32::try_from(nanos / 1000 % 1_000_000).unwrap_or(0), fsp, out);
}

/// Reads `[-]H:MM:SS[.f]` as nanoseconds.
pub fn duration_from_text(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':').map(str::parse::<i64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let seconds = hours
        .checked_mul(3600)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)?;
    let nanos = i64::try_from(fraction_units(fraction, 9)?).ok()?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)?
        .checked_mul(sign)
}

/// A fraction's digits as a whole number of `10^-digits`.
fn fraction_units(fraction: &str, count: usize) -> Option<u64> {
    if fraction.len() > count || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<count$}").parse().ok()
}

fn write_fraction(micro: u32, fsp: usize, out: &mut Vec<u8>) {
    if fsp == 0 {
        return;
    }
    let fsp = fsp.min(6);
    let cut = 10_u32.pow(u32::try_from(6 - fsp).unwrap_or(0));
    out.push(b'.');
    digits::write_padded(u64::from(micro / cut), fsp, out);
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// Undoes [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * march_month + 2) / 5 + 1)
}

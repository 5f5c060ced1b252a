//! Dates, times of day and their packed and printed forms.

/// A date with a clock time, or the zero date. TIMESTAMPs are in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CivilTime {
    /// 0 to 9999.
    pub year: u16,
    /// 1 to 12; 0 in zero dates.
    pub month: u8,
    /// 1 to 31; 0 in zero dates.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999999.
    pub micro: u32,
}

impl CivilTime {
    /// TiDB's packed form: year*13+month, day, hour, minute, second and 24 bits of microseconds.
    pub fn packed(self) -> u64 {
        let date = (u64::from(self.year) * 13 + u64::from(self.month)) << 5 | u64::from(self.day);
        let clock = u64::from(self.hour) << 12 | u64::from(self.minute) << 6 | u64::from(self.second);
        (date << 17 | clock) << 24 | u64::from(self.micro)
    }

    /// The form inside JSON: year 14 bits, month 4, day 5, hour 5, minute 6, second 6, microseconds 20,
    /// and four bits that TiDB leaves zero.
    pub fn core(self) -> u64 {
        u64::from(self.year) << 50
            | u64::from(self.month) << 46
            | u64::from(self.day) << 41
            | u64::from(self.hour) << 36
            | u64::from(self.minute) << 30
            | u64::from(self.second) << 24
            | u64::from(self.micro) << 4
    }

    /// `YYYY-MM-DD`.
    pub fn date_text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `YYYY-MM-DD HH:MM:SS` and `fsp` digits of the second's fraction.
    pub fn datetime_text(self, fsp: u8) -> String {
        let mut text = self.date_text();
        text.push_str(&format!(
            " {:02}:{:02}:{:02}",
            self.hour, self.minute, self.second
        ));
        push_fraction(&mut text, self.micro, fsp);
        text
    }
}

/// `[-]HH:MM:SS` of nanoseconds, with as many hour digits as it needs and `fsp` digits of the fraction.
pub fn duration_text(nanos: i64, fsp: u8) -> String {
    let micros = nanos.unsigned_abs() / 1000;
    let seconds = micros / 1_000_000;
    let mut text = String::from(if nanos < 0 { "-" } else { "" });
    text.push_str(&format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    ));
    push_fraction(&mut text, (micros % 1_000_000) as u32, fsp);
    text
}

fn push_fraction(text: &mut String, micro: u32, fsp: u8) {
    if fsp > 0 {
        let digits = format!("{micro:06}");
        text.push('.');
        text.push_str(&digits[..usize::from(fsp.min(6))]);
    }
}

/// Rounds microseconds down to what `fsp` digits hold.
pub fn truncate_micros(micro: u32, fsp: u8) -> u32 {
    let unit = 10_u32.pow(u32::from(6 - fsp.min(6)));
    micro / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: CivilTime = CivilTime {
        year: 2024,
        month: 2,
        day: 29,
        hour: 13,
        minute: 5,
        second: 6,
        micro: 123_456,
    };

    #[test]
    fn a_moment_packs_as_tidb_does() {
        assert_eq!(MOMENT.packed(), 0x19b2_bad1_4601_e240);
        assert_eq!(MOMENT.core(), 0x1fa0_bad1_461e_2400);
    }

    #[test]
    fn texts_have_the_columns_digits() {
        assert_eq!(MOMENT.datetime_text(3), "2024-02-29 13:05:06.123");
        assert_eq!(CivilTime::default().datetime_text(0), "0000-00-00 00:00:00");
        assert_eq!(duration_text(-3_600_500_000_000, 1), "-01:00:00.5");
        assert_eq!(duration_text(838 * 3_600_000_000_000, 0), "838:00:00");
    }
}

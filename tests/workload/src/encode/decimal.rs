//! Fixed-point decimals of up to 65 digits.

/// Bytes that hold 0 to 9 digits.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A decimal of a column's precision and scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// Digits 0 to 9 before the point, exactly precision less scale of them.
    whole: Vec<u8>,
    /// Digits 0 to 9 behind the point, exactly scale of them.
    fraction: Vec<u8>,
}

impl Decimal {
    /// A decimal of its digits, most significant first; leading zeros in `whole` are allowed.
    /// A zero has no sign.
    pub fn new(negative: bool, whole: Vec<u8>, fraction: Vec<u8>) -> Self {
        let zero = whole.iter().chain(&fraction).all(|digit| *digit == 0);
        Self {
            negative: negative && !zero,
            whole,
            fraction,
        }
    }

    /// Digits in all.
    pub fn precision(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// The decimal digits, all of the scale's.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.precision() + 3);
        if self.negative {
            text.push('-');
        }
        let significant = self.whole.iter().skip_while(|digit| **digit == 0);
        let before = text.len();
        text.extend(significant.map(|digit| char::from(b'0' + digit)));
        if text.len() == before {
            text.push('0');
        }
        if !self.fraction.is_empty() {
            text.push('.');
            text.extend(self.fraction.iter().map(|digit| char::from(b'0' + digit)));
        }
        text
    }

    /// Appends precision, scale and MySQL's binary digits: nine digits to four big-endian bytes, the
    /// odd digits at both outer ends; negative ones inverted; the first bit flipped.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.precision() as u8);
        out.push(self.fraction.len() as u8);
        let start = out.len();
        let (odd, groups) = self.whole.split_at(self.whole.len() % 9);
        put_digits(out, odd);
        groups.chunks(9).for_each(|group| put_digits(out, group));
        self.fraction.chunks(9).for_each(|group| put_digits(out, group));
        if self.negative {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        if let Some(first) = out.get_mut(start) {
            *first ^= 0x80;
        }
    }
}

fn put_digits(out: &mut Vec<u8>, digits: &[u8]) {
    let number = digits
        .iter()
        .fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    out.extend_from_slice(&number.to_be_bytes()[4 - DIGIT_BYTES[digits.len()]..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str, precision: usize, scale: usize) -> Decimal {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let digits = |text: String| text.bytes().map(|byte| byte - b'0').collect::<Vec<_>>();
        let width = precision - scale;
        let whole = if width == 0 {
            String::new()
        } else {
            format!("{whole:0>width$}")
        };
        Decimal::new(negative, digits(whole), digits(format!("{fraction:0<scale$}")))
    }

    #[test]
    fn digits_are_packed_as_mysql_does() {
        for (text, precision, scale, encoded) in [
            ("0", 1, 0, "010080"),
            ("-0.5", 2, 1, "02017ffa"),
            ("12.34", 10, 2, "0a028000000c22"),
            ("-12.34", 10, 2, "0a027ffffff3dd"),
            ("0.000000001", 10, 9, "0a098000000001"),
            ("1234567890.1234", 14, 4, "0e04810dfb38d204d2"),
            ("-1234567890.1234", 14, 4, "0e047ef204c72dfb2d"),
        ] {
            let mut out = Vec::new();
            decimal(text, precision, scale).put(&mut out);
            assert_eq!(hex::encode(out), encoded, "{text}");
        }
    }

    #[test]
    fn the_text_keeps_the_scale() {
        assert_eq!(decimal("-0", 5, 2).text(), "0.00");
        assert_eq!(decimal("-7.5", 5, 2).text(), "-7.50");
        assert_eq!(decimal("0.25", 2, 2).text(), "0.25");
    }
}

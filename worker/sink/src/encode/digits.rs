use std::io::Write;

const PAIRS: &[u8; 200] = b"\
0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends the decimal digits of a number.
pub(crate) fn unsigned(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    while number >= 100 {
        let pair = (number % 100) as usize * 2;
        number /= 100;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number >= 10 {
        let pair = number as usize * 2;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        text[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&text[at..]);
}

/// Appends a signed number.
pub(crate) fn signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    unsigned(number.unsigned_abs(), out);
}

/// Appends what a formatter prints; writing to a `Vec` can't fail.
pub(crate) fn print(text: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let _ = out.write_fmt(text);
}

/// Appends a float as Go's `%v` prints it, the form of TiCDC's CSV: the shortest digits that read back,
/// with an exponent of two digits or more below 1e-4 and from 1e+06 on.
///
/// `scientific` is the number in Rust's `{:e}` form, which has the same shortest digits.
pub(crate) fn go_float(scientific: &str, out: &mut Vec<u8>) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        out.extend_from_slice(scientific.as_bytes());
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        plain(mantissa, exponent, out);
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        print(
            format_args!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()),
            out,
        );
    }
}

fn plain(mantissa: &str, exponent: i32, out: &mut Vec<u8>) {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.extend_from_slice(sign.as_bytes());
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend_from_slice(&digits);
        return;
    }
    let whole = exponent as usize + 1;
    for at in 0..whole.max(digits.len()) {
        if at == whole {
            out.push(b'.');
        }
        out.push(digits.get(at).copied().unwrap_or(b'0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn integers_print_like_the_standard_library() {
        for number in [
            0,
            7,
            10,
            99,
            100,
            101,
            12_345,
            999_999,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            assert_eq!(text(|out| unsigned(number, out)), number.to_string());
        }
        for number in [0, -1, -10, 123, i64::MIN, i64::MAX] {
            assert_eq!(text(|out| signed(number, out)), number.to_string());
        }
    }

    // The right-hand texts are what Go 1.26's fmt.Println prints.
    #[test]
    fn floats_print_like_go() {
        for (number, go) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (1_000_000.0, "1e+06"),
            (1_000_000.5, "1.0000005e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.000_123_45, "-0.00012345"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(text(|out| go_float(&format!("{number:e}"), out)), go);
        }
        assert_eq!(
            text(|out| go_float(&format!("{:e}", 16_777_216_f32), out)),
            "1.6777216e+07"
        );
    }
}

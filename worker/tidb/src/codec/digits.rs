//! Decimal digits straight into a byte buffer.

/// Appends the number.
pub(crate) fn write_u64(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends the number.
pub(crate) fn write_i64(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(number.unsigned_abs(), out);
}

/// Appends the number with leading zeros up to `width` (at most 20) digits; more digits are kept.
pub(crate) fn write_padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut length = 1;
    let mut rest = number / 10;
    while rest > 0 {
        length += 1;
        rest /= 10;
    }
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(length)));
    write_u64(number, out);
}

/// Appends what `Display` and the like print.
pub(crate) fn write_fmt(text: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    // A Vec takes all that is written to it.
    std::io::Write::write_fmt(out, text).ok();
}

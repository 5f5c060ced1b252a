/// How a byte appears inside a JSON string: as it is, or escaped.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7f] = true;
    table
};

/// Appends text with JSON's escapes, without the quotes around it.
///
/// Bytes that are no UTF-8 become U+FFFD: JSON can't carry them.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(_) => escape_valid(text, out),
        Err(_) => text.utf8_chunks().for_each(|chunk| {
            escape_valid(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }),
    }
}

/// Appends bytes as the code points U+0000 to U+00FF, escaped: canal's form of binary strings.
pub(crate) fn escape_latin1(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    for &byte in bytes {
        match byte {
            _ if ESCAPED[usize::from(byte)] => escape_byte(byte, out),
            0x80.. => out.extend_from_slice(&[0xc0 | (byte >> 6), 0x80 | (byte & 0x3f)]),
            _ => out.push(byte),
        }
    }
}

/// A JSON string of the text, quotes included.
pub(crate) fn quoted(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    escape(text.as_bytes(), &mut out);
    out.push(b'"');
    out
}

fn escape_valid(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if ESCAPED[usize::from(byte)] {
            out.extend_from_slice(&text[from..at]);
            escape_byte(byte, out);
            from = at + 1;
        }
    }
    out.extend_from_slice(&text[from..]);
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let back: String = serde_json::from_slice(&quoted(&text)).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn any_bytes_read_back_as_latin1(bytes in any::<Vec<u8>>()) {
            let mut json = vec![b'"'];
            escape_latin1(&bytes, &mut json);
            json.push(b'"');
            let back: String = serde_json::from_slice(&json).unwrap();
            let back: Vec<u8> = back.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn text_that_is_no_utf8_stays_json() {
        let mut json = vec![b'"'];
        escape(b"a\xffb\n", &mut json);
        json.push(b'"');
        let back: String = serde_json::from_slice(&json).unwrap();
        assert_eq!(back, "a\u{fffd}b\n");
    }
}

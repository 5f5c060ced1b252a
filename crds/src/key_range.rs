use crate::spec::KeyRange;

/// A bound in bytes; an upper bound without bytes means "to the last key".
pub type KeyBounds = (Vec<u8>, Vec<u8>);

impl KeyRange {
    /// The bounds as bytes `[start, end)`.
    ///
    /// # Errors
    /// Says what is wrong with the texts, or that the range can't be streamed: TiKV takes live
    /// writes to keys that begin with `r` for raw data, so their changes never come.
    pub fn bounds(&self) -> Result<KeyBounds, String> {
        let (start, end) = (parse_key(&self.start)?, parse_key(&self.end)?);
        if !end.is_empty() && start >= end {
            return Err(format!(
                "the start {:?} is not below the end {:?}",
                self.start, self.end
            ));
        }
        let above_r_ends = start.as_slice() >= b"s".as_slice();
        let below_r_begins = !end.is_empty() && end.as_slice() <= b"r".as_slice();
        if !above_r_ends && !below_r_begins {
            return Err(format!(
                "the range {:?} to {:?} has keys that begin with \"r\": TiKV sends no changes of those; \
                 use ranges that end at \"r\" or start at \"s\"",
                self.start, self.end
            ));
        }
        Ok((start, end))
    }
}

fn parse_key(text: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Ok(text.as_bytes().to_vec());
    };
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| format!("{text:?} is not a key: after \"hex:\" come pairs of hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(start: &str, end: &str) -> Result<KeyBounds, String> {
        KeyRange {
            start: start.into(),
            end: end.into(),
        }
        .bounds()
    }

    #[test]
    fn text_and_hex_are_keys() {
        assert_eq!(bounds("a", "hex:62ff"), Ok((b"a".to_vec(), vec![0x62, 0xff])));
        assert!(bounds("hex:6", "").is_err_and(|error| error.contains("hex digits")));
        assert!(bounds("b", "a").is_err_and(|error| error.contains("not below")));
    }

    #[test]
    fn a_range_with_keys_that_begin_with_r_is_refused() {
        for (start, end) in [("r", ""), ("", ""), ("r1", "r2"), ("a", "ra"), ("q", "z")] {
            assert!(
                bounds(start, end).is_err_and(|error| error.contains("begin with \"r\"")),
                "{start} {end}"
            );
        }
        for (start, end) in [("a", "r"), ("s", ""), ("", "r")] {
            assert!(bounds(start, end).is_ok(), "{start} {end}");
        }
    }
}

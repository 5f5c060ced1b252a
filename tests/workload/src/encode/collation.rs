//! Sort keys: what the key of an index or of a clustered table holds in place of a string.

/// The collations that the workload's columns use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    /// Code points; trailing spaces don't count.
    Utf8mb4Bin,
    /// Case and accents don't count, nor do trailing spaces.
    Utf8mb4GeneralCi,
    /// Code points; all of them count.
    Utf8mb40900Bin,
}

impl Collation {
    /// MySQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8mb4Bin => "utf8mb4_bin",
            Self::Utf8mb4GeneralCi => "utf8mb4_general_ci",
            Self::Utf8mb40900Bin => "utf8mb4_0900_bin",
        }
    }

    /// The bytes that stand for the text in keys.
    ///
    /// General_ci weights are known here for ASCII, Latin-1 letters and scripts without case; key columns
    /// hold nothing else.
    pub fn sort_key(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8mb40900Bin => text.as_bytes().to_vec(),
            Self::Utf8mb4Bin => text.trim_end_matches(' ').as_bytes().to_vec(),
            Self::Utf8mb4GeneralCi => {
                let significant = text.trim_end_matches(' ').chars();
                significant
                    .flat_map(|character| general_weight(character).to_be_bytes())
                    .collect()
            }
        }
    }
}

fn general_weight(character: char) -> u16 {
    let plain = match character {
        'À'..='Å' | 'à'..='å' => 'A',
        'Ç' | 'ç' => 'C',
        'È'..='Ë' | 'è'..='ë' => 'E',
        'Ì'..='Ï' | 'ì'..='ï' => 'I',
        'Ñ' | 'ñ' => 'N',
        'Ò'..='Ö' | 'ò'..='ö' => 'O',
        'Ù'..='Ü' | 'ù'..='ü' => 'U',
        'ß' => 'S',
        other => other.to_ascii_uppercase(),
    };
    u16::try_from(u32::from(plain)).unwrap_or(0xfffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_trailing_spaces_vanish() {
        let key = Collation::Utf8mb4GeneralCi.sort_key("aÉ中  ");
        assert_eq!(key, [0, 0x41, 0, 0x45, 0x4e, 0x2d]);
        assert_eq!(Collation::Utf8mb4Bin.sort_key("a "), b"a");
        assert_eq!(Collation::Utf8mb40900Bin.sort_key("a "), b"a ");
    }
}

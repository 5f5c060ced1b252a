use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of bytes as Kubernetes writes quantities: `512Mi`, `10Gi`, `1500k`, `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Quantity(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

impl Quantity {
    /// So many mebibytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes, as far as this machine can address.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<String> for Quantity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor);
        let bytes = number
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor));
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a number of bytes: write it like \"512Mi\" or \"10Gi\""))
    }
}

impl From<Quantity> for String {
    fn from(Quantity(bytes): Quantity) -> Self {
        let unit = UNITS
            .iter()
            .take(4)
            .rev()
            .find(|(_, factor)| bytes > 0 && bytes % factor == 0);
        match unit {
            Some((name, factor)) => format!("{}{name}", bytes / factor),
            None => bytes.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for (text, bytes) in [
            ("512Mi", 512 << 20),
            ("10Gi", 10 << 30),
            ("1500k", 1_500_000),
            ("7", 7),
        ] {
            assert_eq!(Quantity::try_from(text.to_owned()), Ok(Quantity(bytes)));
        }
        assert!(Quantity::try_from("1.5Gi".to_owned()).is_err());
        assert!(Quantity::try_from("99999999999Ti".to_owned()).is_err());
        assert_eq!(String::from(Quantity(512 << 20)), "512Mi");
    }
}

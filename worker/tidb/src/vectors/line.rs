use std::fmt::{self, Debug};
use std::str::FromStr;

use serde_json::Value as Json;

/// Why a vector does not pass.
#[derive(Debug)]
pub(super) struct Problem(String);

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<crate::ValueError> for Problem {
    fn from(problem: crate::ValueError) -> Self {
        Self(problem.to_string())
    }
}

impl From<crate::DecodeError> for Problem {
    fn from(problem: crate::DecodeError) -> Self {
        Self(format!("{problem:?}"))
    }
}

/// Fails unless what was decoded is what the vector says.
pub(super) fn same<T: PartialEq + Debug>(what: &str, decoded: &T, expected: &T) -> Result<(), Problem> {
    if decoded == expected {
        return Ok(());
    }
    Err(Problem(format!(
        "{what}: decoded {decoded:?}, expected {expected:?}"
    )))
}

/// A vector, or an object inside one.
#[derive(Clone, Copy)]
pub(super) struct Line<'j>(&'j Json);

impl<'j> Line<'j> {
    pub(super) fn new(json: &'j Json) -> Self {
        Self(json)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }

    fn get(&self, field: &str) -> Result<&'j Json, Problem> {
        self.0
            .get(field)
            .ok_or_else(|| Problem(format!("no field {field:?}")))
    }

    pub(super) fn object(&self, field: &str) -> Result<Line<'j>, Problem> {
        self.get(field).map(Line)
    }

    pub(super) fn list(&self, field: &str) -> Result<impl Iterator<Item = Line<'j>>, Problem> {
        let list = self.get(field)?.as_array();
        let list = list.ok_or_else(|| Problem(format!("{field:?} is no list")))?;
        Ok(list.iter().map(Line))
    }

    pub(super) fn text(&self, field: &str) -> Result<&'j str, Problem> {
        let text = self.get(field)?.as_str();
        text.ok_or_else(|| Problem(format!("{field:?} is no text")))
    }

    /// A list of texts; empty if there is none.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<String>, Problem> {
        if !self.has(field) {
            return Ok(Vec::new());
        }
        let texts = self.list(field)?.map(|item| item.0.as_str().map(str::to_owned));
        texts
            .collect::<Option<_>>()
            .ok_or_else(|| Problem(format!("{field:?} holds more than texts")))
    }

    /// A number, written as a number or as text.
    pub(super) fn number<T: FromStr>(&self, field: &str) -> Result<T, Problem> {
        let value = self.get(field)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse()
            .map_err(|_| Problem(format!("{field:?} is {text:?}, no such number")))
    }

    /// The line itself as a number, inside a list.
    pub(super) fn as_number<T: FromStr>(&self) -> Result<T, Problem> {
        let text = self.0.to_string();
        text.parse()
            .map_err(|_| Problem(format!("{text:?} is no such number")))
    }

    pub(super) fn flag(&self, field: &str) -> Result<bool, Problem> {
        let flag = self.get(field)?.as_bool();
        flag.ok_or_else(|| Problem(format!("{field:?} is no truth value")))
    }

    pub(super) fn bytes(&self, field: &str) -> Result<Vec<u8>, Problem> {
        let text = self.text(field)?;
        hex::decode(text).map_err(|problem| Problem(format!("{field:?} is no hex: {problem}")))
    }

    /// Hex digits of a big-endian number.
    pub(super) fn hex_number(&self, field: &str) -> Result<u64, Problem> {
        let text = self.text(field)?;
        u64::from_str_radix(text, 16).map_err(|_| Problem(format!("{field:?} is no hex number")))
    }
}

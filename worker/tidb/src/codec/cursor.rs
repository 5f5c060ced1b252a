use crate::ValueError;

/// Reads a slice from front to back; every read checks the end.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte; `what` names the thing in errors.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// An error at the present place.
    pub(crate) fn fail(&self, problem: &'static str) -> ValueError {
        ValueError {
            what: self.what,
            offset: self.at,
            problem,
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ValueError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.fail("cut short"))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let chunk = self
            .rest()
            .first_chunk::<N>()
            .ok_or_else(|| self.fail("cut short"))?;
        self.at += N;
        Ok(*chunk)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ValueError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16_le(&mut self) -> Result<u16, ValueError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32_le(&mut self) -> Result<u32, ValueError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64_be(&mut self) -> Result<u64, ValueError> {
        self.array().map(u64::from_be_bytes)
    }
}

//! Rows and blocks as run files hold them; all numbers little-endian.
//!
//! Block: stored length u32, raw length u32, CRC32 u32 of the stored bytes and both lengths, stored bytes. The
//! stored bytes are LZ4 of the raw ones, or the raw ones themselves where the lengths are equal. Raw bytes are whole
//! rows: op u8, commit ts u64, start ts u64, lengths of key, value and old value u32 each, then those three.

use bytes::Bytes;
use tidemark_model::{KvChange, Op, Ts};

/// Bytes before the stored bytes of a block.
pub(crate) const HEADER: usize = 12;
const ROW_HEADER: usize = 1 + 8 + 8 + 4 + 4 + 4;

/// Adds a row to a raw block.
pub(crate) fn put_row(raw: &mut Vec<u8>, change: &KvChange) {
    raw.push(match change.op {
        Op::Put => 0,
        Op::Delete => 1,
    });
    raw.extend_from_slice(&change.commit_ts.0.to_le_bytes());
    raw.extend_from_slice(&change.start_ts.0.to_le_bytes());
    for part in [&change.key, &change.value, &change.old_value] {
        // TiKV caps a key and value far below 4 GiB.
        raw.extend_from_slice(&(part.len() as u32).to_le_bytes());
    }
    for part in [&change.key, &change.value, &change.old_value] {
        raw.extend_from_slice(part);
    }
}

/// Bytes that a row takes in a raw block.
pub(crate) fn row_len(change: &KvChange) -> usize {
    ROW_HEADER + change.key.len() + change.value.len() + change.old_value.len()
}

/// Reads the row at `at`; the row shares the block's memory. Gives the offset behind it too, `None` if the bytes
/// make no row.
pub(crate) fn get_row(raw: &Bytes, at: usize) -> Option<(KvChange, usize)> {
    let head = raw.get(at..at + ROW_HEADER)?;
    let op = match head[0] {
        0 => Op::Put,
        1 => Op::Delete,
        _ => return None,
    };
    let commit_ts = Ts(u64_at(head, 1)?);
    let start_ts = Ts(u64_at(head, 9)?);
    let mut end = at + ROW_HEADER;
    let mut part = |field: usize| {
        let start = end;
        end = start.checked_add(u32_at(head, field)? as usize)?;
        (end <= raw.len()).then(|| raw.slice(start..end))
    };
    let (key, value, old_value) = (part(17)?, part(21)?, part(25)?);
    let change = KvChange {
        key,
        value,
        old_value,
        start_ts,
        commit_ts,
        op,
    };
    Some((change, end))
}

/// Writes a block, header and all, to `out`, which it empties first.
pub(crate) fn seal(raw: &[u8], compress: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut stored = raw.len();
    if compress {
        out.resize(HEADER + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        match lz4_flex::block::compress_into(raw, &mut out[HEADER..]) {
            Ok(packed) if packed < raw.len() => stored = packed,
            _ => out.truncate(HEADER),
        }
    } else {
        out.resize(HEADER, 0);
    }
    if stored == raw.len() {
        out.truncate(HEADER);
        out.extend_from_slice(raw);
    }
    out.truncate(HEADER + stored);
    let crc = checksum(stored as u32, raw.len() as u32, &out[HEADER..]);
    out[..4].copy_from_slice(&(stored as u32).to_le_bytes());
    out[4..8].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    out[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// A block's header as read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHeader {
    pub(crate) stored: u32,
    pub(crate) raw: u32,
    crc: u32,
}

impl BlockHeader {
    pub(crate) fn parse(bytes: [u8; HEADER]) -> Self {
        let word = |at| u32_at(&bytes, at).unwrap_or_default();
        Self {
            stored: word(0),
            raw: word(4),
            crc: word(8),
        }
    }

    /// Checks and unpacks the stored bytes; says what is wrong with them otherwise.
    pub(crate) fn open(self, stored: Vec<u8>) -> Result<Bytes, &'static str> {
        if checksum(self.stored, self.raw, &stored) != self.crc {
            return Err("wrong CRC32");
        }
        if self.stored == self.raw {
            return Ok(stored.into());
        }
        let mut raw = vec![0; self.raw as usize];
        match lz4_flex::block::decompress_into(&stored, &mut raw) {
            Ok(len) if len == raw.len() => Ok(raw.into()),
            _ => Err("LZ4 does not unpack to the recorded length"),
        }
    }
}

fn checksum(stored: u32, raw: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&stored.to_le_bytes());
    hasher.update(&raw.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

//! What a worker remembers in its pod's folder, which outlives its container but not its pod.
//!
//! Files are replaced whole and not synced: a death of the process loses nothing, and what a death of the machine leaves
//! behind is either whole or told by its checksum.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use tidemark_model::Ts;
use tidemark_proto::peerspb;

use super::span_key::SpanKey;

/// The highest watermark that may have been published.
#[derive(Clone, Debug)]
pub(crate) struct WatermarkFile(PathBuf);

impl WatermarkFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("watermark"))
    }

    /// Remembers it.
    pub(crate) fn save(&self, ts: Ts) {
        replace(&self.0, ts.0.to_be_bytes().to_vec());
    }

    /// What was remembered, zero if nothing was.
    pub(crate) fn load(&self) -> Ts {
        let bytes: Option<[u8; 8]> = read(&self.0).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(Ts::ZERO, |bytes| Ts(u64::from_be_bytes(bytes)))
    }
}

/// How far each span of this worker is durable.
#[derive(Clone, Debug)]
pub(crate) struct PositionsFile(PathBuf);

impl PositionsFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("positions"))
    }

    /// Remembers them, and nothing else.
    pub(crate) fn save(&self, positions: Vec<peerspb::Position>) {
        replace(&self.0, peerspb::Stopped { positions }.encode_to_vec());
    }

    /// What was remembered.
    pub(crate) fn load(&self) -> Vec<(SpanKey, Ts)> {
        let bytes = read(&self.0).unwrap_or_default();
        let message = peerspb::Stopped::decode(bytes.as_slice()).unwrap_or_default();
        read_positions(message.positions)
    }
}

/// Positions of a message; those without a span are left out.
pub(crate) fn read_positions(positions: Vec<peerspb::Position>) -> Vec<(SpanKey, Ts)> {
    let positions = positions.into_iter();
    positions
        .filter_map(|position| Some((position.span?.into(), Ts(position.checkpoint))))
        .collect()
}

/// A position for a message.
pub(crate) fn position(key: &SpanKey, checkpoint: Ts) -> peerspb::Position {
    peerspb::Position {
        span: Some(key.into()),
        checkpoint: checkpoint.0,
    }
}

/// Failing costs repeated rows after a death and nothing else.
fn replace(path: &Path, mut bytes: Vec<u8>) {
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    let aside = path.with_extension("new");
    let written = std::fs::write(&aside, bytes).and_then(|()| std::fs::rename(&aside, path));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "Could not remember how far the worker is");
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "Could not read how far the worker was");
            return None;
        }
    };
    let sum = bytes.split_off(bytes.len().checked_sub(4)?);
    (crc32fast::hash(&bytes).to_be_bytes().as_slice() == sum).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use tidemark_model::Span;

    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (watermark, positions) = (
            WatermarkFile::new(folder.path()),
            PositionsFile::new(folder.path()),
        );
        assert_eq!((watermark.load(), positions.load()), (Ts::ZERO, Vec::new()));
        let key = SpanKey {
            table_id: 1,
            physical_id: 2,
            range: Span::new(&b"a"[..], &b"b"[..]),
        };
        watermark.save(Ts(7));
        positions.save(vec![position(&key, Ts(5))]);
        assert_eq!(watermark.load(), Ts(7));
        assert_eq!(positions.load(), [(key, Ts(5))]);
        let path = folder.path().join("positions");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(positions.load(), []);
        std::fs::write(&path, b"x").unwrap();
        assert_eq!(positions.load(), []);
    }
}

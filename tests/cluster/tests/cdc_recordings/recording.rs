//! Reads the feed of a recording (format: `tests/data/recordings/README.md`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use prost::Message;
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest};

use crate::client::Traffic;

/// The traffic of each stream, and how streams were opened and ended, as text.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) streams: BTreeMap<u16, Vec<Traffic>>,
    pub(crate) notes: Vec<String>,
}

pub(crate) fn read(scenario: &str) -> Recording {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/recordings");
    let file = File::open(root.join(scenario).join("feed.rec.gz")).unwrap();
    let mut data = Vec::new();
    GzDecoder::new(file).read_to_end(&mut data).unwrap();
    let mut recording = Recording::default();
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (length, tail) = rest.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (record, tail) = tail.split_at(length);
        rest = tail;
        let stream = u16::from_be_bytes([record[1], record[2]]);
        let payload = &record[11..];
        let item = match record[0] {
            0 => Traffic::Request(ChangeDataRequest::decode(payload).unwrap()),
            1 => Traffic::Message(ChangeDataEvent::decode(payload).unwrap()),
            _ => {
                recording.notes.push(String::from_utf8(payload.to_vec()).unwrap());
                continue;
            }
        };
        recording.streams.entry(stream).or_default().push(item);
    }
    recording
}

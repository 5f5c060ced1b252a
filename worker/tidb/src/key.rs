//! Record keys: `[x keyspace(3)] t table_id _r handle`, as clients write them (not encoded again).

use std::cell::OnceCell;

use tidemark_model::Span;

use crate::ValueError;
use crate::codec::Cursor;
use crate::codec::comparable::{self, Grouped};
use crate::codec::datum::Datum;

/// First byte of all keys in a keyspace of API V2; three bytes of its id follow.
const KEYSPACE_MODE: u8 = b'x';
/// Bytes of a keyspace prefix.
const KEYSPACE_LEN: usize = 4;
/// Largest keyspace id.
const MAX_KEYSPACE: u32 = 0xff_ffff;
/// Handles of clustered keys are padded with zeros to this length.
const MIN_COMMON_HANDLE: usize = 9;

/// A record key taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey<'a> {
    /// The keyspace id, if the key has a keyspace prefix.
    pub keyspace: Option<u32>,
    /// The table's or partition's id.
    pub physical_id: i64,
    /// The handle's bytes: eight of an integer, or the datums of a clustered key.
    pub handle: &'a [u8],
}

impl<'a> RecordKey<'a> {
    /// Takes a key apart.
    ///
    /// # Errors
    /// If it is no record key: an index key, a meta key, a key of another client, or cut short.
    pub fn parse(key: &'a [u8]) -> Result<Self, ValueError> {
        let mut cursor = Cursor::new(key, "record key");
        let mut mode = cursor.u8()?;
        let mut keyspace = None;
        if mode == KEYSPACE_MODE {
            let [high, middle, low] = cursor.array()?;
            keyspace = Some(u32::from_be_bytes([0, high, middle, low]));
            mode = cursor.u8()?;
        }
        if mode != b't' {
            return Err(cursor.fail("not a table's key"));
        }
        let physical_id = comparable::to_i64(cursor.u64_be()?);
        if &cursor.array()? != b"_r" {
            return Err(cursor.fail("not a record"));
        }
        if cursor.is_empty() {
            return Err(cursor.fail("no handle"));
        }
        Ok(Self {
            keyspace,
            physical_id,
            handle: cursor.rest(),
        })
    }

    /// The integer handle, if the handle has its length; the table says whether it is one.
    ///
    /// # Errors
    /// If the handle is not eight bytes long.
    pub fn int_handle(&self) -> Result<i64, ValueError> {
        let bytes = <[u8; 8]>::try_from(self.handle).map_err(|_| ValueError {
            what: "record key",
            offset: self.handle.len(),
            problem: "an integer handle is not 8 bytes long",
        })?;
        Ok(comparable::to_i64(u64::from_be_bytes(bytes)))
    }

    /// The datums of a clustered key with so many columns.
    pub fn datums(&self, columns: usize) -> impl Iterator<Item = Result<Datum<'a>, ValueError>> + use<'a> {
        let mut rest = self.handle;
        (0..columns).map(move |_| {
            let (datum, used) = Datum::read(rest)?;
            rest = rest.get(used..).unwrap_or_default();
            Ok(datum)
        })
    }

    /// The key, built again.
    pub fn build(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(KEYSPACE_LEN + 11 + self.handle.len());
        if let Some(keyspace) = self.keyspace {
            write_keyspace(keyspace, &mut key);
        }
        write_record_prefix(self.physical_id, &mut key);
        key.extend_from_slice(self.handle);
        key
    }
}

/// The key without its keyspace prefix.
pub fn without_keyspace(key: &[u8]) -> &[u8] {
    match key.split_at_checked(KEYSPACE_LEN) {
        Some(([KEYSPACE_MODE, ..], rest)) => rest,
        _ => key,
    }
}

/// Appends the four bytes before all keys of a keyspace; ids have 24 bits.
pub fn write_keyspace(keyspace: u32, out: &mut Vec<u8>) {
    let [_, high, middle, low] = (keyspace & MAX_KEYSPACE).to_be_bytes();
    out.extend_from_slice(&[KEYSPACE_MODE, high, middle, low]);
}

/// Appends what all record keys of a physical table begin with.
pub fn write_record_prefix(physical_id: i64, out: &mut Vec<u8>) {
    out.push(b't');
    comparable::write_i64(physical_id, out);
    out.extend_from_slice(b"_r");
}

/// The record key of an integer handle.
pub fn int_record_key(physical_id: i64, handle: i64) -> Vec<u8> {
    let mut key = Vec::with_capacity(19);
    write_record_prefix(physical_id, &mut key);
    comparable::write_i64(handle, &mut key);
    key
}

/// The record key of a clustered key, padded as TiDB does.
pub fn common_record_key(physical_id: i64, handle: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(11 + handle.len().max(MIN_COMMON_HANDLE));
    write_record_prefix(physical_id, &mut key);
    key.extend_from_slice(handle);
    let padding = MIN_COMMON_HANDLE.saturating_sub(handle.len());
    key.extend(std::iter::repeat_n(0, padding));
    key
}

/// All record keys of a physical table.
pub fn record_span(physical_id: i64) -> Span {
    let mut start = Vec::with_capacity(11);
    write_record_prefix(physical_id, &mut start);
    prefix_span(start)
}

/// The same span inside a keyspace.
pub fn keyspace_span(keyspace: u32, span: &Span) -> Span {
    let inside = |bound: &[u8]| {
        let mut key = Vec::with_capacity(KEYSPACE_LEN + bound.len());
        write_keyspace(keyspace, &mut key);
        key.extend_from_slice(bound);
        key
    };
    if span.end.is_empty() {
        let end = prefix_span(inside(&[])).end;
        return Span::new(inside(&span.start), end);
    }
    Span::new(inside(&span.start), inside(&span.end))
}

/// All keys that begin with the prefix.
pub(crate) fn prefix_span(prefix: Vec<u8>) -> Span {
    let mut end = prefix.clone();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        end.pop();
    }
    Span::new(prefix, end)
}

/// A row's key together with the room that decoding its handle may need.
///
/// Strings longer than eight bytes lie in pieces in a key. The first value that needs one puts them
/// together here, once for the old and the new row.
#[derive(Debug)]
pub struct RowKey<'k> {
    raw: &'k [u8],
    strings: OnceCell<Box<[u8]>>,
}

impl<'k> RowKey<'k> {
    /// Wraps a key; nothing is read yet.
    pub fn new(raw: &'k [u8]) -> Self {
        Self {
            raw,
            strings: OnceCell::new(),
        }
    }

    /// The key's bytes.
    pub fn raw(&self) -> &'k [u8] {
        self.raw
    }

    /// The plain bytes of the string that begins at `place` among the handle's long strings; `columns`
    /// is how many datums the handle has.
    pub(crate) fn string<'a>(
        &'a self,
        key: &RecordKey<'_>,
        columns: usize,
        grouped: Grouped<'a>,
        place: &mut usize,
    ) -> &'a [u8] {
        if let Some(bytes) = grouped.contiguous() {
            return bytes;
        }
        let strings = self.strings.get_or_init(|| {
            let mut all = Vec::with_capacity(key.handle.len());
            for datum in key.datums(columns) {
                match datum {
                    Ok(Datum::Grouped(grouped)) if grouped.contiguous().is_none() => grouped.unpack(&mut all),
                    _ => {}
                }
            }
            all.into_boxed_slice()
        });
        let bytes = strings.get(*place..*place + grouped.len());
        *place += grouped.len();
        bytes.unwrap_or_default()
    }
}

impl<'k> From<&'k [u8]> for RowKey<'k> {
    fn from(raw: &'k [u8]) -> Self {
        Self::new(raw)
    }
}

//! TiDB's keys: records, index entries and metadata.

use super::memcomparable::{put_bytes, put_int, put_uint};

/// A record key: table and handle.
pub fn record_key(physical_table: i64, handle: &[u8]) -> Vec<u8> {
    let mut key = table_prefix(physical_table, b"_r", handle.len());
    key.extend_from_slice(handle);
    key
}

/// The record range of a physical table, `[start, end)`.
pub fn record_range(physical_table: i64) -> (Vec<u8>, Vec<u8>) {
    (
        table_prefix(physical_table, b"_r", 0),
        table_prefix(physical_table, b"_s", 0),
    )
}

/// An index entry's key: table, index, key datums, and the handle unless the index is unique.
pub fn index_key(table: i64, index: i64, datums: &[u8], handle: &[u8]) -> Vec<u8> {
    let mut key = table_prefix(table, b"_i", 8 + datums.len() + handle.len());
    put_int(&mut key, index);
    key.extend_from_slice(datums);
    key.extend_from_slice(handle);
    key
}

/// The eight bytes of an integer handle.
pub fn int_handle(value: i64) -> Vec<u8> {
    let mut handle = Vec::with_capacity(8);
    put_int(&mut handle, value);
    handle
}

/// A common handle from its key datums; TiDB pads to nine bytes.
pub fn common_handle(mut datums: Vec<u8>) -> Vec<u8> {
    datums.resize(datums.len().max(9), 0);
    datums
}

/// A metadata string's key.
pub fn meta_string(name: &str) -> Vec<u8> {
    meta(name, b's')
}

/// The prefix of a metadata hash's fields.
pub fn meta_hash(name: &str) -> Vec<u8> {
    meta(name, b'h')
}

/// The key of a field in a metadata hash.
pub fn meta_field(name: &str, field: &[u8]) -> Vec<u8> {
    let mut key = meta(name, b'h');
    put_bytes(&mut key, field);
    key
}

fn meta(name: &str, kind: u8) -> Vec<u8> {
    let mut key = vec![b'm'];
    put_bytes(&mut key, name.as_bytes());
    put_uint(&mut key, u64::from(kind));
    key
}

fn table_prefix(table: i64, separator: &[u8; 2], more: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(11 + more);
    key.push(b't');
    put_int(&mut key, table);
    key.extend_from_slice(separator);
    key
}

#[cfg(test)]
mod tests {
    use super::super::memcomparable::encode_bytes;
    use super::*;

    #[test]
    fn record_keys_hold_table_and_handle() {
        let key = record_key(104, &int_handle(1));
        assert_eq!(hex::encode(&key), "7480000000000000685f728000000000000001");
        assert_eq!(
            hex::encode(encode_bytes(&key)),
            "7480000000000000ff685f728000000000ff0000010000000000fa"
        );
        let (start, end) = record_range(104);
        assert_eq!(
            hex::encode(encode_bytes(&start)),
            "7480000000000000ff685f720000000000fa"
        );
        assert_eq!(
            hex::encode(encode_bytes(&end)),
            "7480000000000000ff685f730000000000fa"
        );
    }

    #[test]
    fn metadata_keys_hold_names_and_fields() {
        assert_eq!(
            hex::encode(meta_field("DBs", b"DB:2")),
            "6d4442730000000000fa000000000000006844423a3200000000fb"
        );
        assert_eq!(
            hex::encode(meta_field("DB:2", b"Table:104")),
            "6d44423a3200000000fb00000000000000685461626c653a3130ff3400000000000000f8"
        );
        assert_eq!(
            hex::encode(meta_string("SchemaVersionKey")),
            "6d536368656d615665ff7273696f6e4b6579ff0000000000000000f70000000000000073"
        );
    }

    #[test]
    fn short_common_handles_are_padded() {
        assert_eq!(common_handle(vec![6, 1]).len(), 9);
    }
}

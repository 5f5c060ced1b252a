//! Rows as TiKV's values: formats v1 and v2.

use super::datum::Datum;

/// How a table's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// The old format of datum pairs.
    V1,
    /// The present format.
    V2,
    /// The present format with a checksum over the row and its key (version 1) or handle (version 2).
    V2Checksum(u8),
}

/// Encodes the columns `(id, value)`; columns left out are absent.
///
/// `key` is the record key and `handle` the encoded handle, for checksums.
pub fn encode_row(format: RowFormat, columns: &[(i64, &Datum)], key: &[u8], handle: &[u8]) -> Vec<u8> {
    match format {
        RowFormat::V1 => encode_v1(columns),
        RowFormat::V2 => encode_v2(columns, false),
        RowFormat::V2Checksum(version) => {
            let mut row = encode_v2(columns, true);
            row.push(version);
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&row);
            hasher.update(if version == 1 { key } else { handle });
            row.extend_from_slice(&hasher.finalize().to_le_bytes());
            row
        }
    }
}

fn encode_v1(columns: &[(i64, &Datum)]) -> Vec<u8> {
    if columns.is_empty() {
        return vec![0];
    }
    let mut out = Vec::new();
    for (id, value) in columns {
        Datum::Int(*id).put_v1(&mut out);
        value.put_v1(&mut out);
    }
    out
}

fn encode_v2(columns: &[(i64, &Datum)], checksum: bool) -> Vec<u8> {
    let mut sorted: Vec<_> = columns.to_vec();
    sorted.sort_by_key(|(id, _)| *id);
    let (nulls, present): (Vec<_>, Vec<_>) =
        sorted.into_iter().partition(|(_, value)| **value == Datum::Null);
    let mut data = Vec::new();
    let mut ends = Vec::with_capacity(present.len());
    for (_, value) in &present {
        value.put_compact(&mut data);
        ends.push(data.len() as u32);
    }
    let ids = || present.iter().chain(&nulls).map(|(id, _)| *id as u32);
    let large = data.len() > usize::from(u16::MAX) || ids().any(|id| id > 255);
    let mut row = Vec::with_capacity(data.len() + 6 + columns.len() * 8);
    row.extend([128, u8::from(large) | u8::from(checksum) << 1]);
    row.extend_from_slice(&(present.len() as u16).to_le_bytes());
    row.extend_from_slice(&(nulls.len() as u16).to_le_bytes());
    if large {
        ids().for_each(|id| row.extend_from_slice(&id.to_le_bytes()));
        ends.iter()
            .for_each(|end| row.extend_from_slice(&end.to_le_bytes()));
    } else {
        row.extend(ids().map(|id| id as u8));
        ends.iter()
            .for_each(|end| row.extend_from_slice(&(*end as u16).to_le_bytes()));
    }
    row.extend_from_slice(&data);
    row
}

#[cfg(test)]
mod tests {
    use super::super::temporal::CivilTime;
    use super::*;

    #[test]
    fn small_rows_have_short_ids_and_offsets() {
        let moment = CivilTime {
            year: 2024,
            month: 2,
            day: 29,
            hour: 13,
            minute: 5,
            second: 6,
            micro: 123_456,
        };
        let (name, minus, null, plus) = (
            Datum::Text("alice".into()),
            Datum::Int(-5),
            Datum::Null,
            Datum::UInt(300),
        );
        let time = Datum::Time(moment);
        let columns = [(2, &name), (3, &minus), (4, &null), (5, &plus), (6, &time)];
        assert_eq!(
            hex::encode(encode_row(RowFormat::V2, &columns, b"", b"")),
            "80000400010002030506040500060008001000616c696365fb2c0140e20146d1bab219"
        );
    }

    #[test]
    fn large_rows_have_long_ids_and_offsets() {
        let (text, seven) = (Datum::Text("x".into()), Datum::Int(7));
        assert_eq!(
            hex::encode(encode_row(RowFormat::V2, &[(300, &seven), (2, &text)], b"", b"")),
            "800102000000020000002c01000001000000020000007807"
        );
    }

    #[test]
    fn checksums_cover_the_row_and_its_key() {
        let key = hex::decode("74800000326ba2dd525f72800000000000013c").unwrap_or_default();
        assert_eq!(
            hex::encode(encode_row(
                RowFormat::V2Checksum(1),
                &[(257, &Datum::Mask(0))],
                &key,
                b""
            )),
            "8003010000000101000001000000000161081618"
        );
    }

    #[test]
    fn old_rows_are_datum_pairs() {
        let (one, null) = (Datum::Int(1), Datum::Null);
        assert_eq!(
            hex::encode(encode_row(RowFormat::V1, &[(1, &one), (2, &null)], b"", b"")),
            "08020802080400"
        );
        assert_eq!(encode_row(RowFormat::V1, &[], b"", b""), [0]);
    }
}

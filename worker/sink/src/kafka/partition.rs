use crc32fast::Hasher;
use tidemark_crds::PartitionBy;
use tidemark_model::Ts;
use tidemark_tidb::{Table, TimeZone, Value, ValueError};

use crate::encode::RowEvent;

/// Chooses the partition of one table's rows, by the hash that TiCDC uses for its dispatchers `table` and
/// `index-value`: the CRC-32 (IEEE) of schema and table name, combined by XOR with that of name and text of each
/// key column that is not NULL.
#[derive(Clone, Debug)]
pub(super) struct Partitioner {
    by: PartitionBy,
    /// How many partitions rows are spread over.
    count: u32,
    /// Of schema and table.
    hash: u32,
    /// The key's columns with the hash state after their names.
    key: Vec<(usize, Hasher)>,
}

impl Partitioner {
    pub(super) fn new(table: &Table, by: PartitionBy, count: u32) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(table.schema.as_bytes());
        hasher.update(table.name.as_bytes());
        Self {
            by,
            count: count.max(1),
            hash: hasher.finalize(),
            key: table
                .handle_key
                .iter()
                .filter_map(|&at| {
                    let mut hasher = Hasher::new();
                    hasher.update(table.columns.get(at)?.name.as_bytes());
                    Some((at, hasher))
                })
                .collect(),
        }
    }

    /// The partition of a row event. `text` is room to print values in.
    pub(super) fn of(
        &self,
        table: &Table,
        event: &RowEvent<'_>,
        commit_ts: Ts,
        zone: &TimeZone,
        text: &mut Vec<u8>,
    ) -> Result<i32, ValueError> {
        let number = match self.by {
            PartitionBy::Table => u64::from(self.hash),
            PartitionBy::Ts => commit_ts.0,
            PartitionBy::Key => u64::from(self.key_hash(table, event.row(), zone, text)?),
        };
        // Below `count`, and Kafka has no more than i32::MAX partitions.
        Ok((number % u64::from(self.count)) as i32)
    }

    fn key_hash(
        &self,
        table: &Table,
        row: &[Value<'_>],
        zone: &TimeZone,
        text: &mut Vec<u8>,
    ) -> Result<u32, ValueError> {
        let mut hash = self.hash;
        for (at, hasher) in &self.key {
            let (Some(&value), Some(column)) = (row.get(*at), table.columns.get(*at)) else {
                continue;
            };
            let mut hasher = hasher.clone();
            match value {
                Value::Null => continue,
                Value::Bytes(bytes) => hasher.update(bytes),
                Value::Int(number) => hasher.update(decimal(number.unsigned_abs(), number < 0, &mut [0; 20])),
                Value::UInt(number) | Value::Enum(number) | Value::Set(number) | Value::Bit(number) => {
                    hasher.update(decimal(number, false, &mut [0; 20]));
                }
                other => {
                    text.clear();
                    other.write_text(column, zone, text)?;
                    hasher.update(text);
                }
            }
            hash ^= hasher.finalize();
        }
        Ok(hash)
    }
}

/// The decimal digits of a number, written to the end of `room`.
fn decimal(mut number: u64, negative: bool, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        // Negative numbers have at most 19 digits.
        at -= 1;
        room[at] = b'-';
    }
    &room[at..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use tidemark_tidb::Column;

    use super::*;
    use crate::encode::RowKind;

    fn table(schema: &str, name: &str, key: &[&str]) -> Table {
        let mut table = Table::plain_kv();
        let column = table.columns[0].clone();
        table.columns = key
            .iter()
            .map(|name| Column {
                name: (*name).into(),
                ..column.clone()
            })
            .collect();
        (table.schema, table.name) = (schema.into(), name.into());
        table.handle_key = (0..key.len()).collect();
        table
    }

    fn place(table: &Table, by: PartitionBy, count: u32, row: &[Value<'_>]) -> i32 {
        let event = RowEvent {
            kind: RowKind::Insert,
            new: row,
            old: &[],
            key_only: false,
        };
        Partitioner::new(table, by, count)
            .of(
                table,
                &event,
                Ts(7),
                &TimeZone::parse("UTC").unwrap(),
                &mut Vec::new(),
            )
            .unwrap()
    }

    /// Hashes below 2^31 and the largest count show the whole hash.
    const ALL: u32 = i32::MAX as u32;

    // The golden values below come from zlib's crc32, combined by XOR outside of this program.

    #[test]
    fn the_table_decides_by_schema_and_name() {
        let rows = table("test", "t1", &["a"]);
        assert_eq!(
            place(&rows, PartitionBy::Table, ALL, &[Value::Int(11)]),
            1_079_797_119
        );
        let orders = table("shop", "orders", &["id"]);
        assert_eq!(
            place(&orders, PartitionBy::Table, 3, &[Value::Int(1)]),
            (2_818_657_056_u32 % 3) as i32
        );
    }

    #[test]
    fn the_key_decides_by_names_and_values() {
        let one = table("test", "t1", &["a"]);
        assert_eq!(
            place(&one, PartitionBy::Key, ALL, &[Value::Int(11)]),
            1_636_506_354
        );
        let both = table("test", "t1", &["a", "b"]);
        let row = [Value::Int(-5), Value::Bytes(b"x\xff")];
        assert_eq!(
            place(&both, PartitionBy::Key, 1000, &row),
            (4_268_186_009_u32 % 1000) as i32
        );
        let biggest = table("test", "t1", &["u"]);
        assert_eq!(
            place(&biggest, PartitionBy::Key, ALL, &[Value::UInt(u64::MAX)]),
            345_872_259
        );
        let member = table("test", "t1", &["e"]);
        assert_eq!(
            place(&member, PartitionBy::Key, 1000, &[Value::Enum(2)]),
            (3_520_641_506_u32 % 1000) as i32
        );
    }

    #[test]
    fn null_in_a_key_counts_for_nothing() {
        let both = table("test", "t1", &["a", "b"]);
        assert_eq!(
            place(&both, PartitionBy::Key, ALL, &[Value::Int(11), Value::Null]),
            1_636_506_354
        );
    }

    #[test]
    fn keys_spread_as_ticdc_spreads_them() {
        let orders = table("shop", "orders", &["id"]);
        let places: Vec<i32> = (0..8)
            .map(|id| place(&orders, PartitionBy::Key, 3, &[Value::Int(id)]))
            .collect();
        assert_eq!(places, [2, 2, 0, 1, 0, 1, 2, 0]);
    }

    #[test]
    fn the_commit_ts_decides_by_remainder() {
        assert_eq!(
            place(&table("a", "b", &["c"]), PartitionBy::Ts, 4, &[Value::Int(1)]),
            3
        );
    }

    #[test]
    fn decimals_print_at_their_extremes() {
        assert_eq!(
            decimal(i64::MIN.unsigned_abs(), true, &mut [0; 20]),
            b"-9223372036854775808"
        );
        assert_eq!(decimal(u64::MAX, false, &mut [0; 20]), b"18446744073709551615");
        assert_eq!(decimal(0, false, &mut [0; 20]), b"0");
    }
}

//! Columns of every type, with values and their texts.

use std::sync::Arc;

use tidemark_model::Ts;
use tidemark_tidb::codec::{decimal, time};
use tidemark_tidb::{Column, ColumnType, Handle, Layout, StoredValue, Table, Value};

pub(crate) const UNSIGNED: u32 = 32;
pub(crate) const ZEROFILL: u32 = 64;

/// 2023-11-14 22:13:20.123 UTC.
pub(crate) const COMMIT: Ts = Ts::new(1_700_000_000_123, 1);

/// One column with a value, and what consumers read.
pub(crate) struct Case {
    pub(crate) column: Column,
    pub(crate) value: StoredValue,
    /// canal-json's `mysqlType`.
    pub(crate) mysql_type: &'static str,
    /// canal-json's `sqlType` for this value.
    pub(crate) sql_type: i64,
    /// canal-json's text as parsed from JSON; none for null.
    pub(crate) canal: Option<&'static str>,
    /// The CSV cell with default options.
    pub(crate) csv: &'static str,
}

pub(crate) fn column(name: &str, tp: u8, flags: u32, charset: &str) -> Column {
    Column {
        id: 1,
        name: name.into(),
        ty: ColumnType {
            tp,
            flags,
            flen: -1,
            decimal: -1,
            charset: charset.into(),
            collate: if charset == "binary" {
                "binary"
            } else {
                "utf8mb4_bin"
            }
            .into(),
            elems: Vec::new(),
        },
        not_null: false,
        primary: false,
        generated: false,
        default: None,
        absent: StoredValue::Null,
    }
}

/// A table of the columns; those at `key` are its primary key.
pub(crate) fn table(columns: Vec<Column>, key: &[usize]) -> Arc<Table> {
    Arc::new(Table {
        id: 100,
        schema: "shop".into(),
        name: "t".into(),
        updated: Ts(1),
        columns,
        layout: Layout::Tidb(Handle::RowId),
        primary_key: key.to_vec(),
        handle_key: key.to_vec(),
        unique: Vec::new(),
        partitions: Vec::new(),
    })
}

pub(crate) fn packed(text: &str) -> StoredValue {
    StoredValue::Time(time::Civil::from_text(text).unwrap().to_packed())
}

fn bytes(bytes: &[u8]) -> StoredValue {
    StoredValue::Bytes(bytes.into())
}

/// Every type, with the values that make a difference.
pub(crate) fn cases() -> Vec<Case> {
    use StoredValue as V;

    type Row = (
        (u8, u32, &'static str, (i64, i64), &'static [&'static str]),
        StoredValue,
        (&'static str, i64, Option<&'static str>, &'static str),
    );
    let bin = "binary";
    let none: &[&str] = &[];
    let size = &["small", "o'er, \"big\""];
    let rows: Vec<Row> = vec![
        (
            (1, 0, bin, (4, 0), none),
            V::Int(-128),
            ("tinyint", -6, Some("-128"), "-128"),
        ),
        (
            (1, UNSIGNED, bin, (4, 0), none),
            V::UInt(127),
            ("tinyint unsigned", -6, Some("127"), "127"),
        ),
        (
            (1, UNSIGNED, bin, (4, 0), none),
            V::UInt(128),
            ("tinyint unsigned", 5, Some("128"), "128"),
        ),
        (
            (2, 0, bin, (6, 0), none),
            V::Int(-5),
            ("smallint", 5, Some("-5"), "-5"),
        ),
        (
            (2, UNSIGNED, bin, (6, 0), none),
            V::UInt(32767),
            ("smallint unsigned", 5, Some("32767"), "32767"),
        ),
        (
            (2, UNSIGNED, bin, (6, 0), none),
            V::UInt(32768),
            ("smallint unsigned", 4, Some("32768"), "32768"),
        ),
        (
            (9, UNSIGNED, bin, (9, 0), none),
            V::UInt(16_777_215),
            ("mediumint unsigned", 4, Some("16777215"), "16777215"),
        ),
        ((3, 0, bin, (11, 0), none), V::Int(7), ("int", 4, Some("7"), "7")),
        (
            (3, UNSIGNED | ZEROFILL, bin, (10, 0), none),
            V::UInt(2_147_483_647),
            ("int unsigned zerofill", 4, Some("2147483647"), "2147483647"),
        ),
        (
            (3, UNSIGNED, bin, (10, 0), none),
            V::UInt(2_147_483_648),
            ("int unsigned", -5, Some("2147483648"), "2147483648"),
        ),
        (
            (8, 0, bin, (20, 0), none),
            V::Int(i64::MIN),
            ("bigint", -5, Some("-9223372036854775808"), "-9223372036854775808"),
        ),
        (
            (8, UNSIGNED, bin, (20, 0), none),
            V::UInt(i64::MAX as u64),
            (
                "bigint unsigned",
                -5,
                Some("9223372036854775807"),
                "9223372036854775807",
            ),
        ),
        (
            (8, UNSIGNED, bin, (20, 0), none),
            V::UInt(u64::MAX),
            (
                "bigint unsigned",
                3,
                Some("18446744073709551615"),
                "18446744073709551615",
            ),
        ),
        (
            (8, UNSIGNED, bin, (20, 0), none),
            V::Null,
            ("bigint unsigned", -5, None, "\\N"),
        ),
        (
            (4, 0, bin, (12, -1), none),
            V::Float(16_777_216.0),
            ("float", 7, Some("16777216"), "1.6777216e+07"),
        ),
        (
            (4, 0, bin, (12, -1), none),
            V::Float(0.1),
            ("float", 7, Some("0.1"), "0.1"),
        ),
        (
            (5, 0, bin, (22, -1), none),
            V::Double(1e21),
            ("double", 8, Some("1000000000000000000000"), "1e+21"),
        ),
        (
            (5, UNSIGNED, bin, (22, -1), none),
            V::Double(0.00001),
            ("double unsigned", 8, Some("0.00001"), "1e-05"),
        ),
        (
            (246, 0, bin, (10, 4), none),
            V::Decimal(decimal::from_text("-12.5000", 10, 4).unwrap().into()),
            ("decimal", 3, Some("-12.5000"), "\"-12.5000\""),
        ),
        (
            (10, 0, bin, (10, 0), none),
            packed("2024-02-29 00:00:00"),
            ("date", 91, Some("2024-02-29"), "\"2024-02-29\""),
        ),
        (
            (12, 0, bin, (23, 3), none),
            packed("2024-02-29 23:59:59.125"),
            (
                "datetime",
                93,
                Some("2024-02-29 23:59:59.125"),
                "\"2024-02-29 23:59:59.125\"",
            ),
        ),
        (
            (12, 0, bin, (19, 0), none),
            V::Time(0),
            (
                "datetime",
                93,
                Some("0000-00-00 00:00:00"),
                "\"0000-00-00 00:00:00\"",
            ),
        ),
        (
            (7, 0, bin, (19, 0), none),
            packed("2024-02-29 23:30:00"),
            (
                "timestamp",
                93,
                Some("2024-03-01 07:30:00"),
                "\"2024-03-01 07:30:00\"",
            ),
        ),
        (
            (11, 0, bin, (14, 3), none),
            V::Duration(-3_661_500_000_000),
            ("time", 92, Some("-01:01:01.500"), "\"-01:01:01.500\""),
        ),
        (
            (13, UNSIGNED | ZEROFILL, bin, (4, 0), none),
            V::Int(1999),
            ("year", 12, Some("1999"), "1999"),
        ),
        (
            (16, UNSIGNED, bin, (10, 0), none),
            V::Bit(0x2ff),
            ("bit", -7, Some("767"), "767"),
        ),
        (
            (247, 0, "utf8mb4", (5, 0), size),
            V::Enum(2),
            ("enum", 4, Some("2"), "\"o'er, \"\"big\"\"\""),
        ),
        (
            (248, 0, "utf8mb4", (5, 0), size),
            V::Set(3),
            ("set", -7, Some("3"), "\"small,o'er, \"\"big\"\"\""),
        ),
        (
            (15, 0, "utf8mb4", (16, 0), none),
            bytes("Zoë \"q\" \\N\r\n\u{1F30A}".as_bytes()),
            (
                "varchar",
                12,
                Some("Zoë \"q\" \\N\r\n\u{1F30A}"),
                "\"Zoë \"\"q\"\" \\N\r\n\u{1F30A}\"",
            ),
        ),
        (
            (15, 0, "utf8mb4", (16, 0), none),
            bytes(b"\\N"),
            ("varchar", 12, Some("\\N"), "\"\\N\""),
        ),
        (
            (254, 0, "utf8mb4", (4, 0), none),
            bytes(b""),
            ("char", 1, Some(""), "\"\""),
        ),
        (
            (249, 0, "utf8mb4", (255, 0), none),
            bytes(b"a"),
            ("tinytext", 2005, Some("a"), "\"a\""),
        ),
        (
            (252, 0, "utf8mb4", (65535, 0), none),
            bytes(b"a,b"),
            ("text", 2005, Some("a,b"), "\"a,b\""),
        ),
        (
            (250, 0, "utf8mb4", (1 << 24, 0), none),
            bytes(b"a"),
            ("mediumtext", 2005, Some("a"), "\"a\""),
        ),
        (
            (251, 0, "utf8mb4", (1 << 32, 0), none),
            bytes(b"a"),
            ("longtext", 2005, Some("a"), "\"a\""),
        ),
        (
            (15, 128, bin, (16, 0), none),
            bytes(&[0, 0x41, 0x7f, 0x80, 0xff]),
            (
                "varbinary",
                2004,
                Some("\u{0}A\u{7f}\u{80}\u{ff}"),
                "\"AEF/gP8=\"",
            ),
        ),
        (
            (254, 128, bin, (4, 0), none),
            bytes(&[0xc3, 0xab, 0, 0]),
            ("binary", 2004, Some("\u{c3}\u{ab}\u{0}\u{0}"), "\"w6sAAA==\""),
        ),
        (
            (249, 128, bin, (255, 0), none),
            bytes(b"a"),
            ("tinyblob", 2004, Some("a"), "\"YQ==\""),
        ),
        (
            (252, 128, bin, (65535, 0), none),
            bytes(b"\""),
            ("blob", 2004, Some("\""), "\"Ig==\""),
        ),
        (
            (250, 128, bin, (1 << 24, 0), none),
            bytes(b"a"),
            ("mediumblob", 2004, Some("a"), "\"YQ==\""),
        ),
        (
            (251, 128, bin, (1 << 32, 0), none),
            bytes(b"a"),
            ("longblob", 2004, Some("a"), "\"YQ==\""),
        ),
        (
            (245, 128, bin, (-1, 0), none),
            V::Json([0x0c, 4, b'a', b'"', b'<', b'b'].into()),
            ("json", 12, Some("\"a\\\"<b\""), "\"\"\"a\\\"\"<b\"\"\""),
        ),
        (
            (225, 128, bin, (-1, 0), none),
            V::Vector([2, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0x40].into()),
            ("vector", 12, Some("[1,2.5]"), "\"[1,2.5]\""),
        ),
    ];
    let case = |(at, (of, value, texts)): (usize, Row)| {
        let (tp, flags, charset, (flen, scale), elems) = of;
        let mut column = column(&format!("c{at}"), tp, flags, charset);
        (column.ty.flen, column.ty.decimal) = (flen, scale);
        column.ty.elems = elems.iter().map(|name| (*name).to_owned()).collect();
        let (mysql_type, sql_type, canal, csv) = texts;
        Case {
            column,
            value,
            mysql_type,
            sql_type,
            canal,
            csv,
        }
    };
    rows.into_iter().enumerate().map(case).collect()
}

/// The values of a row, borrowed.
pub(crate) fn row(values: &[StoredValue]) -> Vec<Value<'_>> {
    values.iter().map(StoredValue::as_value).collect()
}

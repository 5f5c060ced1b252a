//! The tables of the mixed workload: together they have every kind of key and every column type.

use crate::encode::{CivilTime, Collation, Datum, RowFormat};
use crate::schema::{
    ColumnKind, ColumnSpec, Generated, IntWidth, LobSize, Partitioning, PrimaryKey, TableSpec,
};

/// The bank's accounts: clustered integer key, balance in column `balance`.
pub fn bank() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("owner", ColumnKind::Varchar(64, Collation::Utf8mb4Bin)).not_null(),
        ColumnSpec::new("balance", ColumnKind::bigint()).not_null(),
        ColumnSpec::new("transfers", int(IntWidth::Int, true)).not_null(),
    ];
    TableSpec::new("accounts", columns).with_key(PrimaryKey::IntHandle(0))
}

/// One table of each shape.
pub fn mixed(keyless: bool) -> Vec<TableSpec> {
    let mut tables = vec![
        int_key("mixed_int_key"),
        unsigned_key(),
        common_key(),
        general_ci_key(),
        odd_key(),
        nonclustered(),
        unique_key(),
        partitioned_by_hash(),
        partitioned_by_range(),
        old_format(),
        aged(),
        lobs(),
    ];
    if keyless {
        tables.push(without_key());
    }
    tables
}

/// A table with an integer key and a column of most types.
pub fn int_key(name: &str) -> TableSpec {
    let mut columns = vec![ColumnSpec::new("id", ColumnKind::bigint())];
    columns.extend(every_type());
    TableSpec::new(name, columns)
        .with_key(PrimaryKey::IntHandle(0))
        .with_index("by_small", &[2], false)
        .with_index("by_name_day", &[16, 19], false)
}

fn int(width: IntWidth, unsigned: bool) -> ColumnKind {
    ColumnKind::Int { width, unsigned }
}

fn members(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn every_type() -> Vec<ColumnSpec> {
    let bin = Collation::Utf8mb4Bin;
    let kinds = [
        ("c_tiny", int(IntWidth::Tiny, false)),
        ("c_small", int(IntWidth::Small, false)),
        ("c_medium", int(IntWidth::Medium, false)),
        ("c_int", int(IntWidth::Int, false)),
        ("c_big", int(IntWidth::Big, false)),
        ("c_utiny", int(IntWidth::Tiny, true)),
        ("c_usmall", int(IntWidth::Small, true)),
        ("c_umedium", int(IntWidth::Medium, true)),
        ("c_uint", int(IntWidth::Int, true)),
        ("c_ubig", int(IntWidth::Big, true)),
        ("c_float", ColumnKind::Float),
        ("c_double", ColumnKind::Double),
        (
            "c_decimal",
            ColumnKind::Decimal {
                precision: 10,
                scale: 2,
            },
        ),
        (
            "c_wide",
            ColumnKind::Decimal {
                precision: 65,
                scale: 30,
            },
        ),
        ("c_char", ColumnKind::Char(32, bin)),
        ("c_varchar", ColumnKind::Varchar(200, bin)),
        ("c_ci", ColumnKind::Varchar(200, Collation::Utf8mb4GeneralCi)),
        ("c_text", ColumnKind::Text(LobSize::Normal, bin)),
        ("c_date", ColumnKind::Date),
        ("c_datetime", ColumnKind::Datetime(0)),
        ("c_datetime6", ColumnKind::Datetime(6)),
        ("c_timestamp", ColumnKind::Timestamp(0)),
        ("c_timestamp3", ColumnKind::Timestamp(3)),
        ("c_time", ColumnKind::Time(0)),
        ("c_time2", ColumnKind::Time(2)),
        ("c_year", ColumnKind::Year),
        ("c_bit1", ColumnKind::Bit(1)),
        ("c_bit", ColumnKind::Bit(12)),
        ("c_bit64", ColumnKind::Bit(64)),
        (
            "c_enum",
            ColumnKind::Enum(members(&["small", "middle", "large", "中"])),
        ),
        ("c_set", ColumnKind::Set(members(&["a", "b", "c", "d e"]))),
        ("c_json", ColumnKind::Json),
        ("c_binary", ColumnKind::Binary(16)),
        ("c_varbinary", ColumnKind::Varbinary(64)),
        ("c_blob", ColumnKind::Blob(LobSize::Normal)),
        ("c_vector", ColumnKind::Vector(None)),
        ("c_vector3", ColumnKind::Vector(Some(3))),
    ];
    kinds
        .into_iter()
        .map(|(name, kind)| ColumnSpec::new(name, kind))
        .collect()
}

fn unsigned_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("note", ColumnKind::Varchar(100, Collation::Utf8mb40900Bin)),
        ColumnSpec::new("id", int(IntWidth::Big, true)),
        ColumnSpec::new(
            "amount",
            ColumnKind::Decimal {
                precision: 20,
                scale: 6,
            },
        )
        .not_null(),
        ColumnSpec::new("changed", ColumnKind::Timestamp(6)),
    ];
    let mut table = TableSpec::new("mixed_unsigned_key", columns).with_key(PrimaryKey::IntHandle(1));
    table.row_format = RowFormat::V2Checksum(1);
    table
}

fn common_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("part", int(IntWidth::Int, false)),
        ColumnSpec::new("code", ColumnKind::Varchar(64, Collation::Utf8mb4Bin)),
        ColumnSpec::new("price", ColumnKind::Double),
        ColumnSpec::new("data", ColumnKind::Json),
    ];
    let mut table = TableSpec::new("mixed_common_key", columns).with_key(PrimaryKey::Common(vec![1, 0]));
    table.row_format = RowFormat::V2Checksum(2);
    table.with_index("by_price", &[2], false)
}

fn general_ci_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("name", ColumnKind::Varchar(64, Collation::Utf8mb4GeneralCi)),
        ColumnSpec::new("tag", ColumnKind::Char(20, Collation::Utf8mb4GeneralCi)),
        ColumnSpec::new("plain", ColumnKind::Char(20, Collation::Utf8mb4Bin)),
        ColumnSpec::new(
            "value",
            ColumnKind::Text(LobSize::Medium, Collation::Utf8mb4GeneralCi),
        ),
    ];
    TableSpec::new("mixed_ci_key", columns).with_key(PrimaryKey::Common(vec![0, 1, 2]))
}

fn odd_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new(
            "amount",
            ColumnKind::Decimal {
                precision: 18,
                scale: 4,
            },
        ),
        ColumnSpec::new("day", ColumnKind::Datetime(0)),
        ColumnSpec::new("raw", ColumnKind::Binary(12)),
        ColumnSpec::new("bytes", ColumnKind::Varbinary(20)),
        ColumnSpec::new("flag", ColumnKind::Bit(8)),
    ];
    TableSpec::new("mixed_odd_key", columns).with_key(PrimaryKey::Common(vec![0, 1, 2, 3]))
}

fn nonclustered() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("half", ColumnKind::bigint()),
        ColumnSpec::new("text", ColumnKind::Text(LobSize::Tiny, Collation::Utf8mb4Bin)),
        ColumnSpec {
            generated: Some(Generated::Virtual("`half` + 1".into())),
            ..ColumnSpec::new("next", ColumnKind::bigint())
        },
        ColumnSpec {
            generated: Some(Generated::Stored("`id` DIV 2".into())),
            ..ColumnSpec::new("halved", ColumnKind::bigint())
        },
        ColumnSpec::new("color", ColumnKind::Enum(members(&["red", "green", "blue"]))),
    ];
    TableSpec::new("mixed_nonclustered", columns).with_key(PrimaryKey::Nonclustered(vec![0]))
}

fn unique_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("email", ColumnKind::Varchar(100, Collation::Utf8mb4Bin)).not_null(),
        ColumnSpec::new("visits", int(IntWidth::Int, true)),
        ColumnSpec::new("seen", ColumnKind::Datetime(3)),
        ColumnSpec::new("picture", ColumnKind::Blob(LobSize::Medium)),
    ];
    TableSpec::new("mixed_unique_key", columns).with_index("by_email", &[0], true)
}

fn without_key() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("event", ColumnKind::Varchar(100, Collation::Utf8mb4Bin)),
        ColumnSpec::new("at", ColumnKind::Timestamp(0)),
    ];
    TableSpec::new("mixed_no_key", columns)
}

fn partitioned_by_hash() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("name", ColumnKind::Varchar(50, Collation::Utf8mb4Bin)),
        ColumnSpec::new("score", ColumnKind::Float),
    ];
    let mut table = TableSpec::new("mixed_hash_parts", columns).with_key(PrimaryKey::IntHandle(0));
    table.partitioning = Partitioning::Hash {
        column: 0,
        ids: vec![0; 4],
    };
    table
}

fn partitioned_by_range() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("group", int(IntWidth::Big, false)),
        ColumnSpec::new("value", ColumnKind::Set(members(&["x", "y", "z"]))),
    ];
    let mut table = TableSpec::new("mixed_range_parts", columns).with_key(PrimaryKey::Nonclustered(vec![0]));
    table.partitioning = Partitioning::Range {
        column: 0,
        bounds: vec![(0, Some(-20)), (0, Some(0)), (0, Some(20)), (0, None)],
    };
    table
}

fn old_format() -> TableSpec {
    let mut columns = vec![ColumnSpec::new("id", ColumnKind::bigint())];
    // Vectors came long after row format v1.
    columns.extend(
        every_type()
            .into_iter()
            .filter(|column| !matches!(column.kind, ColumnKind::Vector(_))),
    );
    let mut table = TableSpec::new("mixed_old_rows", columns).with_key(PrimaryKey::IntHandle(0));
    table.row_format = RowFormat::V1;
    table
}

/// A table to which columns were added: older rows lack them. Ids are far apart.
fn aged() -> TableSpec {
    let added = |name: &str, id: i64, kind: ColumnKind, origin: Option<Datum>, not_null: bool| ColumnSpec {
        id,
        origin,
        not_null,
        ..ColumnSpec::new(name, kind)
    };
    let noon = CivilTime {
        year: 2020,
        month: 2,
        day: 29,
        hour: 12,
        ..CivilTime::default()
    };
    let text = |len| ColumnKind::Varchar(len, Collation::Utf8mb4Bin);
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("base", text(40)),
        added("a_null", 200, ColumnKind::bigint(), None, false),
        added("a_int", 201, ColumnKind::bigint(), Some(Datum::Int(-7)), false),
        added(
            "a_uint",
            255,
            int(IntWidth::Big, true),
            Some(Datum::UInt(u64::MAX)),
            true,
        ),
        added("a_text", 256, text(40), Some(Datum::Text("früher".into())), true),
        added(
            "a_day",
            257,
            ColumnKind::Datetime(0),
            Some(Datum::Time(noon)),
            false,
        ),
        added(
            "a_stamp",
            300,
            ColumnKind::Timestamp(0),
            Some(Datum::Time(noon)),
            false,
        ),
        added("a_bit", 301, ColumnKind::Bit(12), Some(Datum::Mask(0x707)), false),
        added(
            "a_enum",
            302,
            ColumnKind::Enum(members(&["one", "two"])),
            Some(Datum::Mask(2)),
            false,
        ),
        added(
            "a_set",
            303,
            ColumnKind::Set(members(&["p", "q", "r"])),
            Some(Datum::Mask(5)),
            false,
        ),
        added(
            "a_double",
            400,
            ColumnKind::Double,
            Some(Datum::Double(1.5)),
            false,
        ),
        added(
            "a_zero",
            70_000,
            int(IntWidth::Int, false),
            Some(Datum::Int(0)),
            true,
        ),
    ];
    TableSpec::new("mixed_aged", columns).with_key(PrimaryKey::IntHandle(0))
}

fn lobs() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("words", ColumnKind::Text(LobSize::Long, Collation::Utf8mb4Bin)),
        ColumnSpec::new("bytes", ColumnKind::Blob(LobSize::Long)),
    ];
    TableSpec::new("mixed_lobs", columns).with_key(PrimaryKey::IntHandle(0))
}

use tidemark_tidb::{ColumnType, Value};

const ZEROFILL: u32 = 1 << 6;

/// MySQL's type bytes by name.
pub(crate) mod tp {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEW_DATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const VECTOR: u8 = 225;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const DECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
}

/// The type's name without parameters or attributes, in lower case: `varchar`, `longblob`.
pub(crate) fn base_name(ty: &ColumnType) -> &'static str {
    let by_charset = |text, bytes| if ty.is_binary() { bytes } else { text };
    match ty.tp {
        tp::TINY => "tinyint",
        tp::SHORT => "smallint",
        tp::INT24 => "mediumint",
        tp::LONG => "int",
        tp::LONGLONG => "bigint",
        tp::FLOAT => "float",
        tp::DOUBLE => "double",
        tp::DECIMAL => "decimal",
        tp::TIMESTAMP => "timestamp",
        tp::DATE | tp::NEW_DATE => "date",
        tp::TIME => "time",
        tp::DATETIME => "datetime",
        tp::YEAR => "year",
        tp::BIT => "bit",
        tp::VECTOR => "vector",
        tp::JSON => "json",
        tp::ENUM => "enum",
        tp::SET => "set",
        tp::TINY_BLOB => by_charset("tinytext", "tinyblob"),
        tp::MEDIUM_BLOB => by_charset("mediumtext", "mediumblob"),
        tp::LONG_BLOB => by_charset("longtext", "longblob"),
        tp::BLOB => by_charset("text", "blob"),
        tp::VARCHAR | tp::VAR_STRING => by_charset("varchar", "varbinary"),
        tp::STRING => by_charset("char", "binary"),
        _ => "unknown",
    }
}

/// canal's `mysqlType`: the base name with ` unsigned` and ` zerofill` where they apply.
pub(crate) fn mysql_type(ty: &ColumnType) -> String {
    let mut name = base_name(ty).to_owned();
    if ty.is_unsigned() && !matches!(ty.tp, tp::BIT | tp::YEAR) {
        name.push_str(" unsigned");
    }
    if ty.flags & ZEROFILL != 0 && ty.tp != tp::YEAR {
        name.push_str(" zerofill");
    }
    name
}

/// canal's `sqlType` (java.sql.Types) of NULL and of all values that fit the signed type.
pub(crate) fn sql_type(ty: &ColumnType) -> i32 {
    match ty.tp {
        tp::TINY => -6,
        tp::SHORT => 5,
        tp::INT24 | tp::LONG | tp::ENUM => 4,
        tp::LONGLONG => -5,
        tp::FLOAT => 7,
        tp::DOUBLE => 8,
        tp::DECIMAL => 3,
        tp::SET | tp::BIT => -7,
        tp::DATE | tp::NEW_DATE => 91,
        tp::TIME => 92,
        tp::DATETIME | tp::TIMESTAMP => 93,
        tp::STRING if ty.is_binary() => 2004,
        tp::STRING => 1,
        tp::VARCHAR | tp::VAR_STRING if ty.is_binary() => 2004,
        tp::TINY_BLOB | tp::MEDIUM_BLOB | tp::LONG_BLOB | tp::BLOB if ty.is_binary() => 2004,
        tp::TINY_BLOB | tp::MEDIUM_BLOB | tp::LONG_BLOB | tp::BLOB => 2005,
        _ => 12,
    }
}

/// The next wider code of an unsigned column, and the largest value that doesn't need it.
pub(crate) fn wide_sql_type(ty: &ColumnType) -> Option<(u64, i32)> {
    let widened = match ty.tp {
        tp::TINY => (127, 5),
        tp::SHORT => (32_767, 4),
        tp::LONG => (2_147_483_647, -5),
        tp::LONGLONG => (9_223_372_036_854_775_807, 3),
        _ => return None,
    };
    ty.is_unsigned().then_some(widened)
}

/// Whether the value needs the wider code.
pub(crate) fn exceeds(value: Value<'_>, limit: u64) -> bool {
    matches!(value, Value::UInt(number) if number > limit)
}

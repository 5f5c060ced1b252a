use tidemark_tidb::{ColumnType, Value, tp};

const ZEROFILL: u32 = 1 << 6;

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
        tp::DURATION => "time",
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
        tp::DURATION => 92,
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

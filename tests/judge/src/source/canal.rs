use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::truth::Columns;
use crate::{RowObservation, RowOp};

/// Bits of a ts below its milliseconds.
const LOGICAL_BITS: u32 = 18;

/// A canal-json message with TiDB's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanalMessage {
    /// A row change.
    Row(RowObservation),
    /// A schema change.
    Ddl {
        /// The database.
        schema: String,
        /// The table; empty for a database's DDL.
        table: String,
        /// When it took effect.
        commit_ts: u64,
        /// Its text.
        sql: String,
    },
    /// A watermark.
    Watermark(u64),
}

#[derive(Deserialize)]
struct Message {
    database: String,
    table: String,
    #[serde(rename = "pkNames")]
    pk_names: Option<Vec<String>>,
    #[serde(rename = "isDdl")]
    is_ddl: bool,
    #[serde(rename = "type")]
    kind: String,
    es: u64,
    sql: String,
    #[serde(rename = "sqlType")]
    sql_type: Option<BTreeMap<String, i32>>,
    #[serde(rename = "mysqlType")]
    mysql_type: Option<BTreeMap<String, String>>,
    #[serde(default)]
    data: Option<Vec<Columns>>,
    #[serde(default)]
    old: Option<Vec<Columns>>,
    #[serde(rename = "_tidb")]
    extension: Option<Extension>,
    // Always there, and of no meaning to the judge.
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "ts")]
    _ts: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extension {
    commit_ts: Option<u64>,
    watermark_ts: Option<u64>,
    #[serde(default)]
    only_handle_key: bool,
    claim_check_location: Option<String>,
}

/// Parses one message of the canal-json protocol as TiCDC defines it; `enable-tidb-extension` has to be on.
///
/// # Errors
/// Says in words what breaks the format.
pub fn parse_canal(json: &[u8]) -> Result<CanalMessage, String> {
    let message: Message = serde_json::from_slice(json).map_err(|error| format!("no canal-json: {error}"))?;
    let extension = message.extension.as_ref().ok_or("_tidb is missing")?;
    if message.kind == "TIDB_WATERMARK" {
        let ts = extension
            .watermark_ts
            .ok_or("a watermark without _tidb.watermarkTs")?;
        check_es(message.es, ts)?;
        return Ok(CanalMessage::Watermark(ts));
    }
    let commit_ts = extension.commit_ts.ok_or("_tidb.commitTs is missing")?;
    check_es(message.es, commit_ts)?;
    let op = match (message.kind.as_str(), message.is_ddl) {
        (_, true) => {
            return Ok(CanalMessage::Ddl {
                schema: message.database,
                table: message.table,
                commit_ts,
                sql: message.sql,
            });
        }
        ("INSERT", _) => RowOp::Insert,
        ("UPDATE", _) => RowOp::Update,
        ("DELETE", _) => RowOp::Delete,
        (other, _) => return Err(format!("unknown type {other:?}")),
    };
    if extension.only_handle_key || extension.claim_check_location.is_some() {
        return Err("the row was too large for a message and is elsewhere".to_owned());
    }
    let row = single(message.data)?.ok_or("data is missing")?;
    let old = single(message.old)?;
    if op != RowOp::Update && old.is_some() {
        return Err(format!("old on {}", message.kind));
    }
    let types = (message.sql_type.as_ref(), message.mysql_type.as_ref());
    let (Some(sql_type), Some(mysql_type)) = types else {
        return Err("sqlType or mysqlType is missing".to_owned());
    };
    if !sql_type.keys().eq(row.keys()) || !mysql_type.keys().eq(row.keys()) {
        return Err("sqlType and mysqlType name other columns than data".to_owned());
    }
    if let Some(missing) = message
        .pk_names
        .iter()
        .flatten()
        .find(|name| !row.contains_key(*name))
    {
        return Err(format!("pkNames names {missing:?}, which data lacks"));
    }
    Ok(CanalMessage::Row(RowObservation {
        schema: message.database,
        table: message.table,
        commit_ts,
        op,
        row,
        old,
    }))
}

fn check_es(es: u64, ts: u64) -> Result<(), String> {
    if es == ts >> LOGICAL_BITS {
        Ok(())
    } else {
        Err(format!("es {es} is not the time of ts {ts}"))
    }
}

fn single(rows: Option<Vec<Columns>>) -> Result<Option<Columns>, String> {
    let Some(mut rows) = rows else { return Ok(None) };
    match rows.len() {
        1 => Ok(rows.pop()),
        other => Err(format!("{other} rows in one message")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const UPDATE: &str = r#"{"id":0,"database":"shop","table":"t","pkNames":["id"],"isDdl":false,"type":"UPDATE",
        "es":1700000000000,"ts":1700000000100,"sql":"","sqlType":{"id":4,"b":2004},"mysqlType":{"id":"int","b":"blob"},
        "old":[{"id":"1","b":null}],"data":[{"id":"1","b":"\u00ff"}],"_tidb":{"commitTs":445644800000000001}}"#;

    #[test]
    fn an_update_is_read() {
        let CanalMessage::Row(row) = parse_canal(UPDATE.as_bytes()).unwrap() else {
            unreachable!()
        };
        assert_eq!(
            (row.schema.as_str(), row.commit_ts, row.op),
            ("shop", 445_644_800_000_000_001, RowOp::Update)
        );
        assert_eq!(row.row["b"], Some("\u{ff}".to_owned()));
        assert_eq!(row.old.unwrap()["b"], None);
    }

    #[test]
    fn a_watermark_and_a_ddl_are_read() {
        let watermark = r#"{"id":0,"database":"","table":"","pkNames":null,"isDdl":false,"type":"TIDB_WATERMARK",
            "es":1700000000000,"ts":5,"sql":"","sqlType":null,"mysqlType":null,"data":null,"old":null,
            "_tidb":{"watermarkTs":445644800000000001}}"#;
        assert_eq!(
            parse_canal(watermark.as_bytes()),
            Ok(CanalMessage::Watermark(445_644_800_000_000_001))
        );
        let ddl = watermark
            .replace("false", "true")
            .replace("TIDB_WATERMARK", "CREATE")
            .replace("watermark", "commit");
        assert!(matches!(
            parse_canal(ddl.as_bytes()),
            Ok(CanalMessage::Ddl { .. })
        ));
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        for (from, to, says) in [
            (r#""1","b":null"#, r#"1,"b":null"#, "expected a string"),
            ("1700000000000", "1700000000001", "is not the time of"),
            (
                r#","_tidb":{"commitTs":445644800000000001}"#,
                "",
                "_tidb is missing",
            ),
            ("commitTs", "other", "commitTs is missing"),
            ("UPDATE", "DELETE", "old on DELETE"),
            ("UPDATE", "UPSERT", "unknown type"),
            (r#""sqlType":{"id":4,"#, r#""sqlType":{"#, "other columns"),
            (r#"["id"]"#, r#"["key"]"#, "pkNames"),
            (r#""data":[{"#, r#""data":[],"data":[{"#, "duplicate field"),
        ] {
            let broken = UPDATE.replace(from, to);
            assert_ne!(broken, UPDATE);
            let error = parse_canal(broken.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error} does not say {says}");
        }
    }
}

//! A small truth, and its messages as a sink would write them.

use serde_json::{Value, json};
use tidemark_judge::{Columns, TruthOp, TruthRow};

/// Milliseconds of the first commit.
pub(crate) const BEGIN_MS: u64 = 1_700_000_000_000;

/// The n-th commit ts.
pub(crate) fn ts(n: u64) -> u64 {
    ((BEGIN_MS + n) << 18) + 1
}

/// Keys 0..8 are inserted at ts(1), each is updated ten times, the even ones are deleted at the end, at ts(12).
pub(crate) fn truth() -> Vec<TruthRow> {
    let image = |id: u64, n: u64| -> Columns {
        let columns = [
            ("id", Some(id.to_string())),
            ("name", Some(format!("a,\"b\" {n}"))),
            ("note", None),
        ];
        columns
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    let row = |n: u64, id: u64, op: TruthOp, row: Columns, old: Option<Columns>| TruthRow {
        schema: "shop".to_owned(),
        table: "orders".to_owned(),
        key: id.to_string(),
        start_ts: ts(n) - 1,
        commit_ts: ts(n),
        op,
        row,
        old,
    };
    let mut rows: Vec<TruthRow> = (0..8)
        .map(|id| row(1, id, TruthOp::Insert, image(id, 1), None))
        .collect();
    for n in 2..=11 {
        rows.extend((0..8).map(|id| row(n, id, TruthOp::Update, image(id, n), Some(image(id, n - 1)))));
    }
    rows.extend(
        (0..8)
            .step_by(2)
            .map(|id| row(12, id, TruthOp::Delete, image(id, 11), None)),
    );
    rows
}

pub(crate) fn truth_file(dir: &std::path::Path) -> std::path::PathBuf {
    let path = dir.join("truth.jsonl");
    let lines: Vec<String> = truth()
        .iter()
        .map(|row| serde_json::to_string(row).unwrap())
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

pub(crate) fn canal(row: &TruthRow) -> String {
    let types =
        |value: Value| -> Value { row.row.keys().map(|name| (name.clone(), value.clone())).collect() };
    json!({
        "id": 0, "database": row.schema, "table": row.table, "pkNames": ["id"], "isDdl": false,
        "type": match row.op {
            TruthOp::Insert => "INSERT",
            TruthOp::Update => "UPDATE",
            TruthOp::Delete => "DELETE",
        },
        "es": row.commit_ts >> 18, "ts": 0, "sql": "", "sqlType": types(json!(12)), "mysqlType": types(json!("varchar")),
        "old": row.old.as_ref().map(|old| vec![old]), "data": [row.row], "_tidb": {"commitTs": row.commit_ts},
    })
    .to_string()
}

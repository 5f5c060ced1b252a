//! From stored keys and rows to events.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_model::{KvChange, Op, Ts};
use tidemark_sink::SinkError;
use tidemark_sink::encode::{RowChange, RowKind};
use tidemark_tidb::{Handle, Layout, RowKey, Table, Value, key};

use crate::columns::{column, table};

/// TiDB's row format 2 with one-byte ids: `id` and the bytes of each column.
pub(crate) fn row_v2(columns: &[(u8, &[u8])]) -> Bytes {
    let count = u16::try_from(columns.len()).unwrap();
    let mut row = vec![128, 0];
    row.extend(count.to_le_bytes());
    row.extend([0, 0]);
    row.extend(columns.iter().map(|(id, _)| *id));
    let mut end = 0;
    for (_, bytes) in columns {
        end += u16::try_from(bytes.len()).unwrap();
        row.extend(end.to_le_bytes());
    }
    columns.iter().for_each(|(_, bytes)| row.extend(*bytes));
    row.into()
}

/// `a INT PRIMARY KEY NONCLUSTERED, b VARCHAR`
fn nonclustered() -> Arc<Table> {
    let mut b = column("b", 15, 0, "utf8mb4");
    b.id = 2;
    table(vec![column("a", 3, 0, "binary"), b], &[0])
}

fn change(op: Op, value: Bytes, old_value: Bytes) -> KvChange {
    KvChange {
        key: key::int_record_key(100, 7).into(),
        value,
        old_value,
        start_ts: Ts(1),
        commit_ts: Ts(2),
        op,
    }
}

type Told = (RowKind, Vec<String>, Vec<String>, bool);

fn told(table: &Table, change: &KvChange) -> Vec<Told> {
    let key = RowKey::new(&change.key);
    let row = RowChange::decode(table, &key, change).unwrap();
    let texts = |values: &[Value<'_>]| values.iter().map(|value| format!("{value:?}")).collect();
    row.events()
        .map(|event| (event.kind, texts(event.new), texts(event.old), event.key_only))
        .collect()
}

fn texts(values: &[Value<'_>]) -> Vec<String> {
    values.iter().map(|value| format!("{value:?}")).collect()
}

#[test]
fn a_put_is_an_insert_or_an_update_by_its_old_value() {
    let table = nonclustered();
    let (one, two) = (row_v2(&[(1, &[5]), (2, b"x")]), row_v2(&[(1, &[5]), (2, b"y")]));
    let (x, y) = (
        texts(&[Value::Int(5), Value::Bytes(b"x")]),
        texts(&[Value::Int(5), Value::Bytes(b"y")]),
    );
    let insert = change(Op::Put, one.clone(), Bytes::new());
    assert_eq!(
        told(&table, &insert),
        [(RowKind::Insert, x.clone(), vec![], false)]
    );
    let update = change(Op::Put, two, one.clone());
    assert_eq!(told(&table, &update), [(RowKind::Update, y, x.clone(), false)]);
    let delete = change(Op::Delete, Bytes::new(), one);
    assert_eq!(told(&table, &delete), [(RowKind::Delete, vec![], x, false)]);
}

#[test]
fn an_update_of_the_handle_key_is_a_delete_and_an_insert() {
    let (old, new) = (row_v2(&[(1, &[5]), (2, b"x")]), row_v2(&[(1, &[6]), (2, b"x")]));
    let x = |a: i64| texts(&[Value::Int(a), Value::Bytes(b"x")]);
    assert_eq!(
        told(&nonclustered(), &change(Op::Put, new, old)),
        [
            (RowKind::Delete, vec![], x(5), false),
            (RowKind::Insert, x(6), vec![], false)
        ]
    );
}

#[test]
fn a_delete_without_an_old_value_knows_the_handle() {
    let mut clustered = (*nonclustered()).clone();
    clustered.layout = Layout::Tidb(Handle::Int(0));
    let delete = change(Op::Delete, Bytes::new(), Bytes::new());
    let known = texts(&[Value::Int(7), Value::Null]);
    assert_eq!(
        told(&clustered, &delete),
        [(RowKind::Delete, vec![], known, true)]
    );
}

#[test]
fn a_damaged_row_names_table_key_and_reason() {
    let table = nonclustered();
    let broken = change(Op::Put, Bytes::from_static(&[128, 0, 9]), Bytes::new());
    let key = RowKey::new(&broken.key);
    let error = SinkError::from(RowChange::decode(&table, &key, &broken).unwrap_err()).to_string();
    assert!(error.contains("shop.t"), "{error}");
    assert!(
        error.contains("7480000000000000645f728000000000000007"),
        "{error}"
    );
    assert!(error.contains("the row is damaged: "), "{error}");
}

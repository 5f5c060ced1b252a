#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tidemark_model::{KvChange, Op, Ts};

use super::*;
use crate::meta_key::SchemaKey;
use crate::{Handle, Layout, RowKey, StoredValue, Table, Value};

const START: Ts = Ts(1000);

fn name(name: &str) -> Json {
    json!({"O": name, "L": name.to_lowercase()})
}

fn column(id: i64, title: &str, tp: u8, flag: u32) -> Json {
    json!({
        "id": id, "name": name(title), "offset": id - 1, "origin_default": null, "default": null,
        "generated_expr_string": "", "generated_stored": false, "state": 5, "hidden": false, "version": 2,
        "type": {"Tp": tp, "Flag": flag, "Flen": 20, "Decimal": 0, "Charset": "binary", "Collate": "binary", "Elems": null}
    })
}

/// `(id BIGINT PRIMARY KEY, note BLOB)`.
fn table(id: i64, title: &str) -> Json {
    json!({
        "id": id, "name": name(title), "cols": [column(1, "id", 8, 3), column(2, "note", 252, 128)],
        "index_info": null, "state": 5, "pk_is_handle": true, "is_common_handle": false,
        "update_timestamp": 435_566_778_899_001_122_u64, "partition": null, "view": null, "sequence": null
    })
}

fn with(mut base: Json, fields: Json) -> Json {
    for (field, value) in fields.as_object().unwrap() {
        base[field] = value.clone();
    }
    base
}

fn wanted(rule: fn(&str, &str) -> bool) -> Wanted {
    Arc::new(rule)
}

fn in_shop() -> Wanted {
    wanted(|schema, _| schema == "shop")
}

fn snapshot(wanted: Wanted, tables: &[(i64, Json)]) -> Result<Snapshot, SnapshotError> {
    let mut builder = SnapshotBuilder::new(START, wanted);
    for (id, title) in [(1, "mysql"), (2, "shop"), (3, "other")] {
        let info = json!({"id": id, "db_name": name(title), "state": 5});
        builder.add(&SchemaKey::Database { id }.build(), info.to_string().as_bytes())?;
    }
    for (database, info) in tables {
        let id = info["id"].as_i64().unwrap();
        builder.add(
            &SchemaKey::Table {
                database: *database,
                id,
            }
            .build(),
            info.to_string().as_bytes(),
        )?;
    }
    builder.finish()
}

fn schema(tables: &[(i64, Json)]) -> Schema {
    Schema::new(&snapshot(in_shop(), tables).unwrap(), in_shop())
}

fn job(action: u16, table_id: i64, fields: Json) -> DdlJob {
    let base = json!({
        "id": 77, "type": action, "schema_id": 2, "table_id": table_id, "schema_name": "shop", "state": 4,
        "query": "the statement", "start_ts": 435_566_778_899_001_122_u64, "raw_args": [null, {"x": 1}],
        "binlog": {"SchemaVersion": 9, "DBInfo": null, "TableInfo": null, "FinishedTS": 0}
    });
    DdlJob::parse(with(base, fields).to_string().as_bytes()).unwrap()
}

fn leaving(info: Json) -> Json {
    json!({"binlog": {"SchemaVersion": 9, "TableInfo": info, "FinishedTS": 0}})
}

fn from_info(info: Json) -> Result<Table, TableError> {
    Table::from_info("shop", &serde_json::from_value(info).unwrap())
}

fn changes(effect: DdlEffect) -> Vec<TableChange> {
    match effect {
        DdlEffect::Changed(ddl) => ddl.changes,
        other => panic!("{other:?}"),
    }
}

/// The only table that was altered: before and after.
fn altered(effect: DdlEffect) -> (Arc<Table>, Arc<Table>) {
    match <[TableChange; 1]>::try_from(changes(effect)) {
        Ok([TableChange::Altered { old, new }]) => (old, new),
        other => panic!("{other:?}"),
    }
}

fn split(id: i64, title: &str, parts: &[i64]) -> Json {
    let definitions: Vec<_> = parts
        .iter()
        .map(|id| json!({"id": id, "name": name(&format!("p{id}"))}))
        .collect();
    with(
        table(id, title),
        json!({"partition": {"enable": true, "definitions": definitions}}),
    )
}

fn stopped(effect: DdlEffect) -> UnsupportedDdl {
    match effect {
        DdlEffect::Unsupported(ddl) => ddl,
        other => panic!("expected a stop, got {other:?}"),
    }
}

#[test]
fn a_snapshot_holds_the_wanted_tables_of_user_databases() {
    let view = with(
        table(13, "v"),
        json!({"view": {"view_select": "select 1"}, "cols": [column(1, "a", 0, 0)]}),
    );
    let sequence = with(table(14, "s"), json!({"sequence": {"sequence_start": 1}}));
    let temporary = with(table(15, "tmp"), json!({"temp_table_type": 1}));
    let keyless = with(table(16, "keyless"), json!({"pk_is_handle": false}));
    let every = wanted(|_, _| true);
    let found = snapshot(
        every,
        &[
            (1, table(5, "user")),
            (2, table(12, "orders")),
            (2, view),
            (2, sequence),
            (2, temporary),
            (2, keyless),
        ],
    )
    .unwrap();
    let names: Vec<_> = found.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["orders"]);
    let reasons: Vec<_> = found
        .ineligible
        .iter()
        .map(|one| (one.name.as_str(), one.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("tmp", IneligibleReason::Temporary),
            ("keyless", IneligibleReason::NoHandleKey)
        ]
    );
    assert_eq!(found.tables[0].updated, Ts(435_566_778_899_001_122));
}

#[test]
fn a_snapshot_takes_keys_in_any_order_and_skips_counters() {
    let mut builder = SnapshotBuilder::new(START, in_shop());
    let orders = table(12, "orders").to_string();
    builder
        .add(
            &SchemaKey::Table { database: 2, id: 12 }.build(),
            orders.as_bytes(),
        )
        .unwrap();
    builder
        .add(&crate::meta_key::hash_field("DB:2", "TID:12"), b"30001")
        .unwrap();
    builder.add(b"t\x80", b"not meta").unwrap();
    let shop = json!({"id": 2, "db_name": name("shop"), "state": 5, "Deprecated": {}}).to_string();
    builder
        .add(&SchemaKey::Database { id: 2 }.build(), shop.as_bytes())
        .unwrap();
    assert_eq!(builder.databases().collect::<Vec<_>>(), [(2, "shop")]);
    assert_eq!(builder.finish().unwrap().tables.len(), 1);
}

#[test]
fn a_table_without_its_database_is_an_error() {
    let failed = snapshot(in_shop(), &[(99, table(12, "orders"))]).unwrap_err();
    assert!(failed.to_string().contains("database id 99"), "{failed}");
}

#[test]
fn tables_outside_the_filter_may_be_beyond_decoding() {
    let odd = with(table(12, "odd"), json!({"cols": [column(1, "shape", 255, 3)]}));
    assert!(
        snapshot(in_shop(), &[(3, odd.clone())])
            .unwrap()
            .tables
            .is_empty()
    );
    let failed = snapshot(in_shop(), &[(2, odd)]).unwrap_err();
    assert!(
        failed.to_string().contains("column `shape` has type 255"),
        "{failed}"
    );
}

#[test]
fn only_public_stored_columns_are_emitted() {
    let cols = json!([
        column(1, "id", 8, 3),
        with(
            column(2, "virtual", 8, 0),
            json!({"generated_expr_string": "`id` + 1"})
        ),
        with(
            column(3, "stored", 8, 0),
            json!({"generated_expr_string": "`id` + 2", "generated_stored": true})
        ),
        with(column(4, "coming", 8, 0), json!({"state": 2})),
        with(column(5, "_V$_expr", 8, 0), json!({"hidden": true})),
    ]);
    let table = from_info(with(table(12, "orders"), json!({"cols": cols}))).unwrap();
    let names: Vec<_> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.generated))
        .collect();
    assert_eq!(names, [("id", false), ("stored", true)]);
}

#[test]
fn the_handle_key_is_the_shortest_unique_index_over_not_null_columns() {
    let index = |id: i64, unique: bool, offsets: &[i64]| {
        let cols: Vec<_> = offsets
            .iter()
            .map(|at| json!({"name": name("c"), "offset": at, "length": -1}))
            .collect();
        json!({"id": id, "idx_name": name(&format!("u{id}")), "idx_cols": cols, "state": 5, "is_unique": unique})
    };
    let base = with(
        table(12, "t"),
        json!({
            "pk_is_handle": false,
            "cols": [column(1, "a", 8, 1), column(2, "b", 8, 1), column(3, "c", 8, 0)],
            "index_info": [index(4, true, &[0, 1]), index(3, true, &[1]), index(2, true, &[0]), index(1, true, &[2]),
                           index(5, false, &[0])],
        }),
    );
    let table = from_info(base).unwrap();
    assert_eq!(table.layout, Layout::Tidb(Handle::RowId));
    assert_eq!(table.handle_key, [0]);
    assert!(table.primary_key.is_empty());
    let unique: Vec<_> = table.unique.iter().map(|index| index.name.as_str()).collect();
    assert_eq!(unique, ["u1", "u2", "u3", "u4"]);
}

#[test]
fn a_clustered_key_gives_its_columns_in_key_order() {
    let primary = json!({
        "id": 1, "idx_name": name("PRIMARY"), "state": 5, "is_unique": true, "is_primary": true,
        "idx_cols": [{"name": name("b"), "offset": 1, "length": 4}, {"name": name("a"), "offset": 0, "length": -1}]
    });
    let cols = json!([column(1, "a", 8, 3), column(2, "b", 15, 3)]);
    let info =
        json!({"pk_is_handle": false, "is_common_handle": true, "cols": cols, "index_info": [primary]});
    let table = from_info(with(table(12, "t"), info)).unwrap();
    assert_eq!(
        table.layout,
        Layout::Tidb(Handle::Common(vec![(1, Some(4)), (0, None)]))
    );
    assert_eq!(
        (table.primary_key.as_slice(), table.handle_key.as_slice()),
        (&[1, 0][..], &[1, 0][..])
    );
}

#[test]
fn partitions_count_only_where_enabled() {
    let parts = |enable: bool| {
        json!({"partition": {"enable": enable, "type": 1, "columns": null, "NewPartitionIDs": null,
            "definitions": [{"id": 21, "name": name("p0")}, {"id": 22, "name": name("p1")}], "adding_definitions": null}})
    };
    let split = from_info(with(table(12, "t"), parts(true))).unwrap();
    assert_eq!(split.physical_ids().collect::<Vec<_>>(), [21, 22]);
    let whole = from_info(with(table(12, "t"), parts(false))).unwrap();
    assert_eq!(whole.physical_ids().collect::<Vec<_>>(), [12]);
}

#[test]
fn added_columns_keep_the_default_of_their_time() {
    let typed = |id, title: &str, tp, flag, more: Json, default: Json| {
        let mut column = with(column(id, title, tp, flag), default);
        column["type"] = with(column["type"].clone(), more);
        column
    };
    let cols = json!([
        column(1, "id", 8, 3),
        typed(
            2,
            "amount",
            246,
            0,
            json!({"Flen": 10, "Decimal": 2}),
            json!({"origin_default": "12.345"})
        ),
        typed(
            3,
            "at",
            12,
            0,
            json!({"Decimal": 6}),
            json!({"origin_default": "2024-02-29 13:05:06.123456"})
        ),
        typed(
            4,
            "bits",
            16,
            32,
            json!({"Flen": 12}),
            json!({"origin_default": "\u{7}\u{7}", "origin_default_bit": "Bwc="})
        ),
        typed(
            5,
            "colour",
            247,
            0,
            json!({"Elems": ["red", "Green"]}),
            json!({"origin_default": "green"})
        ),
        typed(
            6,
            "raw",
            254,
            128,
            json!({"Flen": 4}),
            json!({"origin_default": "\u{0}\u{12}"})
        ),
        typed(
            7,
            "tags",
            248,
            0,
            json!({"Elems": ["a", "b", "c"]}),
            json!({"origin_default": "a,c"})
        ),
        typed(
            8,
            "wait",
            11,
            0,
            json!({}),
            json!({"origin_default": "-01:00:00"})
        ),
        typed(9, "doc", 245, 1, json!({}), json!({})),
        typed(10, "count", 3, 33, json!({}), json!({"origin_default": 7})),
        typed(11, "sure", 247, 1, json!({"Elems": ["x", "y"]}), json!({})),
        column(12, "free", 3, 0),
        typed(13, "price", 246, 1, json!({"Flen": 5, "Decimal": 2}), json!({})),
    ]);
    let table = from_info(with(table(12, "t"), json!({"cols": cols}))).unwrap();
    let key = crate::key::int_record_key(12, 5);
    let key = RowKey::new(&key);
    let values = table.decode(&key, &[]).unwrap();
    let mut text = Vec::new();
    for (column, value) in table.columns.iter().zip(&values) {
        if *value == Value::Null {
            text.extend_from_slice(b"NULL");
        }
        value
            .write_text(column, &crate::TimeZone::Utc, &mut text)
            .unwrap();
        text.push(b'|');
    }
    let text = String::from_utf8(text).unwrap();
    let expected = "5|12.35|2024-02-29 13:05:06.123456|1799|2|\0\u{12}\0\0|5|-01:00:00|null|7|1|NULL|0.00|";
    assert_eq!(text, expected);
    assert_eq!(table.columns[3].absent, StoredValue::Bit(0x707));
}

#[test]
fn a_default_that_is_no_value_is_refused() {
    let cols = json!([
        column(1, "id", 8, 3),
        with(column(2, "n", 3, 0), json!({"origin_default": "many"}))
    ]);
    let failed = from_info(with(table(12, "t"), json!({"cols": cols}))).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("`n` was added with the default \"many\""),
        "{failed}"
    );
}

#[test]
fn created_tables_join_once() {
    let mut schema = schema(&[(2, table(12, "orders"))]);
    let create = job(3, 30, leaving(table(30, "items")));
    let created = changes(schema.apply(&create, Ts(1001)).unwrap());
    assert!(matches!(created.as_slice(), [TableChange::Added(table)] if table.name == "items"));
    assert_eq!(schema.table_by_physical_id(30).unwrap().schema, "shop");
    assert_eq!(schema.apply(&create, Ts(1002)).unwrap(), DdlEffect::Nothing);
    assert_eq!(schema.tables().count(), 2);
}

#[test]
fn several_tables_are_created_by_one_job_and_partitions_are_found() {
    let mut schema = schema(&[]);
    let parts = json!({"partition": {"enable": true, "definitions": [{"id": 41, "name": name("p0")}]}});
    let infos = json!([table(31, "a"), with(table(32, "b"), parts)]);
    let create = job(
        60,
        0,
        json!({"binlog": {"SchemaVersion": 9, "TableInfo": null, "MultipleTableInfos": infos}}),
    );
    let created = changes(schema.apply(&create, Ts(1001)).unwrap());
    assert!(matches!(
        created.as_slice(),
        [TableChange::Added(_), TableChange::Added(_)]
    ));
    assert_eq!(schema.table_by_physical_id(41).unwrap().name, "b");
    assert!(schema.table_by_physical_id(32).is_none());
}

#[test]
fn a_table_of_a_new_database_is_named_by_it() {
    let every = wanted(|_, _| true);
    let mut schema = Schema::new(&snapshot(Arc::clone(&every), &[]).unwrap(), every);
    let database = json!({"schema_id": 50, "schema_name": "",
        "binlog": {"SchemaVersion": 9, "DBInfo": {"id": 50, "db_name": name("New"), "state": 5}}});
    assert_eq!(
        schema.apply(&job(1, 0, database), Ts(1001)).unwrap(),
        DdlEffect::Nothing
    );
    let create = with(
        leaving(table(51, "t")),
        json!({"schema_id": 50, "schema_name": "new"}),
    );
    schema.apply(&job(3, 51, create), Ts(1002)).unwrap();
    assert_eq!(schema.table_by_physical_id(51).unwrap().schema, "New");
}

#[test]
fn jobs_before_the_snapshot_and_without_effect_are_skipped() {
    let mut schema = schema(&[(2, table(12, "orders"))]);
    assert_eq!(
        schema.apply(&job(4, 12, json!({})), START).unwrap(),
        DdlEffect::Nothing
    );
    let nothing = json!({"binlog": {"SchemaVersion": 0}});
    assert_eq!(
        schema.apply(&job(4, 12, nothing), Ts(1001)).unwrap(),
        DdlEffect::Nothing
    );
}

#[test]
fn a_creation_without_its_table_is_an_error() {
    let failed = schema(&[]).apply(&job(3, 30, json!({})), Ts(1001)).unwrap_err();
    assert!(failed.to_string().contains("job 77"), "{failed}");
}

#[test]
fn ddl_that_can_not_be_followed_stops_by_name() {
    // Without the definition that they leave behind, or bringing rows that are not in the stream.
    for action in [
        5, 6, 11, 12, 14, 19, 20, 23, 25, 29, 42, 47, 61, 64, 71, 72, 76, 200,
    ] {
        let mut schema = schema(&[(2, table(12, "orders"))]);
        let ddl = stopped(schema.apply(&job(action, 12, json!({})), Ts(1234)).unwrap());
        assert_eq!(
            (ddl.table.as_str(), ddl.finished_ts),
            ("shop.orders", Ts(1234)),
            "{action}"
        );
        let text = ddl.to_string();
        assert!(
            text.contains("shop.orders") && text.contains("the statement") && text.contains("1234"),
            "{text}"
        );
    }
    let mut schema = schema(&[(2, table(12, "orders"))]);
    assert_eq!(
        stopped(schema.apply(&job(62, 0, json!({})), Ts(1001)).unwrap())
            .action
            .name(),
        "flashback cluster"
    );
}

#[test]
fn columns_and_keys_change_under_the_same_id() {
    for action in [5, 6, 7, 8, 9, 12, 13, 15, 17, 18, 22, 30, 37, 38, 41, 61, 65, 75] {
        let mut schema = schema(&[(2, table(12, "orders"))]);
        let cols = json!([
            column(1, "id", 8, 3),
            column(2, "qty", 3, 0),
            column(3, "more", 3, 0)
        ]);
        let newer = with(table(12, "orders"), json!({"update_timestamp": 99, "cols": cols}));
        let effect = schema.apply(&job(action, 12, leaving(newer)), Ts(1001)).unwrap();
        let DdlEffect::Changed(ddl) = &effect else {
            panic!("{effect:?}")
        };
        assert_eq!(
            (ddl.ts, ddl.schema.as_str(), ddl.table.as_str()),
            (Ts(1001), "shop", "orders")
        );
        assert_eq!(
            (ddl.action, ddl.query.as_str()),
            (ActionType(action), "the statement")
        );
        let (old, new) = altered(effect);
        assert_eq!(
            (old.id, new.id, new.columns.len(), new.updated),
            (12, 12, 3, Ts(99)),
            "{action}"
        );
        assert_eq!(schema.table_by_physical_id(12).unwrap(), new);
    }
}

#[test]
fn dropped_tables_and_databases_are_gone() {
    let mut schema = schema(&[(2, table(12, "orders")), (2, split(13, "parts", &[21, 22]))]);
    let dropped = changes(schema.apply(&job(4, 13, json!({})), Ts(1001)).unwrap());
    assert!(matches!(dropped.as_slice(), [TableChange::Dropped(table)] if table.name == "parts"));
    assert!(schema.table_by_physical_id(21).is_none());
    let effect = schema.apply(&job(2, 0, json!({})), Ts(1002)).unwrap();
    let DdlEffect::Changed(ddl) = &effect else {
        panic!("{effect:?}")
    };
    assert_eq!((ddl.schema.as_str(), ddl.table.as_str()), ("shop", ""));
    assert!(matches!(changes(effect).as_slice(), [TableChange::Dropped(table)] if table.name == "orders"));
    assert_eq!(schema.tables().count(), 0);
}

#[test]
fn a_truncated_or_repartitioned_table_goes_on_under_another_id() {
    for action in [11, 71, 72] {
        let mut schema = schema(&[(2, split(12, "orders", &[21, 22]))]);
        let job = job(action, 12, leaving(split(32, "orders", &[41, 42])));
        let (old, new) = altered(schema.apply(&job, Ts(1001)).unwrap());
        assert_eq!((old.id, new.id), (12, 32), "{action}");
        assert!(
            TableChange::Altered {
                old,
                new: Arc::clone(&new)
            }
            .kept()
            .is_empty()
        );
        assert!(schema.table_by_physical_id(21).is_none());
        assert_eq!(schema.table_by_physical_id(42).unwrap(), new);
    }
}

#[test]
fn partitions_come_and_go() {
    for action in [19, 20, 23, 64] {
        let mut schema = schema(&[(2, split(12, "orders", &[21, 22]))]);
        let job = job(action, 12, leaving(split(12, "orders", &[22, 23])));
        let changed = changes(schema.apply(&job, Ts(1001)).unwrap());
        assert_eq!(changed[0].kept(), [22].into());
        assert!(schema.table_by_physical_id(21).is_none(), "{action}");
        assert_eq!(schema.table_by_physical_id(22).unwrap().partitions.len(), 2);
        assert_eq!(schema.table_by_physical_id(23).unwrap().id, 12);
    }
}

#[test]
fn tables_are_renamed_within_the_filter_and_out_of_it() {
    let renamed = |schema: &mut Schema, to: i64, title: &str| {
        let binlog = leaving(table(12, title));
        let rename = job(
            14,
            12,
            with(binlog, json!({"schema_id": to, "schema_name": "other"})),
        );
        schema.apply(&rename, Ts(1001)).unwrap()
    };
    let mut followed = schema(&[(2, table(12, "orders"))]);
    let (old, new) = altered(renamed(&mut followed, 2, "old_orders"));
    assert_eq!((old.name.as_str(), new.name.as_str()), ("orders", "old_orders"));
    let mut left = schema(&[(2, table(12, "orders"))]);
    let dropped = changes(renamed(&mut left, 3, "orders"));
    assert!(matches!(dropped.as_slice(), [TableChange::Dropped(_)]));
    assert_eq!(left.tables().count(), 0);
}

#[test]
fn a_table_that_loses_its_key_ends() {
    let mut schema = schema(&[(2, table(12, "orders"))]);
    let keyless = with(table(12, "orders"), json!({"pk_is_handle": false}));
    let dropped = changes(schema.apply(&job(33, 12, leaving(keyless)), Ts(1001)).unwrap());
    assert!(matches!(dropped.as_slice(), [TableChange::Dropped(_)]));
}

#[test]
fn ddl_on_other_tables_is_ignored() {
    let elsewhere = json!({"schema_id": 3, "schema_name": "other", "table_name": "t"});
    for action in [
        2, 4, 5, 6, 11, 12, 14, 19, 20, 23, 25, 42, 47, 64, 71, 72, 3, 7, 17, 200,
    ] {
        let mut schema = schema(&[(2, table(12, "orders"))]);
        let job = job(action, 30, with(leaving(table(30, "t")), elsewhere.clone()));
        assert_eq!(
            schema.apply(&job, Ts(1001)).unwrap(),
            DdlEffect::Nothing,
            "{action}"
        );
    }
}

#[test]
fn a_table_that_is_renamed_or_recovered_into_the_filter_stops_the_stream() {
    for action in [14, 25, 47] {
        let mut schema = schema(&[]);
        let ddl = stopped(
            schema
                .apply(&job(action, 30, leaving(table(30, "came"))), Ts(1001))
                .unwrap(),
        );
        assert_eq!(ddl.table, "shop.came");
    }
}

#[test]
fn each_of_several_renamed_tables_is_looked_for_in_its_own_database() {
    let lists = json!([
        [2, 3],
        [3, 2],
        [name("a"), name("b")],
        [31, 32],
        [name("shop"), name("other")]
    ]);
    let object = json!({"rename_table_infos": [
        {"old_schema_id": 2, "new_schema_id": 3, "table_id": 31}, {"old_schema_id": 3, "new_schema_id": 2, "table_id": 32}]});
    for args in [lists, object] {
        let infos = json!([table(31, "a"), table(32, "b")]);
        let binlog = json!({"SchemaVersion": 9, "TableInfo": table(31, "a"), "MultipleTableInfos": infos});
        let rename = job(
            47,
            31,
            json!({"schema_id": 3, "binlog": binlog, "raw_args": args}),
        );
        assert_eq!(
            stopped(schema(&[]).apply(&rename, Ts(1001)).unwrap()).table,
            "shop.b"
        );
    }
}

#[test]
fn tables_that_are_not_streamed_may_be_renamed_within_the_filter() {
    let keyless = with(table(30, "keyless"), json!({"pk_is_handle": false}));
    let view = with(
        table(30, "v"),
        json!({"view": {"view_select": ""}, "cols": [column(1, "a", 0, 0)]}),
    );
    for info in [keyless, view] {
        assert_eq!(
            schema(&[]).apply(&job(14, 30, leaving(info)), Ts(1001)).unwrap(),
            DdlEffect::Nothing
        );
    }
}

#[test]
fn a_table_and_a_partition_change_places() {
    let mut both = schema(&[(2, split(12, "split", &[21, 22])), (2, table(30, "plain"))]);
    let exchange = job(42, 30, leaving(split(12, "split", &[30, 22])));
    let changed = changes(both.apply(&exchange, Ts(1001)).unwrap());
    assert_eq!(changed.len(), 2);
    assert_eq!(both.table_by_physical_id(30).unwrap().name, "split");
    let plain = both.table_by_physical_id(21).unwrap();
    assert_eq!((plain.id, plain.name.as_str()), (21, "plain"));

    // The job is about the normal table, outside the filter, whose rows are not in the stream.
    let mut one = schema(&[(2, split(12, "split", &[21, 22]))]);
    let outside = json!({"schema_id": 3, "schema_name": "other"});
    let exchange = job(42, 30, with(leaving(split(12, "split", &[30, 22])), outside));
    assert_eq!(
        stopped(one.apply(&exchange, Ts(1001)).unwrap()).table,
        "shop.split"
    );
}

#[test]
fn a_table_that_gets_a_key_joins() {
    let keyless = with(table(16, "late"), json!({"pk_is_handle": false}));
    let mut schema = schema(&[(2, keyless)]);
    assert_eq!(schema.tables().count(), 0);
    let joined = schema
        .apply(&job(7, 16, leaving(table(16, "late"))), Ts(1001))
        .unwrap();
    assert!(matches!(changes(joined).as_slice(), [TableChange::Added(table)] if table.id == 16));
}

#[test]
fn done_jobs_are_read_from_the_job_table() {
    let cols = json!([
        column(1, "job_id", 8, 3),
        column(2, "reorg", 3, 0),
        column(5, "job_meta", 251, 128)
    ]);
    let info = with(table(DDL_JOB_TABLE_ID, "tidb_ddl_job"), json!({"cols": cols}));
    let every = wanted(|_, _| true);
    let found = snapshot(every, &[(1, info)]).unwrap();
    assert!(found.tables.is_empty());
    let jobs = found.ddl_jobs.unwrap();
    assert_eq!(jobs.span(), crate::record_span(281_474_976_710_654));

    let change = |state: u8, op: Op| {
        let meta = json!({"id": 77, "type": 3, "state": state, "query": "create table t"}).to_string();
        // Row v1, as TiDB's own sessions never write but servers must still read.
        let mut value = vec![crate::codec::datum::VARINT];
        crate::codec::varint::write_i64(5, &mut value);
        value.push(crate::codec::datum::COMPACT_BYTES);
        crate::codec::varint::write_i64(i64::try_from(meta.len()).unwrap(), &mut value);
        value.extend_from_slice(meta.as_bytes());
        KvChange {
            key: Bytes::from(crate::key::int_record_key(DDL_JOB_TABLE_ID, 77)),
            value: Bytes::from(value),
            old_value: Bytes::new(),
            start_ts: Ts(1),
            commit_ts: Ts(2),
            op,
        }
    };
    assert_eq!(
        jobs.done_job(&change(4, Op::Put)).unwrap().unwrap().query,
        "create table t"
    );
    assert_eq!(jobs.done_job(&change(1, Op::Put)).unwrap(), None);
    assert_eq!(jobs.done_job(&change(4, Op::Delete)).unwrap(), None);
    assert!(matches!(
        jobs.done_job(&KvChange {
            value: Bytes::from_static(b"\x80\x00\x01"),
            ..change(4, Op::Put)
        }),
        Err(JobTableError::Row(_))
    ));
}

#[test]
fn go_s_ways_with_json_are_understood() {
    let info: TableInfo = serde_json::from_str(
        r#"{"id": 5, "name": {"O": "A\u0026B", "L": "a\u0026b"}, "Version": 440079336227471370, "version": 3, "unknown": [1],
            "cols": [{"id": 1, "name": {"O": "x", "L": "x"}, "state": 5,
                      "type": {"Tp": 245, "Flag": 128, "Flen": 4294967295, "Decimal": -1, "Charset": "binary"}}],
            "index_info": null, "update_timestamp": 18446744073709551615,
            "partition": {"enable": true, "new_partition_ids": [7], "definitions": null}}"#,
    )
    .unwrap();
    assert_eq!(info.name.original, "A&B");
    assert_eq!(info.update_timestamp, u64::MAX);
    assert_eq!(info.cols[0].ty.flen, 4_294_967_295);
    assert_eq!(info.partition.unwrap().new_partition_ids, [7]);
    let empty: TableInfo = serde_json::from_str(r#"{"cols": null, "view": null}"#).unwrap();
    assert!(empty.cols.is_empty() && !empty.view);
}

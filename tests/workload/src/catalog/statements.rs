use serde_json::{Value, json};

use super::jobs::{Draft, database_key, table_key};
use super::{Catalog, CatalogError, Database};
use crate::schema::{
    Action, ColumnSpec, DatabaseInfo, Job, JobState, Partitioning, STATE_NONE, STATE_PUBLIC, TableSpec,
    Underway, table_info,
};

impl Catalog {
    /// CREATE DATABASE.
    ///
    /// # Errors
    /// If the name is taken or the cluster doesn't answer.
    pub async fn create_database(&self, name: &str) -> Result<Database, CatalogError> {
        let now = self.stores.pd().timestamp().await?;
        let start = crate::encode::meta_hash("DBs");
        let mut end = start.clone();
        end.push(0xff);
        let label = format!("\"L\":\"{}\"", name.to_lowercase());
        let taken = self.stores.snapshot(now).scan(&start, &end).await?;
        if taken
            .iter()
            .any(|(_, info)| String::from_utf8_lossy(info).contains(&label))
        {
            return Err(CatalogError::Exists(name.to_owned()));
        }
        let mut database = Database {
            id: self.allocate(1).await?[0],
            name: name.to_owned(),
        };
        let query = format!("CREATE DATABASE `{name}`");
        let job = self.job(Action::CreateSchema, &database, 0, "", query, Value::Null);
        self.run(job, 1, |_, draft, job| {
            let info = DatabaseInfo::new(database.id, name);
            draft.put(database_key(database.id), serde_json::to_vec(&info)?);
            job.history.database = Some(info);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        database.name = name.to_owned();
        Ok(database)
    }

    /// CREATE TABLE; gives the table its ids.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn create_table(
        &self,
        database: &Database,
        table: TableSpec,
    ) -> Result<TableSpec, CatalogError> {
        let table = self.with_ids(table).await?;
        let job = self.job(
            Action::CreateTable,
            database,
            table.id,
            &table.name,
            table.sql(),
            Value::Null,
        );
        self.run(job, 1, |_, draft, job| {
            let info = table_info(&table, draft.start_ts, Underway::default());
            draft.put_table(database, &info, table.id)?;
            job.args = json!([info.clone(), false]);
            job.history.table = Some(Box::new(info));
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        Ok(table)
    }

    /// Several CREATE TABLEs in one job, as TiDB's bulk loaders ask for.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn create_tables(
        &self,
        database: &Database,
        tables: Vec<TableSpec>,
    ) -> Result<Vec<TableSpec>, CatalogError> {
        let mut made = Vec::with_capacity(tables.len());
        for table in tables {
            made.push(self.with_ids(table).await?);
        }
        let statements: Vec<String> = made.iter().map(TableSpec::sql).collect();
        let first = made.first().map_or(0, |table| table.id);
        let job = self.job(
            Action::CreateTables,
            database,
            first,
            "",
            statements.join(";"),
            Value::Null,
        );
        self.run(job, 1, |_, draft, job| {
            let mut infos = Vec::with_capacity(made.len());
            for table in &made {
                let info = table_info(table, draft.start_ts, Underway::default());
                draft.put_table(database, &info, table.id)?;
                infos.push(info);
            }
            job.args = json!([infos.clone(), false]);
            job.history.tables = Some(infos);
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, 0);
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// ALTER TABLE … ADD COLUMN, through its four states.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn add_column(
        &self,
        database: &Database,
        table: &TableSpec,
        column: ColumnSpec,
    ) -> Result<TableSpec, CatalogError> {
        let mut after = table.clone();
        let id = after.columns.iter().map(|column| column.id).max().unwrap_or(0) + 1;
        let query = format!(
            "ALTER TABLE `{}` ADD COLUMN `{}` {}",
            table.name,
            column.name,
            column.kind.sql()
        );
        after.columns.push(ColumnSpec { id, ..column });
        let states = [1, 2, 3, STATE_PUBLIC];
        let job = self.job(
            Action::AddColumn,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                column: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, &after, underway, states[stage])
        })
        .await?;
        Ok(after)
    }

    /// ALTER TABLE … ADD INDEX, through its four states. Entries of old rows are not written.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn add_index(
        &self,
        database: &Database,
        table: &TableSpec,
        name: &str,
        columns: &[usize],
    ) -> Result<TableSpec, CatalogError> {
        let after = table.clone().with_index(name, columns, false);
        let names: Vec<&str> = columns
            .iter()
            .map(|offset| table.columns[*offset].name.as_str())
            .collect();
        let query = format!(
            "ALTER TABLE `{}` ADD INDEX `{name}` (`{}`)",
            table.name,
            names.join("`,`")
        );
        let states = [1, 2, 3, STATE_PUBLIC];
        let job = self.job(
            Action::AddIndex,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                index: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, &after, underway, states[stage])
        })
        .await?;
        Ok(after)
    }

    fn alter(
        &self,
        draft: &mut Draft,
        job: &mut Job,
        database: &Database,
        after: &TableSpec,
        underway: Underway,
        state: u8,
    ) -> Result<(), CatalogError> {
        let info = table_info(after, draft.start_ts, underway);
        draft.put_table(database, &info, after.id)?;
        job.schema_state = state;
        draft.new_version(job, 0);
        if job.state == JobState::Done {
            job.history.table = Some(Box::new(info));
        }
        Ok(())
    }

    /// RENAME TABLE within a database.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn rename_table(
        &self,
        database: &Database,
        table: &TableSpec,
        name: &str,
    ) -> Result<TableSpec, CatalogError> {
        let mut after = table.clone();
        after.name = name.to_owned();
        let query = format!("RENAME TABLE `{}` TO `{name}`", table.name);
        let args = json!([database.id, {"O": name, "L": name.to_lowercase()}, {"O": database.name, "L": database.name.to_lowercase()}]);
        let job = self.job(Action::RenameTable, database, table.id, &table.name, query, args);
        self.run(job, 1, |_, draft, job| {
            self.alter(draft, job, database, &after, Underway::default(), STATE_PUBLIC)
        })
        .await?;
        Ok(after)
    }

    /// TRUNCATE TABLE: the table comes back empty under new ids.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn truncate_table(
        &self,
        database: &Database,
        table: &TableSpec,
    ) -> Result<TableSpec, CatalogError> {
        let after = self.with_ids(table.clone()).await?;
        let query = format!("TRUNCATE TABLE `{}`", table.name);
        let args = json!([after.id, false, after.physical_ids(), 0]);
        let job = self.job(
            Action::TruncateTable,
            database,
            table.id,
            &table.name,
            query,
            args,
        );
        self.run(job, 1, |_, draft, job| {
            draft.writes.push((table_key(database.id, table.id), None));
            let info = table_info(&after, draft.start_ts, Underway::default());
            draft.put_table(database, &info, after.id)?;
            job.history.table = Some(Box::new(info));
            job.schema_state = STATE_PUBLIC;
            draft.new_version(job, after.id);
            Ok(())
        })
        .await?;
        Ok(after)
    }

    /// DROP TABLE, through its three states.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn drop_table(&self, database: &Database, table: &TableSpec) -> Result<(), CatalogError> {
        let query = format!("DROP TABLE `{}`", table.name);
        let states = [2, 1, STATE_NONE];
        let job = self.job(
            Action::DropTable,
            database,
            table.id,
            &table.name,
            query,
            json!([]),
        );
        self.run(job, states.len(), |stage, draft, job| {
            let underway = Underway {
                table: Some(states[stage]),
                ..Underway::default()
            };
            self.alter(draft, job, database, table, underway, states[stage])?;
            if job.state == JobState::Done {
                draft.writes.push((table_key(database.id, table.id), None));
            }
            Ok(())
        })
        .await
    }

    async fn with_ids(&self, mut table: TableSpec) -> Result<TableSpec, CatalogError> {
        let partitions = match &table.partitioning {
            Partitioning::None => 0,
            Partitioning::Hash { ids, .. } => ids.len(),
            Partitioning::Range { bounds, .. } => bounds.len(),
        };
        let mut fresh = self.allocate(partitions + 1).await?.into_iter();
        table.id = fresh.next().unwrap_or_default();
        match &mut table.partitioning {
            Partitioning::None => {}
            Partitioning::Hash { ids, .. } => ids.iter_mut().zip(fresh).for_each(|(id, new)| *id = new),
            Partitioning::Range { bounds, .. } => bounds
                .iter_mut()
                .zip(fresh)
                .for_each(|(bound, new)| bound.0 = new),
        }
        Ok(table)
    }

    async fn allocate(&self, count: usize) -> Result<Vec<i64>, CatalogError> {
        let mut ids = Vec::new();
        self.change(|draft| {
            ids = (0..count).map(|_| draft.allocate()).collect();
            Ok(())
        })
        .await?;
        Ok(ids)
    }
}

//! What each kind of DDL does to the tables that are streamed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_model::Ts;

use super::apply::{ApplyError, DdlEffect, Schema, unsupported};
use super::snapshot::{Candidate, candidate};
use super::{DdlJob, TableChange, TableInfo};
use crate::Table;

const ROWS_ARRIVE: &str = "rows come into the feed that the stream doesn't hold";
const NO_DEFINITION: &str = "the job lacks the definition that it leaves behind";

impl Schema {
    pub(super) fn create(&mut self, job: &DdlJob, ts: Ts) -> Result<DdlEffect, ApplyError> {
        if job.table_infos().next().is_none() {
            return Err(ApplyError::NoTableInfo {
                action: job.action,
                finished_ts: ts,
                job: job.id,
            });
        }
        let schema = self.schema_name(job);
        let mut changes = Vec::new();
        for info in job.table_infos() {
            if self.tables.contains_key(&info.id) || !self.wants(&schema, &info.name.original) {
                continue;
            }
            changes.extend(build(&schema, info, job, ts)?.map(TableChange::Added));
        }
        Ok(self.change(job, ts, changes))
    }

    /// Takes the new definitions; a table that gets its first key this way begins to be streamed, one that loses it ends.
    pub(super) fn alter(&mut self, job: &DdlJob, ts: Ts, harmless: bool) -> Result<DdlEffect, ApplyError> {
        if job.table_infos().next().is_none() {
            return Ok(match self.streamed(job.table_id) {
                Some(table) if !harmless => unsupported(job, full_name(table), ts, NO_DEFINITION),
                _ => DdlEffect::Nothing,
            });
        }
        let schema = self.schema_name(job);
        let mut changes = Vec::new();
        for info in job.table_infos() {
            let old = self.tables.get(&info.id).map(Arc::clone);
            let schema = old.as_ref().map_or(&schema, |old| &old.schema);
            if old.is_none() && !self.wants(schema, &info.name.original) {
                continue;
            }
            let new = build(schema, info, job, ts)?;
            changes.extend(match (old, new) {
                (None, None) => None,
                (None, Some(new)) => Some(TableChange::Added(new)),
                (Some(old), None) => Some(TableChange::Dropped(old)),
                (Some(old), Some(new)) => Some(TableChange::Altered { old, new }),
            });
        }
        Ok(self.change(job, ts, changes))
    }

    pub(super) fn drop_table(&mut self, job: &DdlJob, ts: Ts) -> DdlEffect {
        let dropped = self.tables.get(&job.table_id).map(Arc::clone);
        self.change(job, ts, dropped.map(TableChange::Dropped).into_iter().collect())
    }

    pub(super) fn drop_schema(&mut self, job: &DdlJob, ts: Ts) -> DdlEffect {
        let schema = self.schema_name(job);
        let inside = self.tables.values().filter(|table| table.schema == schema);
        let changes = inside
            .map(|table| TableChange::Dropped(Arc::clone(table)))
            .collect();
        let effect = self.change(job, ts, changes);
        self.databases.remove(&job.schema_id);
        effect
    }

    /// The job's table is the old one, its definition the new one.
    pub(super) fn replace(&mut self, job: &DdlJob, ts: Ts) -> Result<DdlEffect, ApplyError> {
        let Some(old) = self.tables.get(&job.table_id).map(Arc::clone) else {
            return Ok(DdlEffect::Nothing);
        };
        let Some(info) = job.table_infos().next() else {
            return Ok(unsupported(job, full_name(&old), ts, NO_DEFINITION));
        };
        let change = match build(&old.schema, info, job, ts)? {
            Some(new) => TableChange::Altered { old, new },
            None => TableChange::Dropped(old),
        };
        Ok(self.change(job, ts, vec![change]))
    }

    /// Renames within the feed's filter and out of it are followed, those into it are not.
    pub(super) fn rename(&mut self, job: &DdlJob, ts: Ts) -> Result<DdlEffect, ApplyError> {
        // Where names go round in a circle a table is told of several times: the last counts.
        let infos: BTreeMap<i64, &TableInfo> = job.table_infos().map(|info| (info.id, info)).collect();
        if infos.is_empty() {
            return Ok(self.arriving(job, ts));
        }
        let mut changes = Vec::new();
        for (id, info) in infos {
            let schema = self.databases.get(&job.schema_id_of(id));
            let schema = schema.unwrap_or(&job.schema_name).clone();
            let wanted = self.wants(&schema, &info.name.original);
            match self.tables.get(&id).map(Arc::clone) {
                None if wanted && has_rows(&schema, info) => {
                    let name = format!("{schema}.{}", info.name.original);
                    return Ok(unsupported(job, name, ts, ROWS_ARRIVE));
                }
                None => {}
                Some(old) => {
                    let new = if wanted {
                        build(&schema, info, job, ts)?
                    } else {
                        None
                    };
                    changes.push(match new {
                        Some(new) => TableChange::Altered { old, new },
                        None => TableChange::Dropped(old),
                    });
                }
            }
        }
        Ok(self.change(job, ts, changes))
    }

    /// The job's table is the one without partitions, its definition that of the partitioned one afterwards: rows stay under
    /// their ids, which change hands.
    pub(super) fn exchange(&mut self, job: &DdlJob, ts: Ts) -> Result<DdlEffect, ApplyError> {
        let plain = self.tables.get(&job.table_id).map(Arc::clone);
        let Some(info) = job.table_infos().next() else {
            return Ok(match plain {
                Some(table) => unsupported(job, full_name(&table), ts, NO_DEFINITION),
                None => DdlEffect::Nothing,
            });
        };
        let split = self.tables.get(&info.id).map(Arc::clone);
        let (plain, split) = match (plain, split) {
            (None, None) => return Ok(DdlEffect::Nothing),
            (Some(plain), Some(split)) => (plain, split),
            (Some(table), None) | (None, Some(table)) => {
                return Ok(unsupported(job, full_name(&table), ts, ROWS_ARRIVE));
            }
        };
        let Some(new_split) = build(&split.schema, info, job, ts)? else {
            return Ok(unsupported(job, full_name(&split), ts, NO_DEFINITION));
        };
        let left = split
            .physical_ids()
            .find(|id| !new_split.physical_ids().any(|new| new == *id));
        let Some(left) = left else {
            return Ok(unsupported(job, full_name(&split), ts, NO_DEFINITION));
        };
        let new_plain = Arc::new(Table {
            id: left,
            ..Table::clone(&plain)
        });
        let changes = vec![
            TableChange::Altered {
                old: plain,
                new: new_plain,
            },
            TableChange::Altered {
                old: split,
                new: new_split,
            },
        ];
        Ok(self.change(job, ts, changes))
    }

    /// What can't be followed concerns the stream if a table is streamed, or becomes one that should be.
    pub(super) fn arriving(&self, job: &DdlJob, ts: Ts) -> DdlEffect {
        let ids = job.table_infos().flat_map(|info| {
            let partitions = info.partition.iter().flat_map(|partition| &partition.definitions);
            std::iter::once(info.id).chain(partitions.map(|partition| partition.id))
        });
        let streamed = std::iter::once(job.table_id)
            .chain(ids)
            .find_map(|id| self.streamed(id));
        let found = streamed.map(full_name).or_else(|| self.arrival(job));
        found.map_or(DdlEffect::Nothing, |table| {
            unsupported(job, table, ts, ROWS_ARRIVE)
        })
    }

    /// A table with rows that comes into the filter: only these jobs give a table a name or bring it back.
    fn arrival(&self, job: &DdlJob) -> Option<String> {
        let mut known = false;
        for info in job.table_infos() {
            known = true;
            let schema = self.databases.get(&job.schema_id_of(info.id));
            let schema = schema.unwrap_or(&job.schema_name);
            if self.wants(schema, &info.name.original) && has_rows(schema, info) {
                return Some(format!("{schema}.{}", info.name.original));
            }
        }
        let schema = self.schema_name(job);
        let named = !known && self.wants(&schema, &job.table_name);
        named.then(|| format!("{schema}.{}", job.table_name))
    }

    /// The table that has this id, or a partition with it.
    fn streamed(&self, id: i64) -> Option<&Arc<Table>> {
        let whole = self.tables.get(&id);
        whole.or_else(|| self.tables.get(self.physical.get(&id)?))
    }
}

fn has_rows(schema: &str, info: &TableInfo) -> bool {
    !matches!(
        candidate(schema, info),
        Ok(Candidate::Ineligible(_) | Candidate::NoRows)
    )
}

fn build(schema: &str, info: &TableInfo, job: &DdlJob, ts: Ts) -> Result<Option<Arc<Table>>, ApplyError> {
    let problem = |problem| ApplyError::Table {
        action: job.action,
        finished_ts: ts,
        problem,
    };
    Ok(match candidate(schema, info).map_err(problem)? {
        Candidate::Table(table) => Some(table),
        Candidate::Ineligible(_) | Candidate::NoRows => None,
    })
}

fn full_name(table: &Arc<Table>) -> String {
    format!("{}.{}", table.schema, table.name)
}

//! Privileges of the write role, and tables in which rows are hidden from it.

use super::{
    PostgresWrite,
    row_security::{PolicyCommand, hides_rows_condition},
};
use crate::{
    backend::{HiddenRows, WriteBackend as _},
    cells,
    error::TargetError,
    mapping::TableName,
    side_effects::CascadingTable,
    sql::{self, Dialect, QueryBuilder, RowChange},
};

impl PostgresWrite {
    pub(super) async fn find_missing_privileges(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError> {
        let sessions = sql::quote_table(&sql.mapping.sessions);
        let quoted = sql::quote_string(Dialect::POSTGRES, &sessions);
        let mut needed =
            vec![(format!("has_table_privilege({quoted}, 'SELECT')"), format!("SELECT ON {sessions}"))];
        let column = match change {
            RowChange::Delete => None,
            RowChange::Expire(_) => Some(sql.mapping.expires.column.as_str()),
            RowChange::Flag(column, _) => Some(column),
        };
        match column {
            None => {
                for privilege in ["DELETE", "INSERT"] {
                    let held = format!("has_table_privilege({quoted}, '{privilege}')");
                    needed.push((held, format!("{privilege} ON {sessions}")));
                }
                // Rows of inheriting tables are restored into those tables.
                for table in self.inheriting_tables(sql).await?.values() {
                    let table = sql::quote_table(table);
                    let name = sql::quote_string(Dialect::POSTGRES, &table);
                    // SELECT finds out which rows were restored.
                    for privilege in ["SELECT", "INSERT"] {
                        let held = format!("has_table_privilege({name}, '{privilege}')");
                        needed.push((held, format!("{privilege} ON {table}")));
                    }
                }
            }
            Some(column) => {
                let name = sql::quote_string(Dialect::POSTGRES, column);
                let held = format!("has_column_privilege({quoted}, {name}, 'UPDATE')");
                needed.push((held, format!("UPDATE ({}) ON {sessions}", sql::quote_identifier(column))));
            }
        }
        if let Some(users) = &sql.mapping.users {
            let table = sql::quote_table(&users.table);
            let (quoted, key) = (
                sql::quote_string(Dialect::POSTGRES, &table),
                sql::quote_string(Dialect::POSTGRES, &users.key),
            );
            let held = format!("has_column_privilege({quoted}, {key}, 'SELECT')");
            needed.push((held, format!("SELECT ({}) ON {table}", sql::quote_identifier(&users.key))));
        }
        for CascadingTable { sql_name: table, .. } in dependents {
            let name = sql::quote_string(Dialect::POSTGRES, table);
            for privilege in ["SELECT", "DELETE", "INSERT"] {
                let held = format!("has_table_privilege({name}, '{privilege}')");
                needed.push((held, format!("{privilege} ON {table}")));
            }
        }
        let asked: Vec<&str> = needed.iter().map(|(held, _)| held.as_str()).collect();
        let rows = self.fetch_rows(&format!("SELECT {}", asked.join(", "))).await?;
        let row = cells::only_row(&rows, "a privilege")?;
        let mut lacking = Vec::new();
        for (at, (_, privilege)) in needed.into_iter().enumerate() {
            if !cells::parse_flag(row, at, "a privilege")? {
                lacking.push(privilege);
            }
        }
        Ok(lacking)
    }

    pub(super) async fn find_hidden_tables(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        let commands: &[PolicyCommand] = match change {
            // Deleted rows may have to be restored.
            RowChange::Delete => &[PolicyCommand::Select, PolicyCommand::Delete, PolicyCommand::Insert],
            RowChange::Expire(_) | RowChange::Flag(..) => &[PolicyCommand::Select, PolicyCommand::Update],
        };
        let hides = |name: &TableName, commands: &[PolicyCommand]| {
            let oid = format!("{}::regclass", sql::quote_string(Dialect::POSTGRES, &sql::quote_table(name)));
            commands
                .iter()
                .map(|command| hides_rows_condition(&oid, *command))
                .collect::<Vec<_>>()
                .join(" OR ")
        };
        let sessions = hides(&sql.mapping.sessions, commands);
        let users = sql.mapping.users.as_ref();
        let users = users.map_or("false".into(), |users| hides(&users.table, &[PolicyCommand::Select]));
        let mut asked = vec![sessions, users];
        asked.extend(dependents.iter().map(|dependent| hides(&dependent.table, commands)));
        let rows = self.fetch_rows(&format!("SELECT {}", asked.join(", "))).await?;
        let row = cells::only_row(&rows, "row-level security")?;
        let flag = |at: usize| cells::parse_flag(row, at, "row-level security");
        let mut hidden = HiddenRows { sessions: flag(0)?, users: flag(1)?, dependents: vec![] };
        for (dependent, at) in dependents.iter().zip(2..) {
            if flag(at)? {
                hidden.dependents.push(dependent.sql_name.clone());
            }
        }
        Ok(hidden)
    }
}

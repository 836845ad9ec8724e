//! What a role that writes may do, and which rows are hidden from it.

use super::{
    PostgresWrite,
    visibility::{Command, hides_rows},
};
use crate::{
    backend::{Hidden, WriteBackend as _},
    error::TargetError,
    mapping::TableName,
    side_effects::Dependent,
    sql::{self, Change, Dialect, Sql},
};

impl PostgresWrite {
    pub(super) async fn lacks_of(
        &mut self,
        sql: &Sql<'_>,
        change: Change<'_>,
        dependents: &[Dependent],
    ) -> Result<Vec<String>, TargetError> {
        let sessions = sql::table(&sql.mapping.sessions);
        let quoted = sql::string(Dialect::POSTGRES, &sessions);
        let mut needed =
            vec![(format!("has_table_privilege({quoted}, 'SELECT')"), format!("SELECT ON {sessions}"))];
        let column = match change {
            Change::Delete => None,
            Change::Expire(_) => Some(sql.mapping.expires.column.as_str()),
            Change::Flag(column, _) => Some(column),
        };
        match column {
            None => {
                for privilege in ["DELETE", "INSERT"] {
                    let held = format!("has_table_privilege({quoted}, '{privilege}')");
                    needed.push((held, format!("{privilege} ON {sessions}")));
                }
                // Rows of tables that inherit go back there.
                for table in self.inheriting_tables(sql).await?.values() {
                    let table = sql::table(table);
                    let name = sql::string(Dialect::POSTGRES, &table);
                    // Which of them are back is read from them.
                    for privilege in ["SELECT", "INSERT"] {
                        let held = format!("has_table_privilege({name}, '{privilege}')");
                        needed.push((held, format!("{privilege} ON {table}")));
                    }
                }
            }
            Some(column) => {
                let name = sql::string(Dialect::POSTGRES, column);
                let held = format!("has_column_privilege({quoted}, {name}, 'UPDATE')");
                needed.push((held, format!("UPDATE ({}) ON {sessions}", sql::identifier(column))));
            }
        }
        if let Some(users) = &sql.mapping.users {
            let table = sql::table(&users.table);
            let (quoted, key) =
                (sql::string(Dialect::POSTGRES, &table), sql::string(Dialect::POSTGRES, &users.key));
            let held = format!("has_column_privilege({quoted}, {key}, 'SELECT')");
            needed.push((held, format!("SELECT ({}) ON {table}", sql::identifier(&users.key))));
        }
        for Dependent { name: table, .. } in dependents {
            let name = sql::string(Dialect::POSTGRES, table);
            for privilege in ["SELECT", "DELETE", "INSERT"] {
                let held = format!("has_table_privilege({name}, '{privilege}')");
                needed.push((held, format!("{privilege} ON {table}")));
            }
        }
        let asked: Vec<&str> = needed.iter().map(|(held, _)| held.as_str()).collect();
        let rows = self.fetch(&format!("SELECT {}", asked.join(", "))).await?;
        let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
        let lacking = needed.into_iter().zip(row).filter(|(_, held)| held.as_deref() != Some("t"));
        Ok(lacking.map(|((_, what), _)| what).collect())
    }

    pub(super) async fn hidden_of(
        &mut self,
        sql: &Sql<'_>,
        change: Change<'_>,
        dependents: &[Dependent],
    ) -> Result<Hidden, TargetError> {
        let commands: &[Command] = match change {
            // What is removed may have to be put back.
            Change::Delete => &[Command::Select, Command::Delete, Command::Insert],
            Change::Expire(_) | Change::Flag(..) => &[Command::Select, Command::Update],
        };
        let hides = |name: &TableName, commands: &[Command]| {
            let oid = format!("{}::regclass", sql::string(Dialect::POSTGRES, &sql::table(name)));
            commands.iter().map(|command| hides_rows(&oid, *command)).collect::<Vec<_>>().join(" OR ")
        };
        let sessions = hides(&sql.mapping.sessions, commands);
        let users = sql.mapping.users.as_ref();
        let users = users.map_or("false".into(), |users| hides(&users.table, &[Command::Select]));
        let mut asked = vec![sessions, users];
        asked.extend(dependents.iter().map(|dependent| hides(&dependent.table, commands)));
        let rows = self.fetch(&format!("SELECT {}", asked.join(", "))).await?;
        let row = rows.first().ok_or(TargetError::Lost)?;
        let flag = |at: usize| row.get(at).and_then(Option::as_deref) == Some("t");
        let named = dependents.iter().zip(2..).filter(|(_, at)| flag(*at));
        let dependents = named.map(|(dependent, _)| dependent.name.clone()).collect();
        Ok(Hidden { sessions: flag(0), users: flag(1), dependents })
    }
}

//! Search path of a role: read at the start of a transaction, then replaced for our own SQL.
//!
//! Anyone who may create objects in a schema on the path can create functions and operators that match better
//! than those of `pg_catalog`, and our role would execute them. Therefore every name before
//! [`SET_SAFE_SEARCH_PATH`] is qualified.

use crate::{
    error::TargetError,
    sql::{database_schema::missing_schema_message, quote_identifier},
};

/// Limits the search path of the transaction to built-in objects; temporary objects come last.
pub(super) const SET_SAFE_SEARCH_PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// Saves the path of the role until the transaction ends.
const SAVE_ROLE_SEARCH_PATH: &str = "SELECT pg_catalog.set_config('sessionwatch.search_path', \
                                     pg_catalog.current_setting('search_path'), true)";

/// Restores the path of the role, for deferred triggers that run at commit.
pub(super) const RESTORE_ROLE_SEARCH_PATH: &str = "SELECT pg_catalog.set_config('search_path', \
     pg_catalog.current_setting('sessionwatch.search_path', true), true)";

/// Returns the statements that save the role's path, or the one in the address, and then run
/// [`SET_SAFE_SEARCH_PATH`].
pub(super) fn save_search_path_statements(named_schemas: &[String]) -> String {
    format!("{}{SAVE_ROLE_SEARCH_PATH};\n{SET_SAFE_SEARCH_PATH}", set_search_path_statement(named_schemas))
}

/// Returns the statement that sets the path to the schemas in an address; empty if there are none.
fn set_search_path_statement(named_schemas: &[String]) -> String {
    let list: Vec<String> = named_schemas.iter().map(|schema| quote_identifier(schema)).collect();
    if list.is_empty() { String::new() } else { format!("SET LOCAL search_path = {};\n", list.join(", ")) }
}

/// Role of a connection, and its original search path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RoleSettings {
    /// Name of the role.
    pub(super) name: String,
    /// `true` for a superuser.
    pub(super) is_superuser: bool,
    /// Value of the setting `search_path`.
    pub(super) search_path: String,
    /// Schemas on the path that exist and that the role may use, in order.
    pub(super) schemas: Vec<String>,
    /// Every schema of the database; empty unless the address names some.
    existing_schemas: Vec<String>,
}

/// Returns the statements that report the path in one row, and then run [`SET_SAFE_SEARCH_PATH`]. Schemas in
/// the address replace the role's own path.
pub(super) fn read_role_settings_statements(named: &[String]) -> String {
    let all = if named.is_empty() {
        "NULL"
    } else {
        "(SELECT pg_catalog.json_agg(n.nspname) FROM pg_catalog.pg_namespace AS n)"
    };
    let named = set_search_path_statement(named);
    format!(
        "{named}SELECT pg_catalog.current_setting('search_path'), \
         pg_catalog.array_to_json(pg_catalog.current_schemas(false)),\n  \
         pg_catalog.current_setting('is_superuser'), current_user, {all};\n{SET_SAFE_SEARCH_PATH}"
    )
}

impl RoleSettings {
    /// Reads the row of [`read_role_settings_statements`].
    pub(super) fn from_row(row: &[Option<String>]) -> Option<Self> {
        let [Some(search_path), Some(schemas), Some(superuser), Some(name), all] = row else { return None };
        Some(Self {
            name: name.clone(),
            is_superuser: superuser == "on",
            search_path: search_path.clone(),
            schemas: serde_json::from_str(schemas).ok()?,
            existing_schemas: all.as_deref().map_or(Some(vec![]), |all| serde_json::from_str(all).ok())?,
        })
    }

    /// Checks that the schemas in the address exist and are usable.
    ///
    /// # Errors
    ///
    /// If a schema is missing, or the role lacks USAGE on it.
    pub(super) fn require_schemas(&self, named_schemas: &[String]) -> Result<(), TargetError> {
        // `$user` and `pg_temp` exist only if the role has such a schema or temporary tables.
        let optional = ["$user", "pg_temp"];
        let missing = |schema: &&String| {
            !optional.contains(&schema.as_str()) && self.search_path_index(schema).is_none()
        };
        // PostgreSQL ignores missing schemas silently, and would read another table.
        let Some(schema) = named_schemas.iter().find(missing) else { return Ok(()) };
        if self.existing_schemas.contains(schema) {
            return Err(TargetError::SchemaRefused(schema.clone()));
        }
        let system = |name: &&str| !name.starts_with("pg_") && *name != "information_schema";
        let mut others: Vec<&str> = self.existing_schemas.iter().map(String::as_str).filter(system).collect();
        others.sort_unstable();
        Err(TargetError::NoSchema(missing_schema_message(schema, &others, false)))
    }

    /// Returns the position of a schema on the path, or `None` if it is not on the path.
    pub(super) fn search_path_index(&self, schema: &str) -> Option<usize> {
        self.schemas.iter().position(|other| other == schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_schemas_with_any_name() {
        let row = [
            "\"$user\", public",
            r#"["a,b","say \"hi\""]"#,
            "off",
            "watch",
            r#"["say","public","pg_toast","shy"]"#,
        ]
        .map(|text| Some(text.to_owned()));
        let role = RoleSettings::from_row(&row).unwrap();
        assert_eq!((role.search_path_index("say \"hi\""), role.search_path_index("a")), (Some(1), None));
        assert_eq!((role.search_path.as_str(), role.is_superuser), ("\"$user\", public", false));
        assert_eq!(RoleSettings::from_row(&[Some("x".into()), None, None, None, None]), None);
        let require = |schema: &str| role.require_schemas(&[schema.to_owned()]).unwrap_err().to_string();
        assert_eq!(
            require("publik"),
            "schema `publik` does not exist (did you mean `public`?); schemas: `public`, `say`, `shy`"
        );
        assert_eq!(require("shy"), "permission denied for schema `shy`");
        assert!(role.require_schemas(&["$user".into(), "a,b".into()]).is_ok());
    }

    #[test]
    fn names_before_the_safe_path_are_qualified() {
        let opening = read_role_settings_statements(&["a\"b".into(), "c".into()]);
        let (before, _) = opening.split_once(SET_SAFE_SEARCH_PATH).unwrap();
        let calls = before.matches('(').count() - before.matches("(SELECT").count();
        assert_eq!(calls + 1, before.matches("pg_catalog.").count(), "{before}");
        assert!(before.starts_with("SET LOCAL search_path = \"a\"\"b\", \"c\";"), "{before}");
    }
}

//! The search path of a target: learned when a transaction begins, and taken out of the way of our own SQL.
//!
//! Whoever may create objects in a schema on the path can make functions and operators that fit better than those of
//! `pg_catalog`, and our role would execute them. So everything that stands before [`SAFE`] is qualified.

/// Sets the path of the transaction to the built-in objects; temporary ones come last.
pub(super) const SAFE: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// The role of a connection, and the search path that it came with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleSettings {
    /// The name of the role.
    pub name: String,
    /// The role is a superuser.
    pub superuser: bool,
    /// The value of the setting `search_path`.
    pub(super) search_path: String,
    /// The schemas on it that exist and that the role may use, in order.
    pub schemas: Vec<String>,
}

/// The statements that tell the path, one row, and then set [`SAFE`]; `schema` takes the place of the role's own path.
pub(super) fn opening(schema: Option<&str>) -> String {
    let named = schema.map_or_else(String::new, |schema| {
        format!("SET LOCAL search_path = {};\n", crate::target::sql::identifier(schema))
    });
    format!(
        "{named}SELECT pg_catalog.current_setting('search_path'), pg_catalog.array_to_json(pg_catalog.current_schemas(false)),\n  \
         pg_catalog.current_setting('is_superuser'), current_user;\n{SAFE}"
    )
}

impl RoleSettings {
    /// Reads the row of [`opening`].
    pub(super) fn read(row: &[Option<String>]) -> Option<Self> {
        let [Some(search_path), Some(schemas), Some(superuser), Some(name)] = row else { return None };
        Some(Self {
            name: name.clone(),
            superuser: superuser == "on",
            search_path: search_path.clone(),
            schemas: serde_json::from_str(schemas).ok()?,
        })
    }

    /// Where a schema stands on the path; nothing if it is not on it.
    pub(super) fn position(&self, schema: &str) -> Option<usize> {
        self.schemas.iter().position(|other| other == schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_schemas_with_any_name() {
        let row = ["\"$user\", public", r#"["a,b","say \"hi\""]"#, "off", "watch"]
            .map(|text| Some(text.to_owned()));
        let role = RoleSettings::read(&row).unwrap();
        assert_eq!((role.position("say \"hi\""), role.position("a")), (Some(1), None));
        assert_eq!((role.search_path.as_str(), role.superuser), ("\"$user\", public", false));
        assert_eq!(RoleSettings::read(&[Some("x".into()), None, None, None]), None);
    }

    #[test]
    fn whatever_stands_before_the_safe_path_is_qualified() {
        let opening = opening(Some("a\"b"));
        let (before, _) = opening.split_once(SAFE).unwrap();
        assert_eq!(before.matches('(').count(), before.matches("pg_catalog.").count(), "{before}");
        assert!(before.starts_with("SET LOCAL search_path = \"a\"\"b\";"), "{before}");
    }
}

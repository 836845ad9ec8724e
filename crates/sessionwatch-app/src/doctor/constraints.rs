//! Visibility of the tables, and guarantees of their constraints and indexes.

use sessionwatch_targets::sql::table_info::{ForeignKey, IndexInfo, TableInfo};

use super::{Diagnostic, DoctorInput, SchemaChange, diagnostic_fail, diagnostic_pass, diagnostic_warn};

pub(super) fn diagnose_visibility(input: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    if table.has_hidden_rows {
        let layout = &input.connected.layout;
        let name = layout.quote_table(&layout.candidate.mapping.sessions);
        let fix = input.remedies().allow_select_policy(&name, input.role_name());
        diagnostic_fail(
            "visibility",
            "row-level security hides rows from this role, so the results of most checks are unknown",
            fix,
        )
    } else if let Some(doubt) = &table.visibility_caveat {
        let fix = "name the underlying table in [target.mapping]";
        diagnostic_fail("visibility", format!("{doubt}, so the results of most checks are unknown"), fix)
    } else if table.is_filtered {
        let fix = "name the underlying table in [target.mapping], if the excluded rows are sessions";
        diagnostic_warn(
            "visibility",
            format!("the condition of the view `{}` excludes rows", table.name),
            fix,
        )
    } else {
        diagnostic_pass("visibility", "every session is visible")
    }
}

/// Reports whether every user is visible; `None` without a users table.
pub(super) fn diagnose_users_visibility(input: DoctorInput<'_>) -> Option<Diagnostic> {
    const DIAGNOSTIC_ID: &str = "users-visibility";
    let users = input.connected.layout.candidate.mapping.users.as_ref()?;
    let table = input.connected.layout.schema.table(&users.table)?;
    let name = input.connected.layout.quote_table(&users.table);
    if !table.has_hidden_rows {
        return Some(diagnostic_pass(DIAGNOSTIC_ID, format!("every row of {name} is visible")));
    }
    let fix = input.remedies().allow_select_policy(&name, input.role_name());
    let summary = format!(
        "row-level security hides rows of {name} from this role, so orphaned sessions cannot be detected"
    );
    Some(diagnostic_fail(DIAGNOSTIC_ID, summary, fix))
}

pub(super) fn diagnose_token_uniqueness(input: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    let mapping = &input.connected.layout.candidate.mapping;
    let column = input.connected.layout.quote_name(&mapping.token);
    if let Some(index) = table.unique_index_on(&mapping.token) {
        return diagnostic_pass(
            "token-unique",
            format!("tokens are unique by `{index}`; `check --no-trust-constraints` verifies the rows too"),
        );
    }
    // An index that looks right and proves nothing is reported with the reason.
    let broken = table.indexes.iter().find(|index| index.unique && index.columns == [mapping.token.as_str()]);
    let remedies = input.remedies();
    let create = remedies.create_index(true, &mapping.token);
    match broken {
        // PostgreSQL inherits no unique indexes, so the children are not covered.
        Some(IndexInfo { name, .. }) if table.has_children => diagnostic_fail(
            "token-unique",
            format!("the unique index `{name}` does not cover the rows of tables that inherit from this one"),
            "convert these tables to one partitioned table with the token in its partition key, or create a \
             unique index on each and run `check --no-trust-constraints`",
        ),
        Some(IndexInfo { name, complete: true, .. }) => diagnostic_fail(
            "token-unique",
            format!(
                "the unique index `{name}` compares more strictly than the column: two tokens that the \
                 application treats as equal may both exist"
            ),
            format!("{create}  -- with the column's own collation and operator class"),
        ),
        Some(IndexInfo { name, .. }) => diagnostic_fail(
            "token-unique",
            format!(
                "the unique index `{name}` is invalid, deferred or partial, so duplicate tokens are possible"
            ),
            format!("{}\n{create}", remedies.drop_index(name)),
        ),
        None => {
            let fix = if table.is_one_heap() {
                format!("{create}  -- fails while duplicates exist: the check `duplicate-tokens` lists them")
            } else {
                // PostgreSQL would reject the index, or create one that covers only some of the rows.
                format!(
                    "make {column} part of the partition key, which a unique index over all partitions \
                     requires; until then, `check` looks for duplicates"
                )
            };
            let summary = format!("{column} has no unique constraint: two users could share a token");
            let finding = diagnostic_fail("token-unique", summary, fix);
            if table.is_one_heap() {
                input.with_schema_fix(finding, SchemaChange::Unique { column: &mapping.token })
            } else {
                finding
            }
        }
    }
}

pub(super) fn diagnose_token_comparison(input: DoctorInput<'_>, table: &TableInfo) -> Option<Diagnostic> {
    let mapping = &input.connected.layout.candidate.mapping;
    let how =
        input.connected.layout.schema.dialect.describe_comparison(table.column_equality(&mapping.token))?;
    let fix = input.remedies().compare_tokens_exactly();
    let summary = format!("tokens are compared {how}: other tokens match a session too");
    Some(diagnostic_warn("token-comparison", summary, fix))
}

pub(super) fn diagnose_user_foreign_key(input: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    let mapping = &input.connected.layout.candidate.mapping;
    let (Some(user), Some(users)) = (&mapping.user, &mapping.users) else {
        let fix = "grant SELECT on the key of the users table, or set `users` in [target.mapping]";
        return diagnostic_warn(
            "user-exists",
            "no readable users table, so orphaned sessions cannot be detected",
            fix,
        );
    };
    let remedies = input.remedies();
    let enforced = input.connected.layout.schema.dialect.enforces_foreign_keys();
    let key = table.foreign_key_on(user);
    let cascade = SchemaChange::CascadeDelete { column: user, users: &users.table.name };
    // Before the rules for deletion: a key that is not enforced deletes nothing.
    if let Some(finding) = key.and_then(|key| diagnose_unenforced_key(input, table, key)) {
        return finding;
    }
    match key {
        Some(key) if !enforced => diagnostic_warn(
            "user-exists",
            format!(
                "{} exists, but SQLite enforces it only on connections with PRAGMA foreign_keys = ON",
                key.name
            ),
            remedies.enforce_foreign_keys(),
        ),
        Some(key) if key.on_delete != "CASCADE" => {
            let summary = format!(
                "the foreign key `{}` does not delete the sessions of a deleted user ({})",
                key.name, key.on_delete
            );
            let fix = remedies.set_cascade_delete(&key.name, user, users);
            input.with_schema_fix(diagnostic_warn("user-exists", summary, fix), cascade)
        }
        Some(key) => {
            diagnostic_pass("user-exists", format!("`{}` deletes the sessions of a deleted user", key.name))
        }
        None => {
            let fix = remedies.add_foreign_key(user, users);
            let summary = "no foreign key to the users table: sessions outlive their users";
            input.with_schema_fix(diagnostic_warn("user-exists", summary, fix), cascade)
        }
    }
}

/// Reports a PostgreSQL foreign key that is not enforced, or not for every row.
fn diagnose_unenforced_key(
    input: DoctorInput<'_>,
    table: &TableInfo,
    key: &ForeignKey,
) -> Option<Diagnostic> {
    let mapping = &input.connected.layout.candidate.mapping;
    let enforced = input.connected.layout.schema.dialect.enforces_foreign_keys();
    let users = mapping.users.as_ref().filter(|_| enforced)?;
    let remedies = input.remedies();
    if !key.enabled {
        return Some(diagnostic_fail(
            "user-exists",
            format!(
                "the foreign key `{}` is not enforced: its triggers are disabled, or \
                 session_replication_role is set to replica",
                key.name
            ),
            remedies.enable_triggers(users),
        ));
    }
    if !key.validated {
        return Some(diagnostic_warn(
            "user-exists",
            format!("the foreign key `{}` was never validated for existing rows", key.name),
            remedies.validate_foreign_key(&key.name),
        ));
    }
    (table.has_children || table.is_subscribed).then(|| {
        diagnostic_warn(
            "user-exists",
            format!("the foreign key `{}` does not cover every row of this table", key.name),
            "look for orphans with `check --no-trust-constraints`",
        )
    })
}

pub(super) fn diagnose_indexes(input: DoctorInput<'_>, table: &TableInfo) -> Vec<Diagnostic> {
    let mapping = &input.connected.layout.candidate.mapping;
    let wanted = [
        ("index-user", mapping.user.as_deref(), "finding or revoking one user's sessions"),
        (
            "index-expires",
            Some(mapping.expires.column.as_str()),
            "deleting expired sessions and listing sessions by expiry",
        ),
    ];
    let finding = |(id, column, what): (&'static str, Option<&str>, &str)| {
        let column = column?;
        Some(match table.index_starting_with(column) {
            Some(index) => diagnostic_pass(id, format!("`{}` speeds up {what}", index.name)),
            None => {
                let summary = format!("no index starts with `{column}`: {what} reads the whole table");
                let finding = diagnostic_warn(id, summary, input.remedies().create_index(false, column));
                input.with_schema_fix(finding, SchemaChange::Index { column })
            }
        })
    };
    wanted.into_iter().filter_map(finding).collect()
}

pub(super) fn diagnose_statistics(input: DoctorInput<'_>, table: &TableInfo) -> Option<Diagnostic> {
    if table.estimated_rows.is_some() {
        return None;
    }
    let fix = input.remedies().analyze_table()?;
    Some(diagnostic_warn(
        "statistics",
        "the table was never analyzed, so the query planner guesses its size",
        fix,
    ))
}

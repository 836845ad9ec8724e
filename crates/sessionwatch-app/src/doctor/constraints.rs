//! What is visible of the tables, and what their constraints and indexes guarantee.

use sessionwatch_targets::sql::tables::{ForeignKey, IndexInfo, TableInfo};

use super::{Diagnostic, DoctorInput, diagnostic_fail, diagnostic_pass, diagnostic_warn};

pub(super) fn diagnose_visibility(patient: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    if table.has_hidden_rows {
        let layout = &patient.connected.layout;
        let name = layout.quote_table(&layout.candidate.mapping.sessions);
        let fix = patient.remedies().allow_select_policy(&name, patient.role_name());
        diagnostic_fail(
            "visibility",
            "row-level security hides rows from this role: nothing can be known for sure",
            fix,
        )
    } else if let Some(doubt) = &table.visibility_caveat {
        let fix = "name the table behind it under [target.mapping]";
        diagnostic_fail("visibility", format!("{doubt}: nothing can be known for sure"), fix)
    } else if table.is_filtered {
        let fix =
            "name the table behind it under [target.mapping], if the rows that are left out are sessions";
        diagnostic_warn(
            "visibility",
            format!("the condition of the view `{}` leaves out rows", table.name),
            fix,
        )
    } else {
        diagnostic_pass("visibility", "every row can be seen")
    }
}

/// Whether every user can be seen, where users are known.
pub(super) fn diagnose_users_visibility(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    const DIAGNOSTIC_ID: &str = "users-visibility";
    let users = patient.connected.layout.candidate.mapping.users.as_ref()?;
    let table = patient.connected.layout.schema.table(&users.table)?;
    let name = patient.connected.layout.quote_table(&users.table);
    if !table.has_hidden_rows {
        return Some(diagnostic_pass(DIAGNOSTIC_ID, format!("every row of {name} can be seen")));
    }
    let fix = patient.remedies().allow_select_policy(&name, patient.role_name());
    let summary = format!(
        "row-level security hides rows of {name} from this role: orphaned sessions cannot be told from those of users who are not seen"
    );
    Some(diagnostic_fail(DIAGNOSTIC_ID, summary, fix))
}

pub(super) fn diagnose_token_uniqueness(patient: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    let mapping = &patient.connected.layout.candidate.mapping;
    let column = patient.connected.layout.quote_name(&mapping.token);
    if let Some(index) = table.unique_index_on(&mapping.token) {
        return diagnostic_pass(
            "token-unique",
            format!("`{index}` keeps tokens unique; `check --deep` also looks past it"),
        );
    }
    let broken = table.indexes.iter().find(|index| index.unique && index.columns == [mapping.token.as_str()]);
    let remedies = patient.remedies();
    let create = remedies.create_index(true, &mapping.token);
    match broken {
        Some(IndexInfo { name, .. }) if table.has_children => diagnostic_fail(
            "token-unique",
            format!("the unique index `{name}` does not cover the rows of tables that inherit from this one"),
            "make one partitioned table of them, with the token in its partition key; or a unique index on each, and `check --deep`",
        ),
        Some(IndexInfo { name, complete: true, .. }) => diagnostic_fail(
            "token-unique",
            format!(
                "the unique index `{name}` compares more finely than the column: two tokens that are equal to the application may both be there"
            ),
            format!("{create}  -- with the column's own collation and operator class"),
        ),
        Some(IndexInfo { name, .. }) => diagnostic_fail(
            "token-unique",
            format!(
                "the unique index `{name}` is invalid, deferred or partial: it does not keep every token unique"
            ),
            format!("{}\n{create}", remedies.drop_index(name)),
        ),
        None => {
            let fix = if table.is_one_heap() {
                format!("{create}  -- fails while duplicates exist: the check `duplicate-tokens` names them")
            } else {
                // PostgreSQL would refuse the index, or make one for a part of the rows.
                format!(
                    "make {column} the partition key: a unique index reaches over several partitions only if that is in it; until then, `check` looks for duplicates"
                )
            };
            let summary = format!("nothing keeps {column} unique: one token can stand for two people");
            diagnostic_fail("token-unique", summary, fix)
        }
    }
}

pub(super) fn diagnose_token_comparison(patient: DoctorInput<'_>, table: &TableInfo) -> Option<Diagnostic> {
    let mapping = &patient.connected.layout.candidate.mapping;
    let how =
        patient.connected.layout.schema.dialect.describe_comparison(table.column_equality(&mapping.token))?;
    let fix = patient.remedies().compare_tokens_exactly();
    let summary = format!("tokens are compared {how}: a session is found by tokens that are not its own");
    Some(diagnostic_warn("token-comparison", summary, fix))
}

pub(super) fn diagnose_user_foreign_key(patient: DoctorInput<'_>, table: &TableInfo) -> Diagnostic {
    let mapping = &patient.connected.layout.candidate.mapping;
    let (Some(user), Some(users)) = (&mapping.user, &mapping.users) else {
        let fix = "grant SELECT on the key of the users, or name them under [target.mapping]";
        return diagnostic_warn(
            "user-exists",
            "no readable table of users is known: orphaned sessions cannot be found",
            fix,
        );
    };
    let remedies = patient.remedies();
    let enforced = patient.connected.layout.schema.dialect.enforces_foreign_keys();
    let key = table.foreign_key_on(user);
    if let Some(finding) = key.and_then(|key| diagnose_unenforced_key(patient, table, key)) {
        return finding;
    }
    match key {
        Some(key) if !enforced => diagnostic_warn(
            "user-exists",
            format!("{} exists, but SQLite checks it only on connections that ask for it", key.name),
            remedies.enforce_foreign_keys(),
        ),
        Some(key) if key.on_delete != "CASCADE" => diagnostic_warn(
            "user-exists",
            format!(
                "the foreign key `{}` does not remove the sessions of a user who is deleted ({})",
                key.name, key.on_delete
            ),
            remedies.set_cascade_delete(&key.name, user, users),
        ),
        Some(key) => diagnostic_pass(
            "user-exists",
            format!("`{}` ends the sessions of a user who is deleted", key.name),
        ),
        None => {
            let fix = remedies.add_foreign_key(user, users);
            diagnostic_warn("user-exists", "no foreign key to the users: sessions outlive them", fix)
        }
    }
}

/// Says of a foreign key of PostgreSQL that it is not enforced, or not for every row that is read.
fn diagnose_unenforced_key(
    patient: DoctorInput<'_>,
    table: &TableInfo,
    key: &ForeignKey,
) -> Option<Diagnostic> {
    let mapping = &patient.connected.layout.candidate.mapping;
    let enforced = patient.connected.layout.schema.dialect.enforces_foreign_keys();
    let users = mapping.users.as_ref().filter(|_| enforced)?;
    let remedies = patient.remedies();
    if !key.enabled {
        return Some(diagnostic_fail(
            "user-exists",
            format!(
                "the foreign key `{}` is not enforced: its triggers are disabled, or session_replication_role is set to replica",
                key.name
            ),
            remedies.enable_triggers(users),
        ));
    }
    if !key.validated {
        return Some(diagnostic_warn(
            "user-exists",
            format!("the foreign key `{}` was never checked for the rows that were there", key.name),
            remedies.validate_foreign_key(&key.name),
        ));
    }
    (table.has_children || table.is_subscribed).then(|| {
        diagnostic_warn(
            "user-exists",
            format!("the foreign key `{}` does not check every row that is read from this table", key.name),
            "look for orphans with `check --deep`",
        )
    })
}

pub(super) fn diagnose_indexes(patient: DoctorInput<'_>, table: &TableInfo) -> Vec<Diagnostic> {
    let mapping = &patient.connected.layout.candidate.mapping;
    let wanted = [
        ("index-user", mapping.user.as_deref(), "finding or ending one user's sessions"),
        (
            "index-expires",
            Some(mapping.expires.column.as_str()),
            "cleaning up expired sessions and listing them by their end",
        ),
    ];
    let finding = |(id, column, what): (&'static str, Option<&str>, &str)| {
        let column = column?;
        Some(match table.index_starting_with(column) {
            Some(index) => diagnostic_pass(id, format!("`{}` serves {what}", index.name)),
            None => diagnostic_warn(
                id,
                format!("no index begins with `{column}`: {what} reads the whole table"),
                patient.remedies().create_index(false, column),
            ),
        })
    };
    wanted.into_iter().filter_map(finding).collect()
}

pub(super) fn diagnose_statistics(patient: DoctorInput<'_>, table: &TableInfo) -> Option<Diagnostic> {
    if table.estimated_rows.is_some() {
        return None;
    }
    let fix = patient.remedies().analyze_table()?;
    Some(diagnostic_warn("statistics", "the table was never analyzed: the planner guesses its size", fix))
}

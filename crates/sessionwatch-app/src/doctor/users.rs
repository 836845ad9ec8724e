//! Diagnostics of the users table that affect the detection of orphaned sessions.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::{
    layout::detect::find_soft_delete_column, mapping::UsersMapping, sql::table_info::TableInfo,
};

use super::{Diagnostic, DoctorInput, diagnostic_warn};

/// Diagnoses the users table, if one is known.
pub(super) fn diagnose_users(input: DoctorInput<'_>) -> Vec<Diagnostic> {
    let opened = input.connected;
    let Some(users) = &opened.layout.candidate.mapping.users else { return vec![] };
    let Some(table) = opened.layout.schema.table(&users.table) else { return vec![] };
    [
        diagnose_users_key(input, users, table),
        diagnose_soft_deletion(input, users, table),
        diagnose_user_format(input, users),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reports that sessions refer to only one column of a composite key.
fn diagnose_users_key(input: DoctorInput<'_>, users: &UsersMapping, table: &TableInfo) -> Option<Diagnostic> {
    // A column that is unique by itself identifies the user, whatever the primary key is.
    if table.unique_index_on(&users.key).is_some() {
        return None;
    }
    let holds_key = |columns: &[String]| columns.len() > 1 && columns.contains(&users.key);
    let index = table.indexes.iter().find(|index| index.unique && holds_key(&index.columns))?;
    let layout = &input.connected.layout;
    let (name, column) = (layout.quote_table(&users.table), layout.quote_name(&users.key));
    let columns: Vec<String> = index.columns.iter().map(|column| layout.quote_name(column)).collect();
    Some(diagnostic_warn(
        "users-key",
        format!(
            "the key of {name} is ({}), but sessions are matched by {column} alone: a session whose user \
             exists only with another {} does not count as orphaned",
            columns.join(", "),
            columns.iter().filter(|other| **other != column).cloned().collect::<Vec<_>>().join(", ")
        ),
        "write a check of your own ([[custom_check]]) that compares all columns of the key",
    ))
}

/// Reports that soft-deleted users count as existing.
fn diagnose_soft_deletion(
    input: DoctorInput<'_>,
    users: &UsersMapping,
    table: &TableInfo,
) -> Option<Diagnostic> {
    let mark = find_soft_delete_column(table)?;
    Some(diagnostic_warn(
        "users-deleted",
        format!(
            "`{}` marks rows of {} as deleted, but they still count as users: \
             their sessions are not orphaned",
            mark.name,
            input.connected.layout.quote_table(&users.table)
        ),
        "let the application end the sessions of a deleted user; `sessionwatch revoke \
         user ID` does that for one user",
    ))
}

/// Reports sessions whose user id is written differently from the users table.
fn diagnose_user_format(input: DoctorInput<'_>, users: &UsersMapping) -> Option<Diagnostic> {
    let sessions = input.users_in_other_form;
    let layout = &input.connected.layout;
    let (name, column) = (layout.quote_table(&users.table), layout.quote_name(&users.key));
    (sessions > 0).then(|| {
        diagnostic_warn(
            "users-form",
            format!(
                "{} the user differently from {column} of {name}, such as with leading zeros or capitals: \
                 they count as orphaned, although the application may find the user",
                format_count(sessions, "session writes", "sessions write")
            ),
            "store these user IDs as the users table has them; until then, `cleanup orphaned` is refused",
        )
    })
}

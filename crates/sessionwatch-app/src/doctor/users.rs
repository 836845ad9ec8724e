//! What about the table of users keeps orphaned sessions from being told apart.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::{
    layout::detect::find_soft_delete_column, mapping::UsersMapping, sql::tables::TableInfo,
};

use super::{Diagnostic, DoctorInput, diagnostic_warn};

/// Examines the users, where they are known.
pub(super) fn diagnose_users(patient: DoctorInput<'_>) -> Vec<Diagnostic> {
    let opened = patient.connected;
    let Some(users) = &opened.layout.candidate.mapping.users else { return vec![] };
    let Some(table) = opened.layout.schema.table(&users.table) else { return vec![] };
    [
        diagnose_users_key(patient, users, table),
        diagnose_soft_deletion(patient, users, table),
        diagnose_user_format(patient, users),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Says that the column that sessions refer to is only a part of the key.
fn diagnose_users_key(
    patient: DoctorInput<'_>,
    users: &UsersMapping,
    table: &TableInfo,
) -> Option<Diagnostic> {
    if table.unique_index_on(&users.key).is_some() {
        return None;
    }
    let holds_key = |columns: &[String]| columns.len() > 1 && columns.contains(&users.key);
    let index = table.indexes.iter().find(|index| index.unique && holds_key(&index.columns))?;
    let layout = &patient.connected.layout;
    let (name, column) = (layout.quote_table(&users.table), layout.quote_name(&users.key));
    let columns: Vec<String> = index.columns.iter().map(|column| layout.quote_name(column)).collect();
    Some(diagnostic_warn(
        "users-key",
        format!(
            "the key of {name} is ({}), and sessions are compared by {column} alone: a session whose user exists only with another {} does not count as orphaned",
            columns.join(", "),
            columns.iter().filter(|other| **other != column).cloned().collect::<Vec<_>>().join(", ")
        ),
        "write a check of your own ([[custom_check]]) that compares all columns of the key",
    ))
}

/// Says that users whom the application marks as deleted count as users.
fn diagnose_soft_deletion(
    patient: DoctorInput<'_>,
    users: &UsersMapping,
    table: &TableInfo,
) -> Option<Diagnostic> {
    let mark = find_soft_delete_column(table)?;
    Some(diagnostic_warn(
        "users-deleted",
        format!(
            "`{}` marks rows of {} as deleted, and they count as users all the same: sessions of deleted users are not orphaned",
            mark.name,
            patient.connected.layout.quote_table(&users.table)
        ),
        "end the sessions of a user who is deleted, in the application; `sessionwatch revoke user ID` does so for one user",
    ))
}

/// Says that sessions name users in another form than their keys have.
fn diagnose_user_format(patient: DoctorInput<'_>, users: &UsersMapping) -> Option<Diagnostic> {
    let sessions = patient.users_in_other_form;
    let layout = &patient.connected.layout;
    let (name, column) = (layout.quote_table(&users.table), layout.quote_name(&users.key));
    (sessions > 0).then(|| {
        diagnostic_warn(
            "users-form",
            format!(
                "{} the user in a form that no {column} of {name} has, such as leading zeros or capitals: each counts as orphaned, though the application may find the user",
                format_count(sessions, "session writes", "sessions write")
            ),
            "write those users as their keys are written; until then, `cleanup orphaned` is refused",
        )
    })
}

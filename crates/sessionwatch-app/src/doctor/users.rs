//! What about the table of users keeps orphaned sessions from being told apart.

use sessionwatch_core::plural::counted;
use sessionwatch_targets::{layout::detect::soft_delete, mapping::UsersMapping, sql::tables::Table};

use super::{Finding, Patient, warn};

/// Examines the users, where they are known.
pub(super) fn examine(patient: Patient<'_>) -> Vec<Finding> {
    let opened = patient.opened;
    let Some(users) = &opened.layout.candidate.mapping.users else { return vec![] };
    let Some(table) = opened.layout.schema.table(&users.table) else { return vec![] };
    [key(patient, users, table), deleted(patient, users, table), form(patient, users)]
        .into_iter()
        .flatten()
        .collect()
}

/// Says that the column that sessions refer to is only a part of the key.
fn key(patient: Patient<'_>, users: &UsersMapping, table: &Table) -> Option<Finding> {
    if table.unique_on(&users.key).is_some() {
        return None;
    }
    let holds_key = |columns: &[String]| columns.len() > 1 && columns.contains(&users.key);
    let index = table.indexes.iter().find(|index| index.unique && holds_key(&index.columns))?;
    let layout = &patient.opened.layout;
    let (name, column) = (layout.quoted(&users.table), layout.quoted_name(&users.key));
    let columns: Vec<String> = index.columns.iter().map(|column| layout.quoted_name(column)).collect();
    Some(warn(
        "users-key",
        format!(
            "the key of {name} is ({}), and sessions are compared by {column} alone: a session whose user exists only with another {} does not count as orphaned",
            columns.join(", "),
            columns.iter().filter(|other| **other != column).cloned().collect::<Vec<_>>().join(", ")
        ),
        "write a check of your own ([[check]]) that compares all columns of the key",
    ))
}

/// Says that users whom the application marks as deleted count as users.
fn deleted(patient: Patient<'_>, users: &UsersMapping, table: &Table) -> Option<Finding> {
    let mark = soft_delete(table)?;
    Some(warn(
        "users-deleted",
        format!(
            "`{}` marks rows of {} as deleted, and they count as users all the same: sessions of deleted users are not orphaned",
            mark.name,
            patient.opened.layout.quoted(&users.table)
        ),
        "end the sessions of a user who is deleted, in the application; `sessionwatch revoke user ID` does so for one user",
    ))
}

/// Says that sessions name users in another form than their keys have.
fn form(patient: Patient<'_>, users: &UsersMapping) -> Option<Finding> {
    let sessions = patient.users_in_other_form;
    let layout = &patient.opened.layout;
    let (name, column) = (layout.quoted(&users.table), layout.quoted_name(&users.key));
    (sessions > 0).then(|| {
        warn(
            "users-form",
            format!(
                "{} the user in a form that no {column} of {name} has, such as leading zeros or capitals: each counts as orphaned, though the application may find the user",
                counted(sessions, "session writes", "sessions write")
            ),
            "write those users as their keys are written; until then, `cleanup orphaned` is refused",
        )
    })
}

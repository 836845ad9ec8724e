//! What is visible of the tables, and what their constraints and indexes guarantee.

use sessionwatch_targets::sql::tables::{ForeignKey, Index, Table};

use super::{Finding, Patient, fail, pass, warn};

pub(super) fn visibility(patient: Patient<'_>, table: &Table) -> Finding {
    if table.rows_hidden {
        let layout = &patient.opened.layout;
        let name = layout.quoted(&layout.candidate.mapping.sessions);
        let fix = patient.remedies().show_rows(&name, patient.role_name());
        fail("visibility", "row-level security hides rows from this role: nothing can be known for sure", fix)
    } else if let Some(doubt) = &table.doubt {
        let fix = "name the table behind it under [target.mapping]";
        fail("visibility", format!("{doubt}: nothing can be known for sure"), fix)
    } else if table.filtered {
        let fix =
            "name the table behind it under [target.mapping], if the rows that are left out are sessions";
        warn("visibility", format!("the condition of the view `{}` leaves out rows", table.name), fix)
    } else {
        pass("visibility", "every row can be seen")
    }
}

/// Whether every user can be seen, where users are known.
pub(super) fn users_visibility(patient: Patient<'_>) -> Option<Finding> {
    const ID: &str = "users-visibility";
    let users = patient.opened.layout.candidate.mapping.users.as_ref()?;
    let table = patient.opened.layout.schema.table(&users.table)?;
    let name = patient.opened.layout.quoted(&users.table);
    if !table.rows_hidden {
        return Some(pass(ID, format!("every row of {name} can be seen")));
    }
    let fix = patient.remedies().show_rows(&name, patient.role_name());
    let summary = format!(
        "row-level security hides rows of {name} from this role: orphaned sessions cannot be told from those of users who are not seen"
    );
    Some(fail(ID, summary, fix))
}

pub(super) fn token_unique(patient: Patient<'_>, table: &Table) -> Finding {
    let mapping = &patient.opened.layout.candidate.mapping;
    let column = patient.opened.layout.quoted_name(&mapping.token);
    if let Some(index) = table.unique_on(&mapping.token) {
        return pass(
            "token-unique",
            format!("`{index}` keeps tokens unique; `check --deep` also looks past it"),
        );
    }
    let broken = table.indexes.iter().find(|index| index.unique && index.columns == [mapping.token.as_str()]);
    let remedies = patient.remedies();
    let create = remedies.create_index(true, &mapping.token);
    match broken {
        Some(Index { name, .. }) if table.inherited => fail(
            "token-unique",
            format!("the unique index `{name}` does not cover the rows of tables that inherit from this one"),
            "make one partitioned table of them, with the token in its partition key; or a unique index on each, and `check --deep`",
        ),
        Some(Index { name, complete: true, .. }) => fail(
            "token-unique",
            format!(
                "the unique index `{name}` compares more finely than the column: two tokens that are equal to the application may both be there"
            ),
            format!("{create}  -- with the column's own collation and operator class"),
        ),
        Some(Index { name, .. }) => fail(
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
            fail("token-unique", summary, fix)
        }
    }
}

pub(super) fn token_comparison(patient: Patient<'_>, table: &Table) -> Option<Finding> {
    let mapping = &patient.opened.layout.candidate.mapping;
    let how = patient.opened.layout.schema.dialect.comparison(table.equality(&mapping.token))?;
    let fix = patient.remedies().compare_tokens_exactly();
    let summary = format!("tokens are compared {how}: a session is found by tokens that are not its own");
    Some(warn("token-comparison", summary, fix))
}

pub(super) fn user_exists(patient: Patient<'_>, table: &Table) -> Finding {
    let mapping = &patient.opened.layout.candidate.mapping;
    let (Some(user), Some(users)) = (&mapping.user, &mapping.users) else {
        let fix = "grant SELECT on the key of the users, or name them under [target.mapping]";
        return warn(
            "user-exists",
            "no readable table of users is known: orphaned sessions cannot be found",
            fix,
        );
    };
    let remedies = patient.remedies();
    let enforced = patient.opened.layout.schema.dialect.enforces_foreign_keys();
    let key = table.foreign_key_on(user);
    if let Some(finding) = key.and_then(|key| unenforced(patient, table, key)) {
        return finding;
    }
    match key {
        Some(key) if !enforced => warn(
            "user-exists",
            format!("{} exists, but SQLite checks it only on connections that ask for it", key.name),
            remedies.enforce_foreign_keys(),
        ),
        Some(key) if key.on_delete != "CASCADE" => warn(
            "user-exists",
            format!(
                "the foreign key `{}` does not remove the sessions of a user who is deleted ({})",
                key.name, key.on_delete
            ),
            remedies.cascade(&key.name, user, users),
        ),
        Some(key) => {
            pass("user-exists", format!("`{}` ends the sessions of a user who is deleted", key.name))
        }
        None => {
            let fix = remedies.add_foreign_key(user, users);
            warn("user-exists", "no foreign key to the users: sessions outlive them", fix)
        }
    }
}

/// Says of a foreign key of PostgreSQL that it is not enforced, or not for every row that is read.
fn unenforced(patient: Patient<'_>, table: &Table, key: &ForeignKey) -> Option<Finding> {
    let mapping = &patient.opened.layout.candidate.mapping;
    let enforced = patient.opened.layout.schema.dialect.enforces_foreign_keys();
    let users = mapping.users.as_ref().filter(|_| enforced)?;
    let remedies = patient.remedies();
    if !key.enabled {
        return Some(fail(
            "user-exists",
            format!(
                "the foreign key `{}` is not enforced: its triggers are disabled, or session_replication_role is set to replica",
                key.name
            ),
            remedies.enable_triggers(users),
        ));
    }
    if !key.validated {
        return Some(warn(
            "user-exists",
            format!("the foreign key `{}` was never checked for the rows that were there", key.name),
            remedies.validate(&key.name),
        ));
    }
    (table.inherited || table.subscribed).then(|| {
        warn(
            "user-exists",
            format!("the foreign key `{}` does not check every row that is read from this table", key.name),
            "look for orphans with `check --deep`",
        )
    })
}

pub(super) fn indexes(patient: Patient<'_>, table: &Table) -> Vec<Finding> {
    let mapping = &patient.opened.layout.candidate.mapping;
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
        Some(match table.index_led_by(column) {
            Some(index) => pass(id, format!("`{}` serves {what}", index.name)),
            None => warn(
                id,
                format!("no index begins with `{column}`: {what} reads the whole table"),
                patient.remedies().create_index(false, column),
            ),
        })
    };
    wanted.into_iter().filter_map(finding).collect()
}

pub(super) fn statistics(patient: Patient<'_>, table: &Table) -> Option<Finding> {
    if table.estimated_rows.is_some() {
        return None;
    }
    let fix = patient.remedies().analyze()?;
    Some(warn("statistics", "the table was never analyzed: the planner guesses its size", fix))
}

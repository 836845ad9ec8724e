//! The doctor: what about a target keeps its sessions from being safe, or sessionwatch from seeing them, and the SQL
//! that mends it. Pure: facts in, findings out.

mod row_ids;
mod users;
mod visit;

use sessionwatch_core::{
    decoder::Decoder,
    instant::SECOND,
    local_time::{Clock, Doubt, Doubts},
    plural::counted,
};

pub use self::visit::visit;

use pg_link::SslMode;

use crate::{
    api_types::Examined,
    clock as calendar,
    clock_difference::Difference,
    config::Config,
    incident::drill::{
        self,
        leftovers::{self, Leftover},
    },
    profile::{
        detect::{Candidate, comparison},
        doubt::Weight,
        mapping::{Mapping, UsersMapping},
        schema::{Dialect, Equality, ForeignKey, Index, Table, TableKind},
    },
    sanitize::printable,
    target::{
        address::Address,
        connect::ConnectedTarget,
        examination::{Impersonations, RowIdSequence},
        layout,
        server_info::{ServerInfo, Shadower},
        side_effects::SideEffect,
        sql::{identifier, table as quoted},
    },
};

/// Clocks that differ by more are worth a word; by more than the other, wrong.
const CLOCK_WARN: i64 = 2 * SECOND;
const CLOCK_FAIL: i64 = 60 * SECOND;
/// The fewest characters that hold 64 random bits as hexadecimal digits, the least that OWASP asks of a session id.
const SECRET: u64 = 16;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Pass,
    /// Could be better.
    Warn,
    /// Must be mended.
    Fail,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was examined, kebab-case.
    pub id: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub summary: String,
    /// SQL, or words, that mend it.
    pub fix: Option<String>,
}

impl From<&Finding> for Examined {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id,
            level: finding.level.name(),
            summary: finding.summary.clone(),
            fix: finding.fix.clone(),
        }
    }
}

/// A target as examined.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// What was found in it.
    pub opened: &'a ConnectedTarget,
    /// What it says of itself.
    pub audit: &'a ServerInfo,
    /// The database's clock and this machine's.
    pub clocks: Difference,
    /// The instants in it that are not believed.
    pub doubts: &'a Doubts,
    /// The role that acts, where one is configured.
    pub acting: Option<&'a Acting>,
    /// What ending sessions does besides.
    pub side_effects: &'a [SideEffect],
    /// Characters of the shortest token of a sample; `None` if there is no session.
    pub shortest_token: Option<u64>,
    /// Ends that are stored in another unit than the others.
    pub ends_in_other_unit: u64,
    /// Sessions whose user is written in a form that no key of a user has.
    pub users_in_other_form: u64,
    /// Where the row ids stand, where they are small numbers of a sequence.
    pub row_ids: Option<&'a RowIdSequence>,
    /// What every token of a sample begins with, as far as it is shown; nothing if they differ, or are few.
    pub common_prefix: Option<&'a str>,
    /// Active sessions in which somebody acts for a user for more than an hour: who, how many, and since when at the earliest.
    pub impersonations: &'a [Impersonations],
    /// Databases that drills may have left on the server.
    pub drills: &'a [Leftover],
}

/// The role that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acting {
    /// Its name, whether it may do everything, and what it lacks, each as `PRIVILEGE ON what`.
    Asked {
        /// Its name.
        name: String,
        /// May do everything.
        superuser: bool,
        /// What it lacks.
        lacks: Vec<String>,
        /// The tables of which it does not see every row.
        hidden: Vec<String>,
    },
    /// Why it could not be asked.
    Unknown(String),
}

impl Level {
    /// The word for it in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

fn pass(id: &'static str, summary: impl Into<String>) -> Finding {
    Finding { id, level: Level::Pass, summary: summary.into(), fix: None }
}

fn warn(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { id, level: Level::Warn, summary: summary.into(), fix: Some(fix.into()) }
}

fn fail(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { level: Level::Fail, ..warn(id, summary, fix) }
}

/// Examines a target.
#[must_use]
pub fn examine(patient: Patient<'_>) -> Vec<Finding> {
    let mut findings = vec![pass("server", server(patient.audit))];
    findings.extend(transport(patient));
    findings.extend(pooler(patient.address));
    findings.push(recognition(patient.opened));
    findings.extend(elsewhere(patient.opened));
    findings.extend(role(patient));
    findings.extend(search_path(patient));
    findings.extend(patient.acting.map(|acting| acting_role(patient, acting)));
    let mapping = &patient.opened.layout.candidate.mapping;
    let sessions = patient.opened.layout.schema.table(&mapping.sessions);
    if let Some(table) = sessions {
        findings.push(visibility(patient, table));
        findings.extend(users_visibility(patient));
        if [TableKind::Table, TableKind::Partitioned].contains(&table.kind) {
            findings.push(token_unique(patient, table));
            findings.extend(token_comparison(patient, table));
            findings.push(user_exists(patient, table));
            findings.extend(indexes(patient, table));
            findings.extend(statistics(patient, table));
        } else {
            let fix =
                "examine the tables behind it: name one under [target.mapping], if it holds every session";
            findings.push(warn("table", "not a table of its own: it has no constraints and no indexes", fix));
        }
    }
    findings.extend(users::examine(patient));
    findings.extend(row_ids::examine(patient));
    findings.extend(token_length(patient));
    findings.extend(alike(patient));
    findings.push(expiry(patient));
    findings.push(creation(patient));
    findings.extend(clock(patient));
    findings.extend(journal(patient.audit));
    findings.extend(units(patient));
    findings.extend(impersonation(patient));
    findings.push(side_effects(patient));
    findings.extend(drills(patient));
    findings
}

/// Names the files that drills may have left beside the store and in the present folder.
#[must_use]
pub fn left_files(config: &Config) -> Option<Finding> {
    let left = leftovers::files_of(&drill::folder(&config.serve.store));
    let names: Vec<String> = left
        .iter()
        .filter(|left| left.state != leftovers::State::Running)
        .map(leftovers::LeftFiles::names)
        .collect();
    let names = names.join(" ");
    (!names.is_empty()).then(|| {
        warn(
            "drill-files",
            format!("drills left files: {names}"),
            format!("if no drill is running: rm {names}"),
        )
    })
}

/// Names the databases that drills may have left, which hold user ids.
fn drills(patient: Patient<'_>) -> Option<Finding> {
    let said: Vec<String> = patient.drills.iter().map(Leftover::said).collect();
    let statements: Vec<String> = patient.drills.iter().map(Leftover::drop_statement).collect();
    (!said.is_empty()).then(|| {
        let fix = format!("if no drill is running, as their owner:\n{}", statements.join("\n"));
        warn("drill-leftovers", format!("on this server: {}", said.join("; ")), fix)
    })
}

/// Says that a token prefix names no session.
fn alike(patient: Patient<'_>) -> Option<Finding> {
    let prefix = printable(patient.common_prefix?);
    Some(warn(
        "token-prefix",
        format!(
            "every token in a sample begins with `{prefix}`: what is shown of a token names no session, and logs cannot be joined by it"
        ),
        "if all tokens begin so, write what they begin with as `token_prefix` under [target.mapping]; name rows by their id",
    ))
}

/// Names those who act for users in sessions that were left behind.
fn impersonation(patient: Patient<'_>) -> Option<Finding> {
    let column = patient.opened.layout.candidate.mapping.impersonator.as_deref()?;
    let count: u64 = patient.impersonations.iter().map(|one| one.sessions).sum();
    if count == 0 {
        return Some(pass(
            "impersonation",
            format!("nobody has acted for a user for more than an hour (`{column}`)"),
        ));
    }
    let who: Vec<String> =
        patient.impersonations.iter().map(|one| format!("`{}`", printable(&one.who))).collect();
    let since = patient.impersonations.iter().filter_map(|one| one.since).min();
    let oldest = since.map(|since| format!(", the oldest since {}", calendar::readable(since)));
    Some(warn(
        "impersonation",
        format!(
            "{} by which {} acts for others (`{column}`) for more than an hour{}: their users do not use them",
            counted(count, "active session", "active sessions"),
            who.join(", "),
            oldest.unwrap_or_default()
        ),
        "end them: `sessionwatch revoke where --impersonated --created-before INSTANT`; and let the application remove the session when \
         an impersonation stops",
    ))
}

/// Says that an application has stored ends in seconds and in milliseconds.
fn units(patient: Patient<'_>) -> Option<Finding> {
    let ends = patient.ends_in_other_unit;
    let expires = &patient.opened.layout.candidate.mapping.expires;
    let (unit, others) = match expires.decoder {
        Decoder::EpochSeconds => ("milliseconds", "seconds"),
        _ => ("seconds", "milliseconds"),
    };
    (ends > 0).then(|| {
        warn(
            "expiry-units",
            format!(
                "{} in {unit} among {others} in `{}`: each is read in its own unit",
                counted(ends, "end is stored", "ends are stored"),
                expires.column
            ),
            "find out which unit the application reads: to it, rows in the other one ended long ago, or never end",
        )
    })
}

fn side_effects(patient: Patient<'_>) -> Finding {
    const ID: &str = "side-effects";
    let effects: Vec<String> = patient.side_effects.iter().map(SideEffect::text).collect();
    if effects.is_empty() {
        return pass(ID, "ending sessions changes no other table, and runs no trigger or rule");
    }
    let fix = if patient.side_effects.iter().all(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; they are archived, and restored with their sessions"
    } else if patient.side_effects.iter().any(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; the archive holds those that ON DELETE CASCADE deletes, as the plan says, and nothing else"
    } else {
        "each plan counts these rows and has to be confirmed; what happens to them cannot be undone by a restore"
    };
    warn(
        ID,
        format!(
            "ending sessions concerns other tables, or runs code of the database: {}",
            effects.join(", ")
        ),
        fix,
    )
}

fn server(audit: &ServerInfo) -> String {
    let replica = if audit.replica { ", a replica: it may lag behind" } else { "" };
    format!("{}{replica}", audit.server)
}

fn transport(patient: Patient<'_>) -> Option<Finding> {
    let Address::Postgres(dsn) = patient.address else { return None };
    let fix = "add sslmode=verify-full to the address (and sslrootcert=FILE, if the authority is your own)";
    Some(match (patient.audit.encrypted?, dsn.ssl_mode) {
        (_, _) if dsn.is_loopback() => pass("transport", "the connection stays on this machine"),
        (false, _) => fail(
            "transport",
            "the connection is not encrypted: token prefixes and the password's proof cross the network in clear",
            fix,
        ),
        (true, SslMode::VerifyFull) => {
            pass("transport", "encrypted, and the server's certificate is checked")
        }
        (true, SslMode::VerifyCa) => {
            warn("transport", "encrypted, but the certificate's host name is not checked", fix)
        }
        (true, _) => warn(
            "transport",
            "encrypted, but the server's certificate is not checked: somebody in between could read along",
            fix,
        ),
    })
}

fn pooler(address: &Address) -> Option<Finding> {
    let Address::Postgres(dsn) = address else { return None };
    let summary = "the address looks like that of a pooler: looks work through it, but a query that has to be cancelled may run on until its timeout";
    dsn.pooled.then(|| {
        warn("pooler", summary, "use the direct address of the database, or of a replica, where there is one")
    })
}

fn recognition(opened: &ConnectedTarget) -> Finding {
    let Candidate { mapping, title, why, .. } = &opened.layout.candidate;
    let summary = format!("{title} in {}: {}", mapping.sessions, why.join("; "));
    match &opened.layout.doubt {
        None => pass("recognition", summary),
        Some(doubt) if doubt.weight == Weight::Weak => fail("recognition", doubt.to_string(), doubt.hint()),
        Some(doubt) => warn("recognition", format!("{summary}; {doubt}"), doubt.hint()),
    }
}

/// Log-ins that do not end with their rows, as far as the tables show that.
fn elsewhere(opened: &ConnectedTarget) -> Vec<Finding> {
    let fix = "end log-ins there too, whenever rows are ended here: docs/acting.md says how";
    opened.layout.candidate.elsewhere.iter().map(|says| warn("elsewhere", says, fix)).collect()
}

fn acting_role(patient: Patient<'_>, acting: &Acting) -> Finding {
    const ID: &str = "acting-role";
    let fix = "make a role for acting: `sessionwatch grants` prints the statements";
    match acting {
        Acting::Unknown(why) => fail(ID, format!("the role that acts could not be asked: {why}"), fix),
        Acting::Asked { name, lacks, .. } if !lacks.is_empty() => {
            let grants: Vec<String> =
                lacks.iter().map(|lacking| format!("GRANT {lacking} TO {};", identifier(name))).collect();
            fail(ID, format!("`{name}` may not end sessions, or not put them back"), grants.join("\n"))
        }
        Acting::Asked { name, hidden, .. } if !hidden.is_empty() => {
            let policy = |table: &String| {
                format!(
                    "CREATE POLICY sessionwatch ON {table} TO {} USING (true) WITH CHECK (true);",
                    identifier(name)
                )
            };
            let policies: Vec<String> = hidden.iter().map(policy).collect();
            let summary = format!("row-level security hides rows of {} from `{name}`", hidden.join(" and "));
            fail(ID, summary, policies.join("\n"))
        }
        Acting::Asked { name, superuser: true, .. } => {
            warn(ID, format!("`{name}` is a superuser, which acting does not need"), fix)
        }
        Acting::Asked { name, .. } if patient.audit.role.as_ref().is_some_and(|role| role.name == *name) => {
            warn(ID, format!("`{name}` watches as well: watching should not be able to change anything"), fix)
        }
        Acting::Asked { name, .. } => pass(ID, format!("`{name}` may end sessions and put them back")),
    }
}

fn role(patient: Patient<'_>) -> Option<Finding> {
    let role = patient.audit.role.as_ref()?;
    let excess: Vec<&str> = [
        (role.superuser, "is a superuser"),
        (role.writes, "may change or remove sessions"),
        (role.creates, "may create tables and functions beside them"),
    ]
    .into_iter()
    .filter_map(|(has, what)| has.then_some(what))
    .collect();
    Some(if excess.is_empty() {
        pass("role", format!("`{}` may read what is needed, and no more", role.name))
    } else {
        let fix = "make a role that may only read: `sessionwatch grants` prints the statements";
        warn("role", format!("`{}` {}, which watching does not need", role.name, excess.join(", ")), fix)
    })
}

fn search_path(patient: Patient<'_>) -> Option<Finding> {
    let shadowers = &patient.audit.shadowers;
    let first = shadowers.first()?;
    let who = |shadower: &Shadower| match shadower.role.as_str() {
        "PUBLIC" => "PUBLIC".to_owned(),
        role => identifier(role),
    };
    let others = match shadowers.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let summary = format!(
        "{} can create functions in schema `{}`{others}, which is on the search path: they can replace built-in ones in custom checks and in psql",
        who(first),
        first.schema
    );
    let fixes = shadowers.iter().map(|shadower| {
        format!("REVOKE CREATE ON SCHEMA {} FROM {};", identifier(&shadower.schema), who(shadower))
    });
    Some(warn("search-path", summary, fixes.collect::<Vec<_>>().join("\n")))
}

fn visibility(patient: Patient<'_>, table: &Table) -> Finding {
    if table.rows_hidden {
        let name = quoted(&patient.opened.layout.candidate.mapping.sessions);
        let role = patient.audit.role.as_ref().map_or("ROLE".into(), |role| identifier(&role.name));
        let fix = format!("CREATE POLICY sessionwatch ON {name} FOR SELECT TO {role} USING (true);");
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
fn users_visibility(patient: Patient<'_>) -> Option<Finding> {
    const ID: &str = "users-visibility";
    let users = patient.opened.layout.candidate.mapping.users.as_ref()?;
    let table = patient.opened.layout.schema.table(&users.table)?;
    let name = quoted(&users.table);
    if !table.rows_hidden {
        return Some(pass(ID, format!("every row of {name} can be seen")));
    }
    let role = patient.audit.role.as_ref().map_or("ROLE".into(), |role| identifier(&role.name));
    let fix = format!("CREATE POLICY sessionwatch ON {name} FOR SELECT TO {role} USING (true);");
    let summary = format!(
        "row-level security hides rows of {name} from this role: orphaned sessions cannot be told from those of users who are not seen"
    );
    Some(fail(ID, summary, fix))
}

fn token_unique(patient: Patient<'_>, table: &Table) -> Finding {
    let mapping = &patient.opened.layout.candidate.mapping;
    let column = identifier(&mapping.token);
    if let Some(index) = table.unique_on(&mapping.token) {
        return pass(
            "token-unique",
            format!("`{index}` keeps tokens unique; `check --deep` also looks past it"),
        );
    }
    let broken = table.indexes.iter().find(|index| index.unique && index.columns == [mapping.token.as_str()]);
    let create = create_index(patient, "UNIQUE ", &mapping.token);
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
            format!("DROP INDEX {};\n{create}", identifier(name)),
        ),
        None => {
            let fix = if is_one_heap(table) {
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

fn token_comparison(patient: Patient<'_>, table: &Table) -> Option<Finding> {
    let mapping = &patient.opened.layout.candidate.mapping;
    let how = comparison(dialect(patient), table.equality(&mapping.token))?;
    let (name, column) = (quoted(&mapping.sessions), identifier(&mapping.token));
    let fix = match (dialect(patient), table.equality(&mapping.token)) {
        (Dialect::Postgres, Equality::Collation) => {
            format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text COLLATE \"C\";")
        }
        (Dialect::Postgres, _) => format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text;"),
        (Dialect::Sqlite, _) => format!("remake the table with {column} TEXT, without COLLATE"),
    };
    let summary = format!("tokens are compared {how}: a session is found by tokens that are not its own");
    Some(warn("token-comparison", summary, fix))
}

/// Whether all rows are in the table itself, and none in partitions, chunks or tables that inherit from it.
fn is_one_heap(table: &Table) -> bool {
    table.kind == TableKind::Table && !table.inherited
}

fn token_length(patient: Patient<'_>) -> Option<Finding> {
    let shortest = patient.shortest_token?;
    if shortest >= SECRET {
        return Some(pass(
            "token-length",
            format!("the shortest token in a sample has {shortest} characters"),
        ));
    }
    Some(warn(
        "token-length",
        format!(
            "tokens are too short to be session secrets: the shortest in a sample has {shortest} characters, so that it could be guessed"
        ),
        format!(
            "let the application create tokens from 128 random bits or more ({SECRET} characters at least); or name another column as `token` under [target.mapping], if this one is no secret"
        ),
    ))
}

fn create_index(patient: Patient<'_>, unique: &str, column: &str) -> String {
    let sessions = &patient.opened.layout.candidate.mapping.sessions;
    let table = patient.opened.layout.schema.table(sessions);
    // Neither SQLite nor a partitioned table nor a hypertable can have one made beside the application's work.
    let beside = dialect(patient) == Dialect::Postgres && table.is_some_and(is_one_heap);
    let concurrently = if beside { "CONCURRENTLY " } else { "" };
    let name =
        identifier(&format!("{}_{column}_{}", sessions.name, if unique.is_empty() { "idx" } else { "key" }));
    format!("CREATE {unique}INDEX {concurrently}{name} ON {} ({});", quoted(sessions), identifier(column))
}

fn dialect(patient: Patient<'_>) -> Dialect {
    patient.opened.layout.schema.dialect
}

fn user_exists(patient: Patient<'_>, table: &Table) -> Finding {
    let mapping = &patient.opened.layout.candidate.mapping;
    let (Some(user), Some(users)) = (&mapping.user, &mapping.users) else {
        let fix = "grant SELECT on the key of the users, or name them under [target.mapping]";
        return warn(
            "user-exists",
            "no readable table of users is known: orphaned sessions cannot be found",
            fix,
        );
    };
    let sessions = quoted(&mapping.sessions);
    let key = table.foreign_key_on(user);
    if let Some(finding) = key.and_then(|key| unenforced(patient, table, key)) {
        return finding;
    }
    match key {
        Some(key) if dialect(patient) == Dialect::Sqlite => warn(
            "user-exists",
            format!("{} exists, but SQLite checks it only on connections that ask for it", key.name),
            "PRAGMA foreign_keys = ON;  -- in the application, on every connection",
        ),
        Some(key) if key.on_delete != "CASCADE" => warn(
            "user-exists",
            format!(
                "the foreign key `{}` does not remove the sessions of a user who is deleted ({})",
                key.name, key.on_delete
            ),
            format!(
                "ALTER TABLE {sessions} DROP CONSTRAINT {0}, ADD CONSTRAINT {0} FOREIGN KEY ({1}) REFERENCES {2} ({3}) ON DELETE CASCADE;",
                identifier(&key.name),
                identifier(user),
                quoted(&users.table),
                identifier(&users.key)
            ),
        ),
        Some(key) => {
            pass("user-exists", format!("`{}` ends the sessions of a user who is deleted", key.name))
        }
        None if dialect(patient) == Dialect::Sqlite => warn(
            "user-exists",
            "no foreign key to the users: sessions outlive them",
            "remake the table with REFERENCES … ON DELETE CASCADE: SQLite cannot add a foreign key",
        ),
        None => {
            let fix = add_foreign_key(mapping, (user, users), is_one_heap(table));
            warn("user-exists", "no foreign key to the users: sessions outlive them", fix)
        }
    }
}

/// The statements that make a foreign key of PostgreSQL to the users.
fn add_foreign_key(mapping: &Mapping, (user, users): (&str, &UsersMapping), one_heap: bool) -> String {
    let sessions = quoted(&mapping.sessions);
    let name = identifier(&format!("{}_{user}_fkey", mapping.sessions.name));
    let add = format!(
        "ALTER TABLE {sessions} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
        identifier(user),
        quoted(&users.table),
        identifier(&users.key)
    );
    if one_heap {
        format!(
            "{add} NOT VALID;\nALTER TABLE {sessions} VALIDATE CONSTRAINT {name};  -- after the orphans are gone"
        )
    } else {
        // Up to version 17, a partitioned table cannot have one that is validated later.
        format!("{add};  -- after the orphans are gone; it locks both tables while it reads the sessions")
    }
}

/// Says of a foreign key of PostgreSQL that it is not enforced, or not for every row that is read.
fn unenforced(patient: Patient<'_>, table: &Table, key: &ForeignKey) -> Option<Finding> {
    let mapping = &patient.opened.layout.candidate.mapping;
    let users = mapping.users.as_ref().filter(|_| dialect(patient) == Dialect::Postgres)?;
    let sessions = quoted(&mapping.sessions);
    if !key.enabled {
        return Some(fail(
            "user-exists",
            format!(
                "the foreign key `{}` is not enforced: its triggers are disabled, or session_replication_role is set to replica",
                key.name
            ),
            format!(
                "ALTER TABLE {sessions} ENABLE TRIGGER ALL;\nALTER TABLE {} ENABLE TRIGGER ALL;\n-- then look for orphans: `check --deep`",
                quoted(&users.table)
            ),
        ));
    }
    if !key.validated {
        return Some(warn(
            "user-exists",
            format!("the foreign key `{}` was never checked for the rows that were there", key.name),
            format!("ALTER TABLE {sessions} VALIDATE CONSTRAINT {};", identifier(&key.name)),
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

fn indexes(patient: Patient<'_>, table: &Table) -> Vec<Finding> {
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
                create_index(patient, "", column),
            ),
        })
    };
    wanted.into_iter().filter_map(finding).collect()
}

fn statistics(patient: Patient<'_>, table: &Table) -> Option<Finding> {
    if dialect(patient) == Dialect::Sqlite || table.estimated_rows.is_some() {
        return None;
    }
    let fix = format!("ANALYZE {};", quoted(&patient.opened.layout.candidate.mapping.sessions));
    Some(warn("statistics", "the table was never analyzed: the planner guesses its size", fix))
}

fn expiry(patient: Patient<'_>) -> Finding {
    let expires = &patient.opened.layout.candidate.mapping.expires;
    if let Some(doubt) = &patient.doubts.expires {
        return doubted("expiry", patient, doubt);
    }
    let wall = patient.opened.layout.clocks.expires == Clock::AssumedUtc;
    let read = format!(
        "`{}` is read as {}, and {}",
        expires.column,
        expires.decoder.name(),
        if wall {
            "nothing that is stored says otherwise; it names no time zone, so that cleanups keep 14 hours of grace"
        } else {
            "the stored values make sense so"
        }
    );
    let zone = patient.audit.time_zone.as_deref().filter(|zone| !["UTC", "GMT", "Etc/UTC"].contains(zone));
    match (expires.decoder, zone) {
        (Decoder::TimestampUtc, Some(zone)) => warn(
            "expiry",
            format!(
                "{read}; but the server's time zone is {zone}, so a comparison of this column with NOW() is wrong by hours (sessionwatch does not make it)"
            ),
            "compare with (now() AT TIME ZONE 'UTC') in queries of your own",
        ),
        _ => pass("expiry", read),
    }
}

/// An instant that is not believed: wrong if something contradicts it, and in doubt if nothing confirms it.
fn doubted(id: &'static str, patient: Patient<'_>, doubt: &Doubt) -> Finding {
    let fix = layout::remedy(patient.doubts, patient.opened.now).unwrap_or_default();
    if doubt.contradicted { fail(id, doubt.reason.clone(), fix) } else { warn(id, doubt.reason.clone(), fix) }
}

fn creation(patient: Patient<'_>) -> Finding {
    if let Some(doubt) = &patient.doubts.created {
        return doubted("creation", patient, doubt);
    }
    let mapping = &patient.opened.layout.candidate.mapping;
    if mapping.user.is_none() {
        return warn(
            "user",
            "no user column is named: orphaned sessions, sessions of one user and rapid creation are not checked",
            "name it with `user` under [target.mapping]; where the user is inside of JSON, a view can bring it out (docs/profiles.md)",
        );
    }
    match &mapping.created {
        Some(created) => pass("creation", format!("`{}` tells when a session was created", created.column)),
        None => warn(
            "creation",
            "creation is not stored: only `serve` sees which sessions are new",
            with_creation(patient),
        ),
    }
}

/// How creation can be stored, in the spelling of the other columns.
fn with_creation(patient: Patient<'_>) -> String {
    let mapping = &patient.opened.layout.candidate.mapping;
    let snake_case = [&mapping.token, &mapping.expires.column]
        .into_iter()
        .chain(&mapping.user)
        .any(|name| name.contains('_'));
    let column = if snake_case { "created_at" } else { "createdAt" };
    let kind = patient.opened.layout.schema.table(&mapping.sessions).map(|table| table.kind);
    match (dialect(patient), kind) {
        (Dialect::Postgres, Some(TableKind::Table | TableKind::Partitioned)) => format!(
            "ALTER TABLE {} ADD COLUMN {} timestamptz NOT NULL DEFAULT now();  -- if the framework allows for it",
            quoted(&mapping.sessions),
            identifier(column)
        ),
        (_, Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign)) => {
            format!(
                "add a column {column} to the table behind it, if the framework allows for it, and show it here"
            )
        }
        _ => format!("add a column {column}, if the framework allows for it"),
    }
}

fn clock(patient: Patient<'_>) -> Option<Finding> {
    if dialect(patient) == Dialect::Sqlite {
        return None;
    }
    let apart = patient.clocks.ahead().abs();
    let summary = patient.clocks.said("the server");
    let fix = "keep both machines' clocks by NTP";
    Some(match apart {
        CLOCK_FAIL.. => fail("clock", summary, fix),
        CLOCK_WARN.. => warn("clock", summary, fix),
        _ => pass("clock", summary),
    })
}

fn journal(audit: &ServerInfo) -> Option<Finding> {
    let journal = audit.journal.as_deref()?;
    Some(if journal == "wal" {
        pass("journal", "write-ahead log: a look keeps nobody from writing")
    } else {
        let fix = "PRAGMA journal_mode = WAL;  -- once, in the application";
        warn(
            "journal",
            format!("journal mode `{journal}`: the application cannot write while a look reads"),
            fix,
        )
    })
}

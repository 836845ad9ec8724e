//! The SQL of observation, for both dialects: every query reads, selects no token, and returns text or integers.
//!
//! The token column appears only inside a fingerprint, a token prefix, a length, a grouping or a NULL test.

mod addresses;
mod besides;
mod check_query;
mod comparing;
mod dependents;
mod listing;
mod mutations;
mod paging;
mod restore;
mod selection;
mod timestamps;
mod users;

pub use addresses::{Among, OrphanSearch, RowAddressing};
pub use comparing::Compared;
pub use listing::{After, List, Sort, Status};
pub use mutations::{Addressing, Change, Mutation, Named, ReadRows, RowVersion};
pub use restore::Obstacle;
pub use selection::{Chosen, Filter, RowName};

use sessionwatch_core::{
    instant::{HOUR, Instant},
    token,
};

use self::timestamps::InstantSql;
pub use timestamps::stored_timestamp;

use crate::profile::{
    mapping::{InstantColumn, Mapping, TableName, UsersMapping},
    schema::{Column, ColumnKind, Dialect, Equality, Schema, TableKind},
};

/// Characters of the longest token prefix.
pub const PREFIX_LENGTH: usize = token::LONGEST_PREFIX;
/// Characters of a name or a user agent that people are shown.
const SHOWN_LENGTH: usize = 200;
/// What the queries of one look refer to.
#[derive(Clone, Debug)]
pub struct Sql<'a> {
    /// How the target stores sessions.
    pub mapping: &'a Mapping,
    /// The schema as found.
    pub schema: &'a Schema,
    /// The key of the fingerprints.
    pub key: i64,
    /// The instant of the look.
    pub now: Instant,
    /// The longest lifetime the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than that may stand out.
    pub notable_above: u64,
    /// Distrust indexes and constraints: read the rows.
    pub deep: bool,
    /// For a person to paste elsewhere: by the clock of the database, and without functions of this program.
    pub pasted: bool,
}

/// What the rows of a list have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Nothing: those that are named.
    Any,
    /// Their tokens occur more than once.
    Duplicates,
    /// Their users do not exist.
    Orphans,
    /// They have expired, oldest first.
    OldestExpired,
    /// They end too late or never: without an end first, then the latest.
    BeyondPolicy,
}

/// A list of rows to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// What they have in common.
    pub kind: RowKind,
    /// Of which rows.
    pub among: Among<'a>,
}

impl Rows<'_> {
    /// Of all rows.
    #[must_use]
    pub const fn all(kind: RowKind) -> Self {
        Self { kind, among: Among::All }
    }
}

/// Quotes an identifier.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string. No database has zero bytes in its text: one becomes the character for what cannot be read.
#[must_use]
pub fn string(dialect: Dialect, text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"));
    if dialect == Dialect::Postgres && text.contains('\\') {
        format!("E{}", quoted.replace('\\', "\\\\"))
    } else {
        quoted
    }
}

/// Quotes a table with its schema.
#[must_use]
pub fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", identifier(schema), identifier(&name.name)),
        None => identifier(&name.name),
    }
}

/// Whether a table has a row: 1 or 0.
pub(super) fn has_rows(name: &TableName) -> String {
    format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", table(name))
}

/// How many tokens some rows have, and how many of those are JWTs: no token leaves the database for that.
#[must_use]
pub fn token_shapes(dialect: Dialect, mapping: &Mapping, limit: usize) -> String {
    let token = identifier(&mapping.token);
    let text = match dialect {
        Dialect::Postgres => format!("{token}::text"),
        Dialect::Sqlite => format!("CAST({token} AS text)"),
    };
    format!(
        "SELECT COUNT(t), COUNT(CASE WHEN substr(t, 1, 3) = 'eyJ' AND replace(t, '.', '') <> t THEN 1 END)\n\
         FROM (SELECT {text} AS t FROM {} LIMIT {limit}) AS sample",
        table(&mapping.sessions)
    )
}

/// A query as it may be logged: without the values in quotes, which a person may have typed.
#[must_use]
pub fn without_values(query: &str) -> String {
    let (mut logged, mut rest) = (String::with_capacity(query.len()), query);
    while let Some(at) = rest.find(['\'', '"']) {
        let is_name = rest.as_bytes()[at] == b'"';
        // In `E'…'` a backslash keeps a quote from closing.
        let escapes = !is_name && rest[..at].ends_with(['E', 'e']);
        let inner = &rest[at + 1..];
        let end = closing(inner, if is_name { b'"' } else { b'\'' }, escapes);
        logged.push_str(&rest[..=at]);
        logged.push_str(if is_name { &inner[..end] } else { "…" });
        logged.extend(inner[end..].chars().next());
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    logged + rest
}

/// Where a quote closes; two of them stand for one.
fn closing(text: &str, quote: u8, escapes: bool) -> usize {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' if escapes => 2,
            byte if *byte != quote => 1,
            _ if bytes.get(at + 1) == Some(&quote) => 2,
            _ => return at,
        };
    }
    bytes.len()
}

impl<'a> Sql<'a> {
    /// The table of users, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_users(&self) -> Option<&'a TableName> {
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table).is_some_and(|found| found.rows_hidden).then_some(&users.table)
    }

    /// The table of sessions, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions(&self) -> Option<&'a TableName> {
        let sessions = &self.mapping.sessions;
        self.schema.table(sessions).is_some_and(|found| found.rows_hidden).then_some(sessions)
    }

    /// For values of some rows, without fingerprints or thresholds.
    pub(super) fn sampling(mapping: &'a Mapping, schema: &'a Schema, now: Instant) -> Self {
        let (key, max_lifetime_us, notable_above) = (0, None, 0);
        Self { mapping, schema, key, now, max_lifetime_us, notable_above, deep: false, pasted: false }
    }
}

impl Sql<'_> {
    fn dialect(&self) -> Dialect {
        self.schema.dialect
    }

    fn kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.schema.kind(table, column)
    }

    fn column(&self, name: &str) -> String {
        format!("s.{}", identifier(name))
    }

    /// `FROM` the sessions, under the alias `s`: without rows that the application has marked as deleted.
    fn sessions(&self) -> String {
        let hint = if self.deep && self.dialect() == Dialect::Sqlite { " NOT INDEXED" } else { "" };
        // A condition of a join with one row: it holds wherever the sessions are read, and the planner takes the join away.
        let live = self.live().map_or(String::new(), |live| format!(" JOIN (SELECT 1) AS live ON {live}"));
        format!("{} AS s{hint}{live}", table(&self.mapping.sessions))
    }

    /// The column that names who acts for the user of a session.
    fn impersonator(&self) -> Option<String> {
        self.mapping.impersonator.as_deref().map(|column| self.column(column))
    }

    /// The condition that the user created a session in the last hour; nothing where creation is not stored.
    fn created_lately(&self) -> Option<String> {
        let lately = self.instant(self.mapping.created.as_ref()?).after(self.now.plus(-HOUR));
        Some(match self.impersonator() {
            Some(impersonator) => format!("{lately} AND {impersonator} IS NULL"),
            None => lately,
        })
    }

    /// Who acts for users in active sessions that began more than an hour ago: who, how many, and microseconds of the
    /// earliest creation; nothing where no column says so.
    #[must_use]
    pub fn impersonations(&self, limit: usize) -> Option<String> {
        let who = self.text(&self.impersonator()?);
        let expiry = self.instant(&self.mapping.expires);
        let (since, begun) = match &self.mapping.created {
            Some(created) => {
                let created = self.instant(created);
                let since = created.micros(&format!("MIN({})", created.value));
                (since, format!(" AND NOT ({})", created.after(self.now.plus(-HOUR))))
            }
            None => ("NULL".into(), String::new()),
        };
        Some(format!(
            "SELECT {who}, COUNT(*), {since}\nFROM {}\nWHERE {who} IS NOT NULL AND {}{begun}\nGROUP BY {who} ORDER BY 2 DESC, 1 LIMIT {limit}",
            self.sessions(),
            expiry.active(self.now)
        ))
    }

    /// The condition that the application has not marked a row as deleted; nothing where it removes rows.
    fn live(&self) -> Option<String> {
        let deleted = self.mapping.deleted.as_deref()?;
        let declared = self.schema.table(&self.mapping.sessions)?.column(deleted)?;
        let column = self.column(deleted);
        // Zero and nothing mark no row as deleted, whatever the type is.
        Some(match (self.dialect(), declared.kind) {
            (Dialect::Sqlite, _) => format!("COALESCE({column}, 0) IN (0, '')"),
            _ if declared.is_boolean() => format!("{column} IS NOT TRUE"),
            (_, ColumnKind::Integer) => format!("COALESCE({column}, 0) = 0"),
            (_, ColumnKind::Text) => format!("COALESCE({column}, '') = ''"),
            _ => format!("{column} IS NULL"),
        })
    }

    fn equality(&self, table: &TableName, column: &str) -> Equality {
        self.schema.table(table).map_or(Equality::Exact, |table| table.equality(column))
    }

    /// An expression of values that are equal exactly if those of the column are equal to the application.
    fn folded(&self, expression: &str, equality: Equality) -> String {
        match (self.dialect(), equality) {
            (Dialect::Postgres, Equality::CaseBlind) => {
                format!("pg_catalog.lower(CAST({expression} AS text) COLLATE pg_catalog.\"default\")")
            }
            (Dialect::Sqlite, Equality::CaseBlind) => format!("lower({expression})"),
            (_, Equality::SpaceBlind) => format!("rtrim({expression}, ' ')"),
            (_, Equality::Text) => self.text(expression),
            (_, Equality::Exact | Equality::Collation) => expression.to_owned(),
        }
    }

    /// What stands for the token in a hash or a group: equal where tokens are equal to the application.
    fn token(&self) -> String {
        let equality = self.equality(&self.mapping.sessions, &self.mapping.token);
        if [Equality::CaseBlind, Equality::SpaceBlind].contains(&equality) {
            self.folded(&self.column(&self.mapping.token), equality)
        } else {
            self.token_text()
        }
    }

    /// The token as text, for use inside a hash, a prefix or a length only.
    fn token_text(&self) -> String {
        let column = self.column(&self.mapping.token);
        match (self.dialect(), self.kind(&self.mapping.sessions, &self.mapping.token)) {
            (Dialect::Sqlite, _) => column,
            (Dialect::Postgres, ColumnKind::Bytes) => format!("pg_catalog.encode({column}, 'hex')"),
            (Dialect::Postgres, _) => format!("{column}::text"),
        }
    }

    /// The keyed 64-bit hash of the token.
    fn fingerprint(&self) -> String {
        match self.dialect() {
            Dialect::Postgres => format!("pg_catalog.hashtextextended({}, {})", self.token(), self.key),
            Dialect::Sqlite => format!("sw_fingerprint({})", self.token()),
        }
    }

    /// The token prefix: of a short token, no more than a third.
    fn prefix(&self) -> String {
        let (value, parts) = (self.distinct_token_text(), token::PARTS);
        match self.dialect() {
            Dialect::Postgres => format!(
                "pg_catalog.left({value}, LEAST({PREFIX_LENGTH}, pg_catalog.int4div(pg_catalog.length({value}), {parts})))"
            ),
            Dialect::Sqlite if self.pasted => {
                format!("substr({value}, 1, MIN({PREFIX_LENGTH}, length({value}) / {parts}))")
            }
            Dialect::Sqlite => format!("sw_prefix({value})"),
        }
    }

    /// The lengths of so many tokens.
    #[must_use]
    pub fn token_lengths(&self, limit: usize) -> String {
        let (value, sessions) = (self.token_text(), self.sessions());
        let length = if self.dialect() == Dialect::Postgres { "pg_catalog.length" } else { "length" };
        format!("SELECT {length}({value})\nFROM {sessions}\nWHERE {value} IS NOT NULL\nLIMIT {limit}")
    }

    fn text(&self, expression: &str) -> String {
        format!("CAST({expression} AS text)")
    }

    /// What people are shown of a text that users write themselves: no more than [`SHOWN_LENGTH`] characters of it.
    fn shown(&self, expression: &str) -> String {
        format!("substr({}, 1, {SHOWN_LENGTH})", self.text(expression))
    }

    /// The user of a session, NULL where the schema has none.
    fn user(&self) -> String {
        self.mapping.user.as_deref().map_or_else(|| "CAST(NULL AS text)".into(), |user| self.column(user))
    }

    /// Whether users are integers.
    #[must_use]
    pub fn has_integer_user(&self) -> bool {
        let user = self.mapping.user.as_deref();
        user.is_some_and(|user| self.kind(&self.mapping.sessions, user) == ColumnKind::Integer)
    }

    /// What stands for the user of a session where users are grouped or counted: equal where they are equal to the
    /// application.
    fn user_key(&self) -> String {
        match &self.mapping.user {
            Some(user) => self.folded(&self.column(user), self.equality(&self.mapping.sessions, user)),
            None => self.user(),
        }
    }

    /// Whether different texts may be one user on PostgreSQL: under a collation, or as values such as 1 and 1.00.
    fn collated_user(&self) -> bool {
        let table = self.schema.table(&self.mapping.sessions);
        let user = self.mapping.user.as_deref().and_then(|user| table?.column(user));
        let is_one = |column: &Column| column.equality == Equality::Collation || column.has_many_texts;
        self.dialect() == Dialect::Postgres && user.is_some_and(is_one)
    }

    fn instant(&self, column: &InstantColumn) -> InstantSql {
        let kind = self.kind(&self.mapping.sessions, &column.column);
        let value = self.column(&column.column);
        let clock = self.pasted.then_some(self.now);
        InstantSql::new((self.dialect(), clock), column.decoder, (&value, kind))
    }

    /// What a scan selects: fingerprint, user, expiry, creation (where there is one), orphan (where a join looks for it), and
    /// the columns of the address. Instants come as stored.
    #[must_use]
    pub fn scan(&self) -> String {
        let mapping = self.mapping;
        let user = match (self.dialect(), &mapping.user) {
            (Dialect::Postgres, Some(user)) => match self.kind(&mapping.sessions, user) {
                ColumnKind::Integer => self.column(user),
                // Of texts that are equal, one stands for all.
                _ if self.collated_user() => format!(
                    "pg_catalog.min(CAST({0} AS text) COLLATE \"C\") OVER (PARTITION BY {0})",
                    self.column(user)
                ),
                _ => self.text(&self.user_key()),
            },
            _ => self.text(&self.user_key()),
        };
        let mut columns = vec![self.fingerprint(), user, self.stored(&mapping.expires)];
        columns.extend(mapping.created.as_ref().map(|created| match self.impersonator() {
            // Nobody but the user creates sessions of the user.
            Some(impersonator) => {
                format!("CASE WHEN {impersonator} IS NULL THEN {} END", self.stored(created))
            }
            None => self.stored(created),
        }));
        let (join, orphan) = self.orphan_join();
        columns.extend(orphan);
        columns.extend(self.address_columns());
        format!("SELECT {}\nFROM {}{join}", columns.join(", "), self.sessions())
    }

    fn stored(&self, column: &InstantColumn) -> String {
        let value = self.column(&column.column);
        match (self.dialect(), self.kind(&self.mapping.sessions, &column.column)) {
            (Dialect::Sqlite, _)
            | (_, ColumnKind::Timestamptz | ColumnKind::Timestamp | ColumnKind::Integer) => value,
            (Dialect::Postgres, _) => format!("{value}::text"),
        }
    }

    /// Whether orphans must be looked for in the rows: there are users, and nothing proves that all exist. Where the role
    /// does not see every user, a user who is not seen may exist, so no row can be told to be an orphan.
    #[must_use]
    pub fn looks_for_orphans(&self) -> bool {
        let known =
            self.mapping.user.is_some() && self.mapping.users.is_some() && self.users_doubt().is_none();
        known && self.orphan_proof().is_none()
    }

    /// Why users may be missing from what can be read of them, although they exist.
    #[must_use]
    pub fn users_doubt(&self) -> Option<String> {
        if let Some(users) = self.hidden_users() {
            return Some(format!(
                "row-level security hides rows of {} from this role; `sessionwatch grants` prints a policy that shows them",
                table(users)
            ));
        }
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table)?.doubt.clone()
    }

    /// The foreign key that forbids orphans: validated, enabled, and for every row of both tables.
    #[must_use]
    pub fn orphan_proof(&self) -> Option<&str> {
        let users = self.mapping.users.as_ref()?;
        let sessions = self.schema.table(&self.mapping.sessions)?;
        let key = sessions.foreign_key_on(self.mapping.user.as_deref()?)?;
        let whole =
            self.schema.table(&users.table).is_some_and(|table| !table.inherited && !table.subscribed);
        let refers = key.target_table == users.table.name
            && key.target_columns.iter().eq([&users.key])
            && (users.table.schema.is_none() || key.target_schema == users.table.schema);
        // SQLite checks foreign keys only where the application asked for it, so one proves nothing there.
        let proves = refers && whole && sessions.is_proved_by(key);
        (proves && !self.deep && self.dialect() == Dialect::Postgres).then_some(key.name.as_str())
    }

    /// The unique index that forbids duplicates.
    #[must_use]
    pub fn duplicate_proof(&self) -> Option<&str> {
        let sessions = self.schema.table(&self.mapping.sessions)?;
        if self.deep { None } else { sessions.unique_on(&self.mapping.token) }
    }

    /// Whether tokens are compared in a way that is not known here: by a collation that the application makes.
    #[must_use]
    pub fn compares_tokens_unknown(&self) -> bool {
        let equality = self.equality(&self.mapping.sessions, &self.mapping.token);
        self.dialect() == Dialect::Sqlite && equality == Equality::Collation
    }

    fn orphan_join(&self) -> (String, Option<String>) {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) if self.orphan_search() == OrphanSearch::Join => {
                let user = self.column(user);
                let join = self.users_join(users, &user);
                let orphan = format!("({user} IS NOT NULL AND u.k IS NULL)");
                (join, Some(orphan))
            }
            _ => (String::new(), None),
        }
    }

    /// Joins each row to at most one user, whose key is `u.k`.
    fn users_join(&self, users: &UsersMapping, user: &str) -> String {
        let link = self.link(users);
        let distinct = if self.has_one_user_each(users) { "" } else { "DISTINCT " };
        let key = self.folded(&identifier(&users.key), link);
        let source = format!("(SELECT {distinct}{key} AS k FROM {})", table(&users.table));
        let (key, user) = self.comparable(users, ("u.k".into(), self.folded(user, link)));
        format!("\nLEFT JOIN {source} AS u ON {key} = {user}")
    }

    /// Whether no two users have keys that are equal to what a session holds.
    fn has_one_user_each(&self, users: &UsersMapping) -> bool {
        let found = self.schema.table(&users.table);
        let same = self.link(users) == self.equality(&users.table, &users.key);
        same && found.is_some_and(|table| table.unique_on(&users.key).is_some())
    }

    /// The users as `w`, one for each key: a session with two of them would be listed twice.
    fn named_users(&self, users: &UsersMapping) -> String {
        // Of a view it is not known, and to group it costs more than a line that comes twice.
        let is_view = self.schema.table(&users.table).is_some_and(|found| found.kind == TableKind::View);
        let table = table(&users.table);
        if is_view || self.has_one_user_each(users) {
            return format!("{table} AS w");
        }
        let key = self.folded(&identifier(&users.key), self.link(users));
        let columns = users.display.iter().filter(|column| **column != users.key);
        let columns: String = columns
            .map(|column| identifier(column))
            .map(|column| format!(", MIN({}) AS {column}", self.text(&column)))
            .collect();
        format!("(SELECT {key} AS {}{columns} FROM {table} GROUP BY {key}) AS w", identifier(&users.key))
    }

    /// How users are found by what a session holds: as either column compares, whichever makes more values equal.
    fn link(&self, users: &UsersMapping) -> Equality {
        let user = self.mapping.user.as_ref().map(|user| self.equality(&self.mapping.sessions, user));
        let both = [self.equality(&users.table, &users.key), user.unwrap_or_default()];
        let wider = [Equality::CaseBlind, Equality::SpaceBlind, Equality::Text];
        wider.into_iter().find(|equality| both.contains(equality)).unwrap_or(both[0])
    }

    /// Whether the column of the session and the key of the users are of one kind, so that an index can join them.
    fn keyed_alike(&self, users: &UsersMapping) -> bool {
        let column =
            |table: &TableName, name: &str| -> Option<&Column> { self.schema.table(table)?.column(name) };
        let user = self.mapping.user.as_ref().and_then(|user| column(&self.mapping.sessions, user));
        let (Some(user), Some(key)) = (user, column(&users.table, &users.key)) else { return false };
        user.kind == key.kind && (user.kind != ColumnKind::Other || user.declared == key.declared)
    }

    /// Whether one of the key and the user is padded with spaces (`character(n)`), and the other is not: they are compared
    /// without those spaces, as whose texts they differ.
    fn mixes_padding(&self, users: &UsersMapping) -> bool {
        let is_padded = |table: &TableName, name: &str| {
            self.schema
                .table(table)
                .and_then(|table| table.column(name))
                .is_some_and(|column| column.is_padded)
        };
        let user = self.mapping.user.as_ref();
        user.is_some_and(|user| {
            is_padded(&self.mapping.sessions, user) != is_padded(&users.table, &users.key)
        })
    }

    /// Both sides of a comparison of a key and a user, as text where they could not be compared otherwise.
    fn comparable(&self, users: &UsersMapping, (key, user): (String, String)) -> (String, String) {
        let folded = ![Equality::Exact, Equality::Collation].contains(&self.link(users));
        if folded || self.keyed_alike(users) || self.dialect() == Dialect::Sqlite {
            (key, user)
        } else {
            (self.text(&key), self.text(&user))
        }
    }

    /// Both sides of the join of `w`, the users, with the user of a session.
    fn user_pair(&self, users: &UsersMapping) -> (String, String) {
        let link = self.link(users);
        let key = self.folded(&format!("w.{}", identifier(&users.key)), link);
        self.comparable(users, (key, self.folded(&self.user(), link)))
    }

    /// One row: sessions, active, expired, never expiring, undecodable, anonymous, active with user, oldest expired,
    /// furthest expiry, beyond policy, created in the last hour; and, unless it is pasted elsewhere, the latest creation and
    /// the latest end that has passed.
    #[must_use]
    pub fn counts(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let now = self.now;
        let finite = format!("{} AND NOT {}", expiry.active(now), expiry.never());
        let beyond = self.max_lifetime_us.map_or("0".into(), |policy| {
            format!("COUNT(*) FILTER (WHERE {})", expiry.beyond(now.plus(policy)))
        });
        let recent = self.created_lately();
        let recent = recent.map_or("0".into(), |recent| format!("COUNT(*) FILTER (WHERE {recent})"));
        let counts = format!(
            "SELECT COUNT(*),\n  COUNT(*) FILTER (WHERE {active}),\n  COUNT(*) FILTER (WHERE {expired}),\n  \
             COUNT(*) FILTER (WHERE {never}),\n  COUNT(*) FILTER (WHERE {undecodable}),\n  \
             COUNT(*) FILTER (WHERE {user} IS NULL),\n  COUNT(*) FILTER (WHERE {active} AND {user} IS NOT NULL),\n  \
             {oldest},\n  {furthest},\n  {beyond},\n  {recent}{newest}\nFROM {sessions}",
            newest =
                if self.pasted { String::new() } else { format!(",\n  {}", self.newest().join(",\n  ")) },
            active = expiry.active(now),
            expired = expiry.expired(now),
            never = expiry.never(),
            undecodable = expiry.undecodable(),
            user = self.user(),
            oldest = expiry.micros(&format!("MIN({}) FILTER (WHERE {})", expiry.value, expiry.expired(now))),
            furthest = expiry.micros(&format!("MAX({}) FILTER (WHERE {finite})", expiry.value)),
            sessions = self.sessions(),
        );
        self.decoded_once(counts)
    }

    /// A query over the sessions in which instants that have to be worked out, such as texts, are worked out once a row.
    fn decoded_once(&self, query: String) -> String {
        let created = self.mapping.created.as_ref().map(|created| self.instant(created));
        let expiry = self.instant(&self.mapping.expires);
        let is_native = expiry.is_native() && created.as_ref().is_none_or(InstantSql::is_native);
        if self.pasted || is_native || self.dialect() == Dialect::Sqlite {
            return query;
        }
        let mut columns: Vec<String> = self.mapping.user.iter().map(|user| self.column(user)).collect();
        columns.extend(self.impersonator());
        let (mut query, sessions) = (query, self.sessions());
        for (instant, name) in
            [Some((&expiry, "sw_ends")), created.as_ref().map(|created| (created, "sw_began"))]
                .into_iter()
                .flatten()
        {
            query = query.replace(&instant.value, &format!("s.{name}"));
            columns.push(format!("{} AS {name}", instant.value));
        }
        let decoded = format!("(SELECT {} FROM {sessions} OFFSET 0) AS s", columns.join(", "));
        query.replace(&format!("FROM {sessions}"), &format!("FROM {decoded}"))
    }

    /// The fingerprints of tokens that may stand on several rows, in their order as signed numbers.
    #[must_use]
    pub fn repeated_fingerprints(&self, limit: usize) -> String {
        // Numbers are sorted quickly, and the groups come in their order.
        let sorted = if self.dialect() == Dialect::Postgres { " ORDER BY 1 OFFSET 0" } else { "" };
        format!(
            "SELECT h\nFROM (SELECT {} AS h FROM {} WHERE {} IS NOT NULL{sorted}) AS hashed\nGROUP BY h HAVING COUNT(*) > 1\nORDER BY h\nLIMIT {limit}",
            self.fingerprint(),
            self.sessions(),
            self.token(),
        )
    }

    /// One row: tokens on several rows, those over several users, and, among suspects, the rows that were found.
    #[must_use]
    pub fn duplicates(&self, among: Among<'_>) -> String {
        let user = self.user_key();
        let having = if let Among::Suspects(..) = among { "" } else { "\n  HAVING COUNT(*) > 1" };
        format!(
            "SELECT COUNT(CASE WHEN d.n > 1 THEN 1 END), COUNT(CASE WHEN d.n > 1 AND d.users > 1 THEN 1 END), CAST(COALESCE(SUM(d.n), 0) AS bigint)\nFROM (\n  \
             SELECT COUNT(*) AS n, COUNT(DISTINCT {user}) + MAX(CASE WHEN {user} IS NULL THEN 1 ELSE 0 END) AS users\n  \
             FROM {sessions}\n  WHERE {token} IS NOT NULL{among}\n  GROUP BY {token}{having}\n) AS d",
            sessions = self.sessions(),
            token = self.token(),
            among = self.and_among(among),
        )
    }

    /// Some values of a column of instants as stored: the type that the value has, and the value as text.
    #[must_use]
    pub fn sample(&self, column: &str, limit: usize) -> String {
        let value = self.column(column);
        let kind = match self.dialect() {
            Dialect::Sqlite => format!("typeof({value})"),
            Dialect::Postgres if self.kind(&self.mapping.sessions, column) == ColumnKind::Integer => {
                "'integer'".into()
            }
            Dialect::Postgres => "'text'".into(),
        };
        format!("SELECT {kind}, {}\nFROM {}\nLIMIT {limit}", self.text(&value), self.sessions())
    }

    /// Rows of evidence: token prefix, row id, user, expiry in microseconds, number of rows, then the display columns.
    #[must_use]
    pub fn rows(&self, rows: Rows<'_>, limit: usize) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let user = self.user();
        let (display, users) = self.display();
        let condition = format!("{}{}", self.kind_condition(rows, &expiry), self.and_among(rows.among));
        let by_address = self.address_order();
        let order = match rows.kind {
            RowKind::Any => format!("3, {by_address}"),
            // Rows of one token stand together.
            RowKind::Duplicates if self.pasted => format!("{}, 3, 2", self.token()),
            RowKind::Duplicates => format!("{}, 3, {by_address}", self.fingerprint()),
            RowKind::Orphans if self.pasted => "4, 3, 2".into(),
            RowKind::Orphans => format!("{}, {by_address}", expiry.place()),
            RowKind::OldestExpired => format!("{}, {by_address}", expiry.value),
            RowKind::BeyondPolicy if self.pasted => format!("{} DESC, 2", expiry.value),
            RowKind::BeyondPolicy => format!("{} DESC, {by_address}", expiry.place()),
        };
        format!(
            "SELECT {prefix} AS token_prefix,\n  {id} AS id,\n  {user} AS user_id,\n  {end},\n  1 AS session_rows{display}\nFROM {sessions}{users}\nWHERE {condition}\nORDER BY {order}\nLIMIT {limit}",
            prefix = self.prefix(),
            id = self.id_text(),
            user = self.text(&user),
            end = self.end(&expiry),
            sessions = self.sessions(),
        )
    }

    fn kind_condition(&self, rows: Rows<'_>, expiry: &InstantSql) -> String {
        match rows.kind {
            RowKind::Any => "1 = 1".into(),
            RowKind::Duplicates => format!(
                "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL{among} GROUP BY {token} HAVING COUNT(*) > 1)",
                token = self.token(),
                sessions = self.sessions(),
                among = self.and_among(rows.among),
            ),
            RowKind::Orphans => self.orphan_condition(),
            RowKind::OldestExpired => expiry.expired(self.now),
            RowKind::BeyondPolicy => {
                let late = self
                    .max_lifetime_us
                    .map_or("1 = 0".into(), |policy| expiry.beyond(self.now.plus(policy)));
                format!("({late} OR {})", expiry.never())
            }
        }
    }

    /// The columns that name a user, and the join to them.
    fn display(&self) -> (String, String) {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                let shown = users
                    .display
                    .iter()
                    .map(|column| format!(", {}", self.shown(&format!("w.{}", identifier(column)))));
                let (key, user) = match self.dialect() {
                    Dialect::Sqlite if !self.keyed_alike(users) => {
                        (self.text(&format!("w.{}", identifier(&users.key))), self.text(&self.column(user)))
                    }
                    _ => self.user_pair(users),
                };
                (shown.collect(), format!("\nLEFT JOIN {} ON {key} = {user}", self.named_users(users)))
            }
            _ => (String::new(), String::new()),
        }
    }

    fn orphan_condition(&self) -> String {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                format!("{} IS NOT NULL AND w.{} IS NULL", self.column(user), identifier(&users.key))
            }
            _ => "1 = 0".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_query_has_no_values_in_quotes() {
        for (query, logged) in [
            ("SELECT 1", "SELECT 1"),
            (
                r#"SELECT "it's" FROM "a""b" WHERE x = 'it''s' AND y = 7"#,
                r#"SELECT "it's" FROM "a""b" WHERE x = '…' AND y = 7"#,
            ),
            (r"x = E'a\\'' b\' c' AND y = 'z\'", r"x = E'…' AND y = '…'"),
            ("x = 'é' OR y = 'open", "x = '…' OR y = '…"),
        ] {
            assert_eq!(without_values(query), logged);
        }
    }
}

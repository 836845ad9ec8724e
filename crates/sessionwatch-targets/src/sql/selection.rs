//! The SQL of planning: which rows an action would touch, named without their tokens.

use sessionwatch_core::instant::Instant;

use super::{Addressing, Sql, dialect::HashedColumns, identifier, table};
use crate::{
    mapping::{Revoke, UsersMapping},
    side_effects::Reference,
    sql::tables::ColumnKind,
};

/// Sessions that refer to each other, followed behind each other.
const GENERATIONS: u32 = 32;

/// Conditions on sessions that a person names; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this user.
    pub user: Option<String>,
    /// Whose id, name or handle contains this, in upper or lower case.
    pub user_like: Option<String>,
    /// Created after that instant, in microseconds.
    pub created_after: Option<i64>,
    /// Created before that instant.
    pub created_before: Option<i64>,
    /// That end after that instant.
    pub expires_after: Option<i64>,
    /// That end before that instant.
    pub expires_before: Option<i64>,
    /// From this address.
    pub ip: Option<String>,
    /// Whose user agent contains this.
    pub agent_like: Option<String>,
    /// In which somebody else acts for the user.
    pub impersonated: bool,
}

/// What an action is about.
#[derive(Clone, Copy, Debug)]
pub enum Chosen<'a> {
    /// Rows that ended before that instant.
    Expired(Instant),
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows on tokens that occur more than once: all, where several users share the token; all but the newest, where it is
    /// one user's.
    Duplicates,
    /// Active rows of users who hold more than so many, beyond that number; those that end last are kept.
    Excess(u64),
    /// Rows of one user.
    User(&'a str),
    /// Rows of some users.
    Users(&'a [String]),
    /// The row of that id, or on tokens that begin so.
    Named(&'a str),
    /// Every row.
    All,
    /// Rows that fit.
    Where(&'a Filter),
    /// Those rows, and the sessions that the database deletes with them because they refer to them.
    Along(&'a Chosen<'a>, &'a [Reference]),
}

/// Rows that an action is about.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// What they have in common.
    pub chosen: Chosen<'a>,
    /// How they are ended: what has ended so already is left out.
    pub revoke: &'a Revoke,
    /// What is unique to each of them.
    pub addressing: Addressing,
}

/// Columns that together are unique to a row inside one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName(Vec<String>);

impl RowName {
    /// `(a, b)`, or `a` alone.
    fn tuple(&self) -> String {
        if let [one] = self.0.as_slice() { one.clone() } else { format!("({})", self.0.join(", ")) }
    }

    /// `a AS n0, b AS n1`
    fn selected(&self) -> String {
        let names = self.0.iter().enumerate().map(|(at, column)| format!("{column} AS n{at}"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// `r.n0, r.n1`
    fn outer(&self) -> String {
        self.inner("r")
    }

    /// `t.n0, t.n1`
    fn inner(&self, table: &str) -> String {
        (0..self.0.len()).map(|at| format!("{table}.n{at}")).collect::<Vec<_>>().join(", ")
    }

    /// `a = t.n0 AND b = t.n1`
    fn equals(&self, table: &str) -> String {
        let parts = self.0.iter().enumerate().map(|(at, column)| format!("{column} = {table}.n{at}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// `a DESC, b DESC`
    fn descending(&self) -> String {
        self.0.iter().map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ")
    }
}

impl Sql<'_> {
    /// What every row has and no two share, inside one query; `None` if the table has nothing like that.
    #[must_use]
    pub fn row_name(&self, addressing: Addressing) -> Option<RowName> {
        let places = |several_heaps| {
            let columns = self.dialect().place_columns(several_heaps).iter();
            Some(RowName(columns.map(|&column| column.to_owned()).collect()))
        };
        match addressing {
            Addressing::Place => places(false),
            Addressing::HeapAndPlace => places(true),
            // Rows without an id would be left out unseen.
            Addressing::Id => self.naming().map(|id| RowName(vec![self.column(id)])),
        }
    }

    /// Whether no two rows have the same value there.
    #[must_use]
    pub fn is_unique(&self, column: &str) -> bool {
        self.schema.table(&self.mapping.sessions).is_some_and(|table| table.unique_on(column).is_some())
    }

    /// The row id, if every row has one, and no two have the same.
    pub(super) fn naming(&self) -> Option<&str> {
        let id = self.mapping.id.as_deref().filter(|id| self.is_unique(id))?;
        let column = self.schema.table(&self.mapping.sessions)?.column(id)?;
        (!column.nullable).then_some(id)
    }

    /// A hash, under the key of this look, of what must not have changed when a plan is carried out: id, token, user and
    /// expiry.
    #[must_use]
    pub fn mark(&self) -> String {
        let named = [self.mapping.id.as_deref(), self.mapping.user.as_deref()];
        let columns = named.map(|column| column.map(|column| self.column(column)));
        let [id, user] = columns.map(|column| column.unwrap_or_else(|| "NULL".into()));
        let (token, expires) = (self.column(&self.mapping.token), self.column(&self.mapping.expires.column));
        let kind = self.kind(&self.mapping.sessions, &self.mapping.expires.column);
        let expires_in_zone = kind == ColumnKind::Timestamptz;
        self.dialect().mark(HashedColumns { id, token, user, expires, expires_in_zone }, self.key)
    }

    /// The rows that an action would touch: locator (place, or else heap), version, id, mark, prefix, user, end in
    /// microseconds, whether it is active, fingerprint of the token.
    #[must_use]
    pub fn planned(&self, chosen: Chosen<'_>, revoke: &Revoke, addressing: Addressing) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let [locator, version] = self.dialect().planned_version(addressing);
        let id =
            self.mapping.id.as_deref().map_or("CAST(NULL AS text)".into(), |id| self.text(&self.column(id)));
        let place = match addressing {
            Addressing::Place => Some(self.dialect().place_columns(false).join(", ")),
            Addressing::HeapAndPlace => Some(self.dialect().place_columns(true).join(", ")),
            Addressing::Id => None,
        };
        let (before, gone, condition, first) = match (chosen, self.row_name(addressing)) {
            (Chosen::Along(&roots, references), Some(name)) => (
                format!(
                    "WITH RECURSIVE {goes}, gone AS (SELECT {names}, MAX(goes.depth) AS depth FROM goes GROUP BY {names})\n",
                    goes = self.goes(Selected { chosen: roots, revoke, addressing }, references, &name),
                    names = name.inner("goes"),
                ),
                ", gone",
                name.equals("gone"),
                // What refers to a row goes before it, so that nothing goes with it unseen.
                Some("gone.depth DESC"),
            ),
            _ => (String::new(), "", self.chosen(chosen, revoke, addressing), None),
        };
        // Rows that lie together are removed together.
        let order: Vec<&str> = first.into_iter().chain(place.as_deref()).collect();
        let order = if order.is_empty() { String::new() } else { format!("\nORDER BY {}", order.join(", ")) };
        format!(
            "{before}SELECT {locator}, {version}, {id}, {mark}, {prefix}, {user}, {end}, CASE WHEN {active} THEN 1 ELSE 0 END, {fingerprint}\nFROM {sessions}{gone}\nWHERE {condition}{order}",
            fingerprint = self.fingerprint(),
            mark = self.mark(),
            prefix = self.prefix(),
            user = self.text(&self.user()),
            end = expiry.micros(&expiry.value),
            active = expiry.active(self.now),
            sessions = self.sessions(),
        )
    }

    /// How many rows an action would touch now.
    #[must_use]
    pub fn counted(&self, chosen: Chosen<'_>, revoke: &Revoke, addressing: Addressing) -> String {
        format!(
            "SELECT COUNT(*)\nFROM {}\nWHERE {}",
            self.sessions(),
            self.chosen(chosen, revoke, addressing)
        )
    }

    /// One row: active sessions, all, those whose end cannot be read or is before that instant, those whose end is text that
    /// names no zone, and microseconds of the latest creation and of the latest end that has passed.
    #[must_use]
    pub fn totals(&self, long_ago: Instant) -> String {
        let expiry = self.instant(&self.mapping.expires);
        format!(
            "SELECT {}, COUNT(*), {}, {}, {}\nFROM {}",
            self.count_where(&expiry.active(self.now)),
            self.count_where(&format!("{} OR {}", expiry.undecodable(), expiry.expired(long_ago))),
            self.count_where(&self.end_is_naive()),
            self.newest().join(", "),
            self.sessions()
        )
    }

    /// One line if there is a user of that id, whatever ids are made of; nothing where no users are known.
    #[must_use]
    pub fn user_known(&self, id: &str) -> Option<String> {
        let users = self.mapping.users.as_ref()?;
        let equality = self.equality(&users.table, &users.key);
        let key = self.text(&self.folded(&format!("w.{}", identifier(&users.key)), equality));
        let id = self.folded(&self.string(id), equality);
        Some(format!("SELECT 1 FROM {} AS w WHERE {key} = {id} LIMIT 1", table(&users.table)))
    }

    /// Users whose id, name or handle contains a text: id, then the display columns; nothing where no users are known.
    #[must_use]
    pub fn users_like(&self, part: &str, limit: usize) -> Option<String> {
        let users = self.mapping.users.as_ref()?;
        let key = self.text(&format!("w.{}", identifier(&users.key)));
        let named = || users.display.iter().map(|column| format!("w.{}", identifier(column)));
        let shown: String = named().map(|column| format!(", {}", self.shown(&column))).collect();
        let columns = [key.clone()].into_iter().chain(named().map(|column| self.text(&column)));
        let fits: Vec<String> = columns.map(|column| self.contains(&column, part)).collect();
        Some(format!(
            "SELECT {key}{shown}\nFROM {} AS w\nWHERE {}\nORDER BY 1\nLIMIT {limit}",
            table(&users.table),
            fits.join(" OR ")
        ))
    }

    /// One row: the first and the last token prefix of so many sessions, in alphabetical order, and how many sessions those are.
    #[must_use]
    pub fn prefixes(&self, limit: usize) -> String {
        format!(
            "SELECT MIN(p), MAX(p), COUNT(*) FROM (SELECT {} AS p FROM {} WHERE {} IS NOT NULL LIMIT {limit}) AS q",
            self.prefix(),
            self.sessions(),
            self.token_text()
        )
    }

    /// The token as text, without what every token begins with.
    pub(super) fn distinct_token_text(&self) -> String {
        let value = self.token_text();
        match self.mapping.token_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => {
                let (length, prefix) = (prefix.chars().count(), self.string(prefix));
                format!(
                    "CASE WHEN substr({value}, 1, {length}) = {prefix} THEN substr({value}, {}) ELSE {value} END",
                    length + 1
                )
            }
            None => value,
        }
    }

    /// The condition that a row is of that id, or else on a token that begins so.
    fn called(&self, name: &str) -> String {
        let prefix: String = name.chars().take(super::PREFIX_LENGTH).collect();
        let begins = if name.is_empty() || prefix != name {
            "1 = 0".into()
        } else {
            // Upper and lower case differ in tokens.
            let length = prefix.chars().count();
            format!("substr({}, 1, {length}) = {}", self.prefix(), self.string(&prefix))
        };
        match &self.mapping.id {
            Some(id) => {
                let wanted = self.string(name);
                let is =
                    |alias: &str| format!("{} = {wanted}", self.text(&format!("{alias}.{}", identifier(id))));
                format!(
                    "({} OR ({begins} AND NOT EXISTS (SELECT 1 FROM {} AS q WHERE {})))",
                    is("s"),
                    table(&self.mapping.sessions),
                    is("q")
                )
            }
            None => begins,
        }
    }

    pub(super) fn chosen(&self, chosen: Chosen<'_>, revoke: &Revoke, addressing: Addressing) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let condition = match chosen {
            Chosen::Expired(before) => return expiry.expired(before),
            Chosen::Orphaned => return self.orphaned(),
            Chosen::Duplicates => self.doubled(addressing),
            Chosen::Excess(keep) => self.beyond(keep, addressing),
            Chosen::User(id) => self.of_user(id),
            Chosen::Users(ids) => {
                let each: Vec<String> = ids.iter().map(|id| self.of_user(id)).collect();
                if each.is_empty() { "1 = 0".into() } else { format!("({})", each.join(" OR ")) }
            }
            Chosen::Named(name) => self.called(name),
            Chosen::All => "1 = 1".into(),
            Chosen::Where(filter) => self.fits(filter),
            Chosen::Along(&roots, references) => {
                let Some(name) = self.row_name(addressing) else { return "1 = 0".into() };
                let goes = self.goes(Selected { chosen: roots, revoke, addressing }, references, &name);
                let query = format!("WITH RECURSIVE {goes} SELECT {} FROM goes", name.inner("goes"));
                return self.among(&name, &query);
            }
        };
        match revoke {
            Revoke::Delete => condition,
            // What has ended already need not be ended.
            Revoke::Expire => format!("{condition}\n  AND {}", expiry.active(self.now)),
            Revoke::Flag { column, value } => {
                let (column, value) = (self.text(&self.column(column)), self.string(value));
                format!("{condition}\n  AND ({column} IS NULL OR {column} <> {value})")
            }
        }
    }

    /// The table `goes` of the rows of a choice and of what refers to them, in turn: names, what others refer to, and how many
    /// rows away from a chosen one.
    fn goes(&self, roots: Selected<'_>, references: &[Reference], name: &RowName) -> String {
        let (mut keys, mut refers) = (String::new(), vec![]);
        for (turn, reference) in references.iter().enumerate() {
            let mut conditions = vec![];
            let columns = reference.from().1.iter().zip(reference.to().1).zip(&reference.equals);
            for (at, ((from, to), equals)) in columns.enumerate() {
                keys.push_str(&format!("s.{} AS k{turn}_{at}, ", identifier(to)));
                conditions.push(format!("goes.k{turn}_{at} {equals} s.{}", identifier(from)));
            }
            refers.push(conditions.join(" AND "));
        }
        format!(
            "goes AS (SELECT {names}, {keys}0 AS depth FROM {sessions} WHERE {roots}\n\
             UNION ALL SELECT {names}, {keys}goes.depth + 1 FROM goes, {all} AS s\n\
             WHERE goes.depth < {GENERATIONS} AND ({refers}))",
            names = name.selected(),
            sessions = self.sessions(),
            roots = self.chosen(roots.chosen, roots.revoke, roots.addressing),
            all = table(&self.mapping.sessions),
            refers = refers.join(" OR "),
        )
    }

    /// Rows that are evidence of a leak: fingerprint, prefix, id, user, end in microseconds, and whether the user does not exist.
    #[must_use]
    pub fn affected(&self, limit: usize) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let id =
            self.mapping.id.as_deref().map_or("CAST(NULL AS text)".into(), |id| self.text(&self.column(id)));
        let token = self.token();
        let doubled = format!(
            "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL GROUP BY {token} HAVING COUNT(*) > 1)",
            sessions = self.sessions()
        );
        format!(
            "SELECT {fingerprint}, {prefix}, {id}, {user}, {end}, CASE WHEN {orphaned} THEN 1 ELSE 0 END\nFROM {sessions}\nWHERE {doubled} OR ({orphaned})\nORDER BY 1, 4, 3\nLIMIT {limit}",
            fingerprint = self.fingerprint(),
            prefix = self.prefix(),
            user = self.text(&self.user()),
            end = expiry.micros(&expiry.value),
            sessions = self.sessions(),
            orphaned = self.orphaned(),
        )
    }

    /// The condition that a row's user does not exist; it holds for no row where users may be missing from what is read.
    #[must_use]
    pub fn orphaned(&self) -> String {
        let seen = self.users_doubt().is_none();
        let (Some(users), Some(user), true) = (&self.mapping.users, &self.mapping.user, seen) else {
            return "1 = 0".into();
        };
        let user = self.column(user);
        format!(
            "{user} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {} AS w WHERE {})",
            table(&users.table),
            self.is_user(users)
        )
    }

    /// The condition that `w` is the user of `s`.
    pub(super) fn is_user(&self, users: &UsersMapping) -> String {
        let (key, user) = self.user_pair(users);
        format!("{key} = {user}")
    }

    fn doubled(&self, addressing: Addressing) -> String {
        let Some(name) = self.row_name(addressing) else { return "1 = 0".into() };
        let (token, user) = (self.token(), self.text(&self.user_key()));
        let expiry = self.instant(&self.mapping.expires);
        let newest = match &self.mapping.created {
            Some(created) => {
                let created = self.instant(created);
                // A creation that is not known is the oldest.
                format!("CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, {0} DESC", created.micros(&created.value))
            }
            None => format!("CASE WHEN {} THEN 0 ELSE 1 END, {} DESC", expiry.never(), expiry.value),
        };
        let doubled = format!(
            "SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL GROUP BY {token} HAVING COUNT(*) > 1",
            sessions = self.sessions()
        );
        self.among(
            &name,
            &format!(
                "SELECT {outer} FROM (\n    SELECT {selected}, MIN({user}) OVER same AS low, MAX({user}) OVER same AS high,\n      \
                 COUNT({user}) OVER same AS known, COUNT(*) OVER same AS n,\n      \
                 ROW_NUMBER() OVER (PARTITION BY {token} ORDER BY {newest}, {descending}) AS turn\n    \
                 FROM {sessions}\n    WHERE {token} IN ({doubled})\n    WINDOW same AS (PARTITION BY {token})\n  ) AS r\n  \
                 WHERE r.low <> r.high OR (r.known > 0 AND r.known < r.n) OR r.turn > 1",
                outer = name.outer(),
                selected = name.selected(),
                descending = name.descending(),
                sessions = self.sessions(),
            ),
        )
    }

    fn beyond(&self, keep: u64, addressing: Addressing) -> String {
        let Some(name) = self.row_name(addressing) else { return "1 = 0".into() };
        let user = self.user_key();
        let expiry = self.instant(&self.mapping.expires);
        self.among(
            &name,
            &format!(
                "SELECT {outer} FROM (\n    SELECT {selected},\n      ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY \
                 CASE WHEN {never} THEN 0 ELSE 1 END, {value} DESC, {descending}) AS turn\n    \
                 FROM {sessions}\n    WHERE {user} IS NOT NULL AND {active}\n  ) AS r\n  WHERE r.turn > {keep}",
                outer = name.outer(),
                selected = name.selected(),
                descending = name.descending(),
                never = expiry.never(),
                value = expiry.value,
                active = expiry.active(self.now),
                sessions = self.sessions(),
            ),
        )
    }

    /// The condition that a row is among those that a query names.
    fn among(&self, name: &RowName, query: &str) -> String {
        self.dialect().found_in(&name.0, &name.tuple(), query)
    }
}

//! Tokens of programs, and what programs were answered.

use jiff::SignedDuration;
use sessionwatch_core::instant::Instant;

use crate::{
    StoreError,
    accounts::{self, Account, Role},
    confirmed_time,
    db::Db,
    row::Row,
};

/// How long an answer is kept for the case that the request is sent again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// After so long nobody works any more on what has no answer.
const ABANDONED: SignedDuration = SignedDuration::from_mins(10);

/// What a token is for.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "kebab-case")]
pub enum Scope {
    /// Look at everything
    Read,
    /// Acknowledge, resolve, comment on and silence alerts, and vouch for the checklist
    Alerts,
    /// Make plans, carry them out, and put back
    Actions,
    /// Work on incidents
    Incidents,
    /// The account's own log-ins and tokens
    Account,
    /// Accounts and channels
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The role without which the scope gives nothing.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Read | Self::Account => Role::Viewer,
            Self::Alerts | Self::Actions | Self::Incidents => Role::Responder,
            Self::Admin => Role::Admin,
        }
    }
}

/// A token of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id, which is no secret.
    pub id: String,
    /// The SHA-256 of it, in hexadecimal digits.
    pub hash: String,
    /// The account in whose name it acts.
    pub account: String,
    /// What it is called.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Instant,
    /// When it ends.
    pub expires_at: Instant,
    /// When it was used last.
    pub seen_at: Option<Instant>,
}

/// A request that carries a key, by which it is done once.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The id of the token that it came with.
    pub token: &'a str,
    /// The key.
    pub key: &'a str,
    /// What it asks for, hashed.
    pub content: &'a str,
}

/// What is known of such a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing; from now on it is under way.
    Nothing,
    /// It is under way.
    UnderWay,
    /// Something else was asked for with the same key.
    Other,
    /// It was answered so: a status, and a content.
    Answered(u16, String),
}

const COLUMNS: &str = "id, hash, account, label, scopes, created_at, expires_at, seen_at";

fn token(row: &Row) -> Result<Token, StoreError> {
    let scopes = |text: &str| text.split(' ').map(|scope| scope.parse().ok()).collect();
    Ok(Token {
        id: row.text(0)?,
        hash: row.text(1)?,
        account: row.text(2)?,
        label: row.text(3)?,
        scopes: row.decoded(4, scopes)?,
        created_at: row.instant(5)?,
        expires_at: row.instant(6)?,
        seen_at: row.maybe_instant(7)?,
    })
}

/// Keeps a token.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(db: Db<'_>, token: &Token) -> Result<(), StoreError> {
    let scopes = token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ");
    db.run(
        "INSERT INTO tokens (id, hash, account, label, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&token.id).into(),
            (&token.hash).into(),
            (&token.account).into(),
            (&token.label).into(),
            (&scopes).into(),
            token.created_at.into(),
            token.expires_at.into(),
        ],
    )?;
    Ok(())
}

/// A token and its account, by the hash of the token.
///
/// # Errors
///
/// If they cannot be read.
pub fn by_hash(db: Db<'_>, hash: &str) -> Result<Option<(Token, Account)>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM tokens WHERE hash = $1");
    let Some(token) = db.row(&query, &[hash.into()])?.as_ref().map(token).transpose()? else {
        return Ok(None);
    };
    Ok(accounts::get(db, &token.account)?.map(|account| (token, account)))
}

/// The tokens of an account, or all, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>, account: Option<&str>) -> Result<Vec<Token>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM tokens WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) ORDER BY created_at DESC, id"
    );
    db.rows(&query, &[super::row::Value::Text(account)])?.iter().map(token).collect()
}

/// Notes that a token was used.
///
/// # Errors
///
/// If it cannot be written.
pub fn seen(db: Db<'_>, id: &str, now: Instant) -> Result<(), StoreError> {
    db.run("UPDATE tokens SET seen_at = $2 WHERE id = $1", &[id.into(), now.into()])?;
    Ok(())
}

/// Removes a token of an account, or of anybody: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn remove(db: Db<'_>, account: Option<&str>, id: &str) -> Result<bool, StoreError> {
    let query = "DELETE FROM tokens WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account = $2)";
    Ok(db.run(query, &[id.into(), super::row::Value::Text(account)])? > 0)
}

/// Begins a request that carries a key, unless that was begun before. Answers that are too old are forgotten.
///
/// # Errors
///
/// If it cannot be written.
pub fn begin(db: Db<'_>, request: Request<'_>, now: Instant) -> Result<Earlier, StoreError> {
    let passed = confirmed_time::passed(db, now)?;
    db.run(
        "DELETE FROM answers WHERE at < $1 OR (status IS NULL AND at < $2)",
        &[(passed - KEPT).into(), (passed - ABANDONED).into()],
    )?;
    let query = "SELECT request, status, content FROM answers WHERE token = $1 AND name = $2";
    if let Some(row) = db.row(query, &[request.token.into(), request.key.into()])? {
        let status = row.maybe_int(1)?.map(|status| u16::try_from(status).map_err(|_| row.unreadable(1)));
        return Ok(match status.transpose()? {
            _ if row.text(0)? != request.content => Earlier::Other,
            None => Earlier::UnderWay,
            Some(status) => Earlier::Answered(status, row.text(2)?),
        });
    }
    db.run(
        "INSERT INTO answers (token, name, request, at, content) VALUES ($1, $2, $3, $4, '')",
        &[request.token.into(), request.key.into(), request.content.into(), now.into()],
    )?;
    Ok(Earlier::Nothing)
}

/// Keeps the answer to a request that was begun; without one, it can be sent again as if it never had been.
///
/// # Errors
///
/// If it cannot be written.
pub fn answer(db: Db<'_>, request: Request<'_>, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
    let (token, key) = (request.token.into(), request.key.into());
    match answer {
        Some((status, content)) => db.run(
            "UPDATE answers SET status = $3, content = $4 WHERE token = $1 AND name = $2",
            &[token, key, i64::from(status).into(), content.into()],
        )?,
        None => db.run("DELETE FROM answers WHERE token = $1 AND name = $2", &[token, key])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[test]
    fn tokens_are_kept_used_and_removed_with_their_account() {
        for store in both() {
            let account = Account {
                name: "ada".into(),
                role: Role::Viewer,
                password: credentials::Secret::default(),
                subject: String::new(),
                created_at: at(1),
            };
            let mut token = Token {
                id: "t1".into(),
                hash: "h1".into(),
                account: "ada".into(),
                label: "deploy bot".into(),
                scopes: vec![Scope::Read, Scope::Actions],
                created_at: at(1),
                expires_at: at(9),
                seen_at: None,
            };
            store.write(|db| accounts::put(db, &account).and_then(|()| add(db, &token))).unwrap();
            store.write(|db| seen(db, "t1", at(3))).unwrap();
            token.seen_at = Some(at(3));
            let found = |hash: &str| store.read(|db| by_hash(db, hash)).unwrap();
            assert_eq!(found("h1"), Some((token.clone(), account)));
            assert_eq!(found("h2"), None);
            assert_eq!(store.read(|db| list(db, Some("ada"))).unwrap(), [token.clone()]);
            assert_eq!(store.read(|db| list(db, Some("bob"))).unwrap(), []);
            assert!(!store.write(|db| remove(db, Some("bob"), "t1")).unwrap());
            assert!(store.write(|db| accounts::remove(db, "ada")).unwrap());
            assert_eq!(store.read(|db| list(db, None)).unwrap(), []);
        }
    }

    #[test]
    fn a_request_with_a_key_is_begun_once_until_it_is_answered_or_abandoned() {
        for store in both() {
            let request = Request { token: "t1", key: "k", content: "c" };
            let begun =
                |request: Request<'_>, second| store.write(|db| begin(db, request, at(second))).unwrap();
            assert_eq!(begun(request, 0), Earlier::Nothing);
            assert_eq!(begun(request, 1), Earlier::UnderWay);
            assert_eq!(begun(Request { content: "d", ..request }, 1), Earlier::Other);
            assert_eq!(begun(Request { token: "t2", ..request }, 1), Earlier::Nothing);
            assert_eq!(begun(request, 601), Earlier::Nothing);
            store.write(|db| answer(db, request, Some((201, "made")))).unwrap();
            assert_eq!(begun(request, 9_000), Earlier::Answered(201, "made".into()));
            assert_eq!(begun(request, 90_000), Earlier::Nothing);
            store.write(|db| answer(db, request, None)).unwrap();
            assert_eq!(begun(request, 90_001), Earlier::Nothing);
        }
    }
}

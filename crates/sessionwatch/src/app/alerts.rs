//! What people do about alerts: look after one, say that it is over, keep some quiet for a while. Everything is noted with
//! who did it.

use serde_json::json;
use sessionwatch_core::{alert::State, instant::Instant};

use crate::{
    config::Serve,
    store::{
        StoreError,
        alerts::{self, Kept},
        audit,
        db::Db,
        events::{self, Event},
        silences::{self, Silence},
    },
};

/// Who does something, what they say, and when.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Who.
    pub who: &'a str,
    /// What they say; may be empty.
    pub note: &'a str,
    /// When.
    pub now: Instant,
}

/// The alert of a check on a target, if it fires.
fn firing(db: Db<'_>, (target, check): (&str, &str)) -> Result<Option<Kept>, StoreError> {
    let fires = |kept: &Kept| matches!(kept.alert.state, State::Firing { .. });
    Ok(alerts::get(db, target, check)?.filter(fires))
}

/// Records what somebody did about an alert.
fn record(
    db: Db<'_>,
    (target, check): (&str, &str),
    (action, word): (&str, Word<'_>),
) -> Result<(), StoreError> {
    let detail = json!({ "target": target, "check": check, "note": word.note });
    audit::add(db, (word.who, action), &detail.to_string(), word.now)
}

/// Somebody looks after an alert: whether it fires.
///
/// # Errors
///
/// If it cannot be written.
pub fn acknowledge(db: Db<'_>, which: (&str, &str), word: Word<'_>) -> Result<bool, StoreError> {
    let Some(mut kept) = firing(db, which)? else { return Ok(false) };
    kept.acknowledged_by = Some(word.who.to_owned());
    kept.note = Some(word.note.to_owned()).filter(|note| !note.is_empty());
    alerts::put(db, &kept)?;
    record(db, which, ("acknowledge", word))?;
    Ok(true)
}

/// Somebody says that an alert is over: whether it fires.
///
/// # Errors
///
/// If it cannot be written.
pub fn resolve(db: Db<'_>, serve: &Serve, which: (&str, &str), word: Word<'_>) -> Result<bool, StoreError> {
    let Some(kept) = firing(db, which)? else { return Ok(false) };
    let note = if word.note.is_empty() { String::new() } else { format!(": {}", word.note) };
    crate::alerts::resolve(db, serve, &kept, &format!("resolved by {}{note}", word.who), word.now)?;
    record(db, which, ("resolve", word))?;
    Ok(true)
}

/// Somebody says something about a check on a target: whether anything is known of it.
///
/// # Errors
///
/// If it cannot be written.
pub fn comment(db: Db<'_>, (target, check): (&str, &str), word: Word<'_>) -> Result<bool, StoreError> {
    if alerts::get(db, target, check)?.is_none() {
        return Ok(false);
    }
    let detail = json!({ "target": target, "check": check, "note": word.note }).to_string();
    let event = Event {
        id: 0,
        at: word.now,
        target: target.to_owned(),
        check: check.to_owned(),
        kind: "comment".into(),
        summary: format!("{}: {}", word.who, word.note),
        detail,
    };
    events::add(db, &event)?;
    record(db, (target, check), ("comment", word))?;
    Ok(true)
}

/// Begins a silence: its number.
///
/// # Errors
///
/// If it cannot be written.
pub fn silence(db: Db<'_>, silence: &Silence, now: Instant) -> Result<i64, StoreError> {
    let detail = json!({
        "target": silence.target, "check": silence.check, "subject": silence.subject,
        "until": crate::clock::rfc3339(silence.until), "note": silence.note,
    });
    let id = silences::begin(db, silence, now)?;
    audit::add(db, (&silence.owner, "silence"), &detail.to_string(), now)?;
    Ok(id)
}

/// Ends a silence: whether there is one.
///
/// # Errors
///
/// If it cannot be written.
pub fn unsilence(db: Db<'_>, id: i64, (who, now): (&str, Instant)) -> Result<bool, StoreError> {
    if !silences::end(db, id, now)? {
        return Ok(false);
    }
    audit::add(db, (who, "unsilence"), &json!({ "silence": id }).to_string(), now)?;
    Ok(true)
}

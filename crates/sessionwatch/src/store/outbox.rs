//! The outbox: what is to be told, by which channel. Written with what it tells of, delivered afterwards at least once.

use rusqlite::{Connection, params};
use sessionwatch_rules::instant::{Instant, SECOND};

use super::StoreError;

/// Attempts after which a message is dead: with the waits between them, more than a day.
pub const MOST_ATTEMPTS: u32 = 20;
const FIRST_WAIT: i64 = 5 * SECOND;
const LONGEST_WAIT: i64 = 2 * 3_600 * SECOND;

/// A message to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its number.
    pub id: i64,
    /// The same for every attempt at the same message.
    pub key: String,
    /// The channel's name.
    pub channel: String,
    /// What is told, as JSON.
    pub message: String,
    /// Attempts before this one.
    pub attempts: u32,
}

/// Puts a message in; a second one of the same key is the same message.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(
    connection: &Connection,
    (key, channel): (&str, &str),
    message: &str,
    now: Instant,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO outbox (idempotency_key, channel, message, created_at, next_at)
         VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (idempotency_key) DO NOTHING",
        params![key, channel, message, now.micros()],
    )?;
    Ok(())
}

/// The messages that are due, oldest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn due(connection: &Connection, now: Instant, limit: u32) -> Result<Vec<Due>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT id, idempotency_key, channel, message, attempts FROM outbox
         WHERE state = 'due' AND next_at <= ?1
         ORDER BY next_at, id
         LIMIT ?2",
    )?;
    let rows = statement.query_map(params![now.micros(), limit], |row| {
        Ok(Due {
            id: row.get(0)?,
            key: row.get(1)?,
            channel: row.get(2)?,
            message: row.get(3)?,
            attempts: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A message was delivered.
///
/// # Errors
///
/// If it cannot be written.
pub fn delivered(connection: &Connection, id: i64) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE outbox SET state = 'done', attempts = attempts + 1, error = NULL WHERE id = ?1",
        [id],
    )?;
    Ok(())
}

/// A message was not delivered: it is tried again after a while, which doubles, or when the channel asked for; after too
/// many attempts, or one that cannot succeed, it is dead.
///
/// # Errors
///
/// If it cannot be written.
pub fn failed(
    connection: &Connection,
    due: &Due,
    (error, retry_after): (&str, Option<i64>),
    now: Instant,
) -> Result<(), StoreError> {
    let attempts = due.attempts + 1;
    let state = if attempts >= MOST_ATTEMPTS { "dead" } else { "due" };
    let next = now.plus(retry_after.unwrap_or(0).max(wait(attempts)));
    connection.execute(
        "UPDATE outbox SET attempts = ?2, next_at = ?3, state = ?4, error = ?5 WHERE id = ?1",
        params![due.id, attempts, next.micros(), state, error],
    )?;
    Ok(())
}

/// Forgets messages that were delivered, and due before an instant.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget(connection: &Connection, before: Instant) -> Result<(), StoreError> {
    connection.execute("DELETE FROM outbox WHERE state = 'done' AND next_at < ?1", [before.micros()])?;
    Ok(())
}

/// How many messages wait, and how many are dead.
///
/// # Errors
///
/// If they cannot be read.
pub fn counts(connection: &Connection) -> Result<(u64, u64), StoreError> {
    let counts = connection.query_row(
        "SELECT COUNT(CASE WHEN state = 'due' THEN 1 END), COUNT(CASE WHEN state = 'dead' THEN 1 END) FROM outbox",
        [],
        |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?)),
    )?;
    Ok((counts.0.into(), counts.1.into()))
}

/// Microseconds to wait after so many attempts.
fn wait(attempts: u32) -> i64 {
    let times = 2i64.checked_pow(attempts.saturating_sub(1)).unwrap_or(i64::MAX);
    FIRST_WAIT.saturating_mul(times).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_message_is_tried_until_it_arrives_or_dies() {
        let (_folder, store) = store();
        let at = |seconds: i64| Instant::from_micros(seconds * SECOND).unwrap();
        let due_at = |now| store.read(|connection| due(connection, now, 10)).unwrap();
        for _ in 0..2 {
            store.write(|transaction| put(transaction, ("key", "chat"), "{}", at(100))).unwrap();
        }
        assert_eq!(due_at(at(100)).len(), 1, "one key is one message");
        let first = due_at(at(100)).remove(0);
        store.write(|transaction| failed(transaction, &first, ("no answer", None), at(100))).unwrap();
        assert!(due_at(at(104)).is_empty());
        let second = due_at(at(105)).remove(0);
        store
            .write(|transaction| failed(transaction, &second, ("slow down", Some(60 * SECOND)), at(105)))
            .unwrap();
        assert!(due_at(at(164)).is_empty());
        let third = due_at(at(165)).remove(0);
        store.write(|transaction| delivered(transaction, third.id)).unwrap();
        assert!(due_at(at(1_000_000)).is_empty());
        store.write(|transaction| forget(transaction, at(165))).unwrap();
        assert_eq!(delivered_messages(&store), 1);
        store.write(|transaction| forget(transaction, at(166))).unwrap();
        assert_eq!(delivered_messages(&store), 0);
        store.write(|transaction| put(transaction, ("key", "chat"), "{}", at(170))).unwrap();
        let third = due_at(at(170)).remove(0);
        let hopeless = Due { attempts: MOST_ATTEMPTS - 1, ..third };
        store.write(|transaction| failed(transaction, &hopeless, ("gone", None), at(200))).unwrap();
        assert_eq!(store.read(counts).unwrap(), (0, 1));
    }

    fn delivered_messages(store: &crate::store::Store) -> i64 {
        let count = "SELECT COUNT(*) FROM outbox WHERE state = 'done'";
        store.read(|connection| Ok(connection.query_row(count, [], |row| row.get(0))?)).unwrap()
    }

    #[test]
    fn waits_double_and_are_bounded() {
        assert_eq!([1, 2, 3].map(wait), [5, 10, 20].map(|seconds| seconds * SECOND));
        assert_eq!([19, 64, 1_000].map(wait), [LONGEST_WAIT; 3]);
    }
}

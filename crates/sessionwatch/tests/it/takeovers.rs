//! How long leases stood still when they passed from one daemon to another, by the clock of the server that their store is on:
//! a test that is held up on a busy machine does not count.

use testkit::Database;

/// Microseconds from the last renewal of a leader that is gone until somebody else leads, at most.
const TAKEOVER_LIMIT: i64 = 10_000_000;

/// Has the server note every takeover in a store that a daemon has made. A lease that was given up does not count.
pub(crate) fn note(store: &Database<'_>) {
    // A lease ends a fixed time after it was renewed, or taken over.
    let script = "CREATE TABLE takeovers (lease text NOT NULL, passed bigint NOT NULL);
        CREATE FUNCTION note_takeover() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO public.takeovers VALUES (NEW.name, NEW.until - OLD.until); RETURN NULL; END $$;
        CREATE TRIGGER takeover AFTER UPDATE ON sessionwatch.leases FOR EACH ROW
          WHEN (NEW.holder <> OLD.holder AND OLD.until > 0) EXECUTE FUNCTION note_takeover();";
    store.psql(script).unwrap();
}

/// A lease passed at least so many times, and each time within ten seconds.
pub(crate) fn assert_in_time(store: &Database<'_>, lease: &str, count: usize) {
    let query = format!("SELECT passed FROM takeovers WHERE lease = '{lease}'");
    let rows = store.psql(&query).unwrap();
    let passed: Vec<i64> = rows.lines().map(|passed| passed.parse().unwrap()).collect();
    assert!(passed.len() >= count, "{lease}: {passed:?}");
    assert!(passed.iter().all(|passed| *passed <= TAKEOVER_LIMIT), "{lease}: {passed:?}");
}

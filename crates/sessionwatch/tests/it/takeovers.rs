//! Duration of lease takeovers between daemons, by the clock of the server of their store: delays of the test process
//! on a busy machine do not count.

use testkit::Database;

/// Maximum time from the last renewal of a gone leader to the takeover, in microseconds.
const TAKEOVER_LIMIT: i64 = 10_000_000;

/// Makes the server record every takeover in an existing store. A released lease does not count.
pub(crate) fn note(store: &Database<'_>) {
    // A lease expires a fixed time after its renewal or takeover.
    let script = "CREATE TABLE takeovers (lease text NOT NULL, passed bigint NOT NULL);
        CREATE FUNCTION note_takeover() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO public.takeovers VALUES (NEW.name, NEW.until - OLD.until); RETURN NULL; END $$;
        CREATE TRIGGER takeover AFTER UPDATE ON sessionwatch.leases FOR EACH ROW
          WHEN (NEW.holder <> OLD.holder AND OLD.until > 0) EXECUTE FUNCTION note_takeover();";
    store.psql(script).unwrap();
}

/// Asserts at least this many takeovers, and that a typical one takes at most ten seconds.
pub(crate) fn assert_in_time(store: &Database<'_>, lease: &str, count: usize) {
    let query = format!("SELECT passed FROM takeovers WHERE lease = '{lease}'");
    let rows = store.psql(&query).unwrap();
    let mut passed: Vec<i64> = rows.lines().map(|passed| passed.parse().unwrap()).collect();
    passed.sort_unstable();
    assert!(passed.len() >= count, "{lease}: {passed:?}");
    // The median: a machine that stalls for a second delays single takeovers.
    assert!(passed[passed.len() / 2] <= TAKEOVER_LIMIT, "{lease}: {passed:?}");
}

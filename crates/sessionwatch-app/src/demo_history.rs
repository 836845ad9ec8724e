//! Two weeks of history in the state store of the demo, before its daemon starts.

mod error;
mod gauges;
mod incident;
mod milestones;
mod past_alerts;

use std::{net::SocketAddr, path::Path};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, samples};

use self::{
    incident::PastScene,
    milestones::{LAST_RUN_AGE, Milestones},
};
use crate::{config::Config, daemon, demo::shop_database};

pub use self::{
    error::DemoHistoryError,
    milestones::{DASHBOARD_TARGET, SHOP_TARGET},
};

/// Database of the shop, in the folder of the demo.
pub const SHOP_DATABASE: &str = "app.db";
/// Log of the shop, in the folder of the demo.
pub const SHOP_LOG: &str = "app.log";
/// Time from the start to the leak. The check run that finds it follows after five seconds.
const LEAK_DELAY: SignedDuration = SignedDuration::from_secs(20);

/// The demo's folder, before its daemon starts.
#[derive(Debug)]
pub struct PreparedDemo {
    /// Configuration for the daemon.
    pub config: Config,
    /// Time at which the simulated application is to leak.
    pub leak_at: UtcTimestamp,
}

/// Renders the configuration: the shop, and the login sessions of the dashboard itself.
fn render_config(listen: SocketAddr, with_log: bool) -> String {
    let log = format!("[[logs]]\nname = \"app\"\ntarget = \"{SHOP_TARGET}\"\nfile = \"{SHOP_LOG}\"\n");
    format!(
        "[[target]]\nname = \"{SHOP_TARGET}\"\nurl = \"{SHOP_DATABASE}\"\nprofile = \"authjs-prisma\"\n\
         [target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\nuser = \"userId\"\n\
         expires = \"expires\"\ndecoder = \"epoch-ms\"\ncreated = \"createdAt\"\n\
         ip = \"ipAddress\"\nuser_agent = \"userAgent\"\n\
         users = \"users\"\ndisplay = [\"name\", \"email\"]\naccounts = \"accounts\"\nlifetime_days = 30\n\
         [[target]]\nname = \"{DASHBOARD_TARGET}\"\nurl = \"watch.db\"\n\
         [target.mapping]\nsessions = \"login_sessions\"\ntoken = \"hash\"\nexpires = \"expires_at\"\n\
         decoder = \"epoch-ms\"\n\
         user = \"account\"\nip = \"address\"\nuser_agent = \"agent\"\nusers = \"accounts\"\n\
         users_key = \"name\"\ndisplay = [\"name\", \"role\"]\n\
         lifetime_days = 7\n\
         [serve]\nlisten = \"{listen}\"\nstore = \"watch.db\"\n{}\
         [checks.creation-rate]\nmax = 900\n[checks.active-sessions]\nmin = 1\n\
         [checks.slow-check-run]\nbudget_ms = 2000\n",
        if with_log { log.as_str() } else { "" }
    )
}

/// Creates the shop and a state store with its history in an empty folder, and runs every check once.
///
/// # Errors
///
/// Fails if a file cannot be written.
pub async fn prepare_demo(
    folder: &Path,
    listen: SocketAddr,
    now: UtcTimestamp,
) -> Result<PreparedDemo, DemoHistoryError> {
    let database = folder.join(SHOP_DATABASE);
    shop_database::create_shop_database(&database, now)?;
    std::fs::File::create(folder.join(SHOP_LOG)).map_err(|_| DemoHistoryError::Unwritable)?;
    let parse = |with_log| Config::parse(&folder.join("sessionwatch.toml"), &render_config(listen, with_log));
    // The log is empty until the application runs, so the past has none.
    let config = parse(false)?;
    let past = Milestones::new(now);
    write_history(&config, &past, shop_database::count_sessions(&database, now)?).await?;
    // Twice: some checks compare a run with the one before, and would be unknown in the first.
    for at in [past.end, now - LAST_RUN_AGE] {
        let (clock, _) = Clock::manual(at);
        daemon::run_single_round(config.clone(), clock).await?;
    }
    Ok(PreparedDemo { config: parse(true)?, leak_at: now + LEAK_DELAY })
}

/// Writes everything before the last check run, in the order in which it happened.
async fn write_history(
    config: &Config,
    milestones: &Milestones,
    totals: shop_database::ShopTotals,
) -> Result<(), DemoHistoryError> {
    let (store, serve) = (Store::open(&config.serve.store)?, &config.serve);
    let scene = PastScene { config, store: &store, milestones };
    let runs = gauges::PastGauges { milestones, totals }.shop_samples();
    let logins = gauges::dashboard_samples(milestones.end);
    store.write(|db| {
        samples::insert_past_runs(db, SHOP_TARGET, &runs, milestones.now)?;
        samples::insert_past_runs(db, DASHBOARD_TARGET, &logins, milestones.now)?;
        past_alerts::record_beginning(db, serve, milestones)?;
        past_alerts::record_shared_tokens(db, serve, milestones)
    })?;
    let incident = scene.resolve_incident().await?;
    store.write(|db| past_alerts::record_containment(db, serve, milestones, &incident))?;
    let rows = scene.clean_up_backlog().await?;
    store.write(|db| {
        past_alerts::record_cleanup(db, serve, milestones, rows)?;
        past_alerts::record_test_account(db, serve, milestones)
    })?;
    Ok(())
}

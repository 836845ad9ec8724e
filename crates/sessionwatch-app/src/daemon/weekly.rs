//! The checklist that is sent by itself.

use std::{sync::Arc, time::Duration};

use sessionwatch_clock as clock;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    StoreError,
    db::Db,
    events::{self, Event},
};
use tokio_util::sync::CancellationToken;

use super::{DaemonState, tasks::wait_to_retry};
use crate::{
    app::leadership::DELIVERY,
    blocking, checklist,
    config::{Config, WeeklyReport},
    notify::{
        Message,
        queue::{enqueue, queue},
    },
};

/// How long to wait before a store that failed is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// What is noted of one that was sent.
const KIND: &str = "report";

/// What sends the checklist.
pub(super) struct Weekly {
    pub(super) state: Arc<DaemonState>,
    pub(super) config: Arc<Config>,
    pub(super) report: WeeklyReport,
    /// The term under which this daemon delivers.
    pub(super) term: i64,
    pub(super) stop: CancellationToken,
}

/// Sends it each time that it is due, until that is to stop. One that was due while nobody ran is sent once, late.
pub(super) async fn run(weekly: Weekly) {
    let Weekly { state, config, report, term, stop } = weekly;
    let store = state.app.leadership.fenced(&state.app.store, DELIVERY, term);
    let mut last = match blocking::read(&store, |db| events::last(db, KIND)).await {
        Ok(last) => last.unwrap_or(state.begun),
        Err(error) => return tracing::error!("the checklist cannot be sent: {error}"),
    };
    let report = Arc::new(report);
    while !stop.is_cancelled() {
        let now = state.app.clock.now();
        last = report.due.last_done(last, now);
        let Some(due) = report.due.after(last) else { return };
        if now < due {
            stop.run_until_cancelled(state.app.clock.wait_until(due)).await;
            continue;
        }
        let (config, report) = (Arc::clone(&config), Arc::clone(&report));
        match blocking::write(&store, move |db| write(db, &config, &report, now)).await {
            Ok(()) => {
                state.nudge();
                last = now;
            }
            Err(error) => {
                tracing::error!("the checklist was not sent yet: {error}");
                wait_to_retry(RETRY_DELAY, &stop).await;
            }
        }
    }
}

/// Puts a checklist of each target into the outbox.
fn write(db: Db<'_>, config: &Config, report: &WeeklyReport, now: Instant) -> Result<(), StoreError> {
    for target in &config.targets {
        let list = checklist::week(db, config, target, now)?;
        let message = Message {
            schema: 1,
            key: String::new(),
            notice: "report".into(),
            target: target.name.clone(),
            check: "checklist".into(),
            severity: "low".into(),
            summary: list.title(),
            since: None,
            at: clock::rfc3339(now),
            finding: Some(list.json()),
            again: false,
            text: Some(list.text()),
        };
        for channel in config.serve.channels.iter().filter(|channel| report.channels.contains(&channel.name))
        {
            enqueue(db, &queue(channel, &message, "", now, now), now)?;
        }
    }
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    events::add(
        db,
        &Event {
            id: 0,
            at: now,
            target: String::new(),
            check: "checklist".into(),
            kind: KIND.into(),
            summary: format!("the checklist of {} was sent", names.join(", ")),
            detail: "{}".into(),
        },
    )
}

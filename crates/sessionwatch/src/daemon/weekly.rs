//! The checklist that is sent by itself.

use std::{sync::Arc, time::Duration};

use sessionwatch_core::instant::Instant;

use super::{Shared, round};
use crate::{
    app::leadership::DELIVERY,
    checklist, clock,
    config::{Config, WeeklyReport},
    notify::Message,
    store::{
        StoreError,
        db::Db,
        events::{self, Event},
    },
};

/// How long to wait before a store that failed is asked again.
const AGAIN: Duration = Duration::from_secs(60);
/// What is noted of one that was sent.
const KIND: &str = "report";

/// Sends it each time that it is due, as long as this runs. One that was due while nobody ran is sent once, late.
pub(super) async fn run(shared: Arc<Shared>, config: Arc<Config>, report: WeeklyReport, term: i64) {
    let store = shared.leadership.fenced(&shared.store, DELIVERY, term);
    let mut last = match shared.store.read(|db| events::last(db, KIND)) {
        Ok(last) => last.unwrap_or(shared.begun),
        Err(error) => return tracing::error!("the checklist cannot be sent: {error}"),
    };
    loop {
        let now = shared.clock.now();
        last = report.due.last_done(last, now);
        let Some(due) = report.due.after(last) else { return };
        if now < due {
            shared.clock.wait_until(due).await;
            continue;
        }
        match store.write(|db| write(db, (&config, &report), now)) {
            Ok(()) => {
                shared.nudge();
                last = now;
            }
            Err(error) => {
                tracing::error!("the checklist was not sent yet: {error}");
                clock::pause(AGAIN).await;
            }
        }
    }
}

/// Puts a checklist of each target into the outbox.
fn write(db: Db<'_>, (config, report): (&Config, &WeeklyReport), now: Instant) -> Result<(), StoreError> {
    for target in &config.targets {
        let list = checklist::week(db, (config, target), now)?;
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
            round::post(db, channel, (&message, &[]), (now, now))?;
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

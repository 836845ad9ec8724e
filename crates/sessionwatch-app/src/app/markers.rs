//! Markers: deploys and the like, which charts and activity show beside alerts.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_clock as clock;
use sessionwatch_core::{suggest::did_you_mean, timestamp::UtcTimestamp};
use sessionwatch_store::{audit, history_events};

use super::{Actor, AppError, AppState};
use crate::sanitize::sanitize_text;

/// Difference between the clocks of two machines that is tolerated.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_mins(5);

/// Kind of marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum MarkerKind {
    /// A new version of the application went live.
    Deploy,
}

/// Marker to create.
#[derive(Clone, Debug)]
pub struct NewMarker {
    /// Kind.
    pub kind: MarkerKind,
    /// Description, such as the version.
    pub text: String,
    /// Target that it concerns; `None` for all.
    pub target: Option<String>,
    /// Time; `None` for now.
    pub at: Option<UtcTimestamp>,
}

impl MarkerKind {
    /// Returns the name, which is the kind of the event.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Creates a marker. Returns its time.
///
/// # Errors
///
/// If the text is blank, the target does not exist, or the time is in the future.
pub async fn create_marker(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewMarker,
) -> Result<UtcTimestamp, AppError> {
    let (now, config) = (app.clock.now(), app.config());
    let summary = sanitize_text(new.text.trim());
    if summary.is_empty() {
        return Err(AppError::Invalid("The text of a marker must not be empty.".into()));
    }
    let at = new.at.unwrap_or(now);
    if at.duration_since(now) > MAX_CLOCK_DIFFERENCE {
        return Err(AppError::Conflict("The time of a marker must not be in the future.".into()));
    }
    if let Some(name) = &new.target {
        let known = config.targets.iter().map(|target| target.name.as_str());
        if known.clone().all(|known| known != name) {
            let hint = did_you_mean(name, known);
            let end = if hint.is_empty() { "." } else { hint.as_str() };
            return Err(AppError::NotFound(format!("Unknown target “{name}”{end}")));
        }
    }
    let (by, kind) = (actor.name().to_owned(), new.kind.name());
    let detail =
        json!({ "kind": kind, "text": summary, "target": new.target, "at": clock::format_rfc3339(at) })
            .to_string();
    let event = history_events::EventRecord {
        id: 0,
        at,
        // An event without a target belongs to all of them.
        target: new.target.unwrap_or_default(),
        check: String::new(),
        kind: kind.to_owned(),
        summary,
        detail: json!({ "by": by }).to_string(),
    };
    app.write_store(move |db| {
        history_events::insert_event(db, &event)?;
        let entry = audit::NewAuditEntry { actor: &by, action: "marker.created", detail: &detail };
        audit::insert_audit_entry(db, entry, now)
    })
    .await?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::{DAY, HOUR};

    use super::*;
    use crate::app::{
        alerts::{EventSearch, search_events},
        test_app::TestApp,
    };

    fn deploy(text: &str) -> NewMarker {
        NewMarker { kind: MarkerKind::Deploy, text: text.into(), target: None, at: None }
    }

    #[tokio::test]
    async fn a_marker_is_an_event_of_its_target_or_of_all_targets() {
        let targets =
            "[[target]]\nname = \"app\"\nurl = \"a.db\"\n[[target]]\nname = \"shop\"\nurl = \"b.db\"\n";
        let app = TestApp::with_config(targets);
        let (ada, now) = (Actor::from_token("ada", "deploys"), app.clock.now());
        let earlier = now - HOUR;
        let of_shop =
            NewMarker { target: Some("shop".into()), at: Some(earlier), ..deploy(" Version 2.14\n") };
        assert_eq!(create_marker(&app, &ada, of_shop).await.unwrap(), earlier);
        create_marker(&app, &ada, deploy("Everything")).await.unwrap();
        let found = async |target: Option<&str>| {
            let search = EventSearch {
                from: now - DAY,
                to: now + DAY,
                target: target.map(str::to_owned),
                check: None,
                text: None,
                alerts_only: false,
                before_id: None,
                limit: 9,
            };
            let events = search_events(&app, search).await.unwrap();
            let shown = events.into_iter().map(|event| format!("{} {}", event.kind, event.summary));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(found(None).await, ["deploy Version 2.14", "deploy Everything"]);
        assert_eq!(found(Some("shop")).await, ["deploy Version 2.14", "deploy Everything"]);
        assert_eq!(found(Some("app")).await, ["deploy Everything"]);
        let entries = app.store.read(|db| audit::list_audit_entries_before(db, None, 9)).unwrap();
        assert_eq!((entries.len(), entries[0].actor.as_str()), (2, "ada (deploys)"));
        assert_eq!(entries[0].action, "marker.created");
    }

    #[tokio::test]
    async fn a_blank_text_an_unknown_target_and_the_future_are_refused() {
        let app = TestApp::with_config("[[target]]\nname = \"shop\"\nurl = \"b.db\"\n");
        let (ada, now) = (Actor::from_account("ada"), app.clock.now());
        let refused = async |marker| create_marker(&app, &ada, marker).await.unwrap_err().to_string();
        assert!(refused(deploy(" \n")).await.contains("must not be empty"));
        let unknown = NewMarker { target: Some("shpo".into()), ..deploy("x") };
        assert!(refused(unknown).await.contains("shop"));
        let future = NewMarker { at: Some(now + HOUR), ..deploy("x") };
        assert!(refused(future).await.contains("future"));
    }
}

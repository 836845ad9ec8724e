//! Silences: suppress notifications for a target, a check or both for a limited time.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_clock as clock;
use sessionwatch_core::{suggest::did_you_mean, timestamp::UtcTimestamp};
use sessionwatch_store::{audit, silences};

use super::{Actor, AppError, AppState};
use crate::{
    checks::{CHANNEL_FAILING, TARGET_UNREACHABLE},
    config::Config,
};

pub use sessionwatch_store::silences::SilenceRecord;

/// Maximum length of a silence, in minutes.
pub const MAX_SILENCE_MINUTES: i64 = 366 * 24 * 60;

/// Silence to create.
#[derive(Clone, Debug)]
pub struct NewSilence {
    /// Only this target or channel; `None` for all.
    pub target: Option<String>,
    /// Only this check; `None` for all.
    pub check: Option<String>,
    /// Only findings that concern just this user or token prefix; `None` for all.
    pub subject: Option<String>,
    /// Length, in minutes.
    pub minutes: i64,
    /// Reason.
    pub note: String,
}

/// Newly created silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedSilence {
    /// Silence id.
    pub id: i64,
    /// Expiry time.
    pub until: UtcTimestamp,
}

/// Lists the active silences.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_silences(app: &Arc<AppState>) -> Result<Vec<SilenceRecord>, AppError> {
    let now = app.clock.now();
    app.read_store(move |db| silences::list_active_silences(db, now)).await
}

/// Silences a target, a check, or both.
///
/// # Errors
///
/// If the target or the check does not exist.
pub async fn create_silence(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewSilence,
) -> Result<CreatedSilence, AppError> {
    let (now, config) = (app.clock.now(), app.config());
    // Checked against the configuration, not the store: a silence may precede the first alert.
    require_known_names(&config, &new)?;
    let NewSilence { target, check, subject, note, minutes } = new;
    let ends_at = now + SignedDuration::from_mins(minutes);
    let silence =
        SilenceRecord { id: 0, target, check, subject, ends_at, created_by: actor.name().to_owned(), note };
    let id = app.write_store(move |db| {
        let detail = json!({
            "target": silence.target, "check": silence.check, "subject": silence.subject,
            "until": clock::format_rfc3339(silence.ends_at), "note": silence.note,
        });
        let id = silences::insert_silence(db, &silence, now)?;
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry {
                actor: &silence.created_by,
                action: "silence.created",
                detail: &detail.to_string(),
            },
            now,
        )?;
        Ok(id)
    });
    Ok(CreatedSilence { id: id.await?, until: ends_at })
}

/// Rejects silences for unknown targets or checks: a typo would silence nothing.
fn require_known_names(config: &Config, new: &NewSilence) -> Result<(), AppError> {
    // An alert about a channel has the channel's name in place of a target name.
    let channels = config.serve.channels.iter().map(|channel| channel.name.as_str());
    let targets: Vec<&str> =
        config.targets.iter().map(|target| target.name.as_str()).chain(channels).collect();
    let checks: Vec<&str> = config.check_ids().chain([TARGET_UNREACHABLE, CHANNEL_FAILING]).collect();
    for (what, name, known) in [("target", &new.target, targets), ("check", &new.check, checks)] {
        if let Some(name) = name.as_ref().filter(|name| !known.contains(&name.as_str())) {
            let hint = did_you_mean(name, known.iter().copied());
            let end = if hint.is_empty() { "." } else { hint.as_str() };
            return Err(AppError::NotFound(format!("Unknown {what} “{name}”{end}")));
        }
    }
    Ok(())
}

/// Ends a silence.
///
/// # Errors
///
/// If no active silence has that id.
pub async fn expire_silence(app: &Arc<AppState>, actor: &Actor, id: i64) -> Result<(), AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let ended = app.write_store(move |db| {
        // An expired silence is not expired again, so its recorded end stays as it was.
        if !silences::expire_silence(db, id, now)? {
            return Ok(false);
        }
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry {
                actor: &by,
                action: "silence.expired",
                detail: &json!({ "silence": id }).to_string(),
            },
            now,
        )?;
        Ok(true)
    });
    let not_found = || AppError::NotFound("This silence does not exist or has already ended.".into());
    if ended.await? { Ok(()) } else { Err(not_found()) }
}

#[cfg(test)]
mod tests {
    use sessionwatch_store::Store;

    use super::*;
    use crate::app::test_app::TestApp;

    fn new_silence(target: Option<&str>) -> NewSilence {
        let target = target.map(str::to_owned);
        NewSilence { target, check: None, subject: None, minutes: 60, note: "maintenance".into() }
    }

    #[tokio::test]
    async fn a_silence_needs_a_configured_target_and_ends_once() {
        let app = AppState::for_command(Store::open_in_memory().unwrap(), Config::default()).unwrap();
        let ada = Actor::from_account("ada");
        let refused = create_silence(&app, &ada, new_silence(Some("nowhere"))).await;
        assert!(matches!(refused, Err(AppError::NotFound(_))));
        let created = create_silence(&app, &ada, new_silence(None)).await.unwrap();
        assert_eq!(list_silences(&app).await.unwrap()[0].created_by, "ada");
        expire_silence(&app, &ada, created.id).await.unwrap();
        assert!(list_silences(&app).await.unwrap().is_empty());
        assert!(matches!(expire_silence(&app, &ada, created.id).await, Err(AppError::NotFound(_))));
    }

    #[tokio::test]
    async fn a_silence_is_active_until_just_before_its_expiry() {
        let scene = TestApp::with_config("");
        let ada = Actor::from_account("ada");
        let created =
            create_silence(&scene, &ada, NewSilence { minutes: 90, ..new_silence(None) }).await.unwrap();
        assert_eq!(created.until, scene.clock.now() + SignedDuration::from_mins(90));
        scene.advance_clock(SignedDuration::from_mins(90) - SignedDuration::from_micros(1));
        assert_eq!(list_silences(&scene).await.unwrap().len(), 1);
        scene.advance_clock(SignedDuration::from_micros(1));
        assert!(list_silences(&scene).await.unwrap().is_empty());
        let refused = expire_silence(&scene, &ada, created.id).await;
        assert!(matches!(refused, Err(AppError::NotFound(_))), "the silence has expired");
    }

    #[tokio::test]
    async fn a_silence_covers_a_target_or_a_channel() {
        let scene = TestApp::with_config(
            "[[target]]\nname = \"main\"\nurl = \"app.db\"\n[[channel]]\nname = \"chat\"\nkind = \"slack\"\n\
             url = \"https://hooks.example.org/1\"\n",
        );
        let ada = Actor::from_account("ada");
        for name in ["main", "chat"] {
            create_silence(&scene, &ada, new_silence(Some(name))).await.unwrap();
        }
        let refused = create_silence(&scene, &ada, new_silence(Some("Main"))).await;
        let message = "Unknown target “Main” (did you mean `main`?)";
        assert!(matches!(refused, Err(AppError::NotFound(text)) if text == message));
        let listed = list_silences(&scene).await.unwrap();
        let mut targets: Vec<&str> = listed.iter().filter_map(|silence| silence.target.as_deref()).collect();
        targets.sort_unstable();
        assert_eq!(targets, ["chat", "main"]);
    }

    #[tokio::test]
    async fn a_silence_covers_any_existing_check() {
        let pattern =
            "[[log_check]]\nname = \"stale-token\"\nliteral = \"stale token\"\nseverity = \"high\"\n";
        let scene = TestApp::with_config(pattern);
        let about = |check: &str| NewSilence { check: Some(check.to_owned()), ..new_silence(None) };
        let ada = Actor::from_account("ada");
        for check in
            ["duplicate-tokens", "log-user-mismatch", "stale-token", TARGET_UNREACHABLE, CHANNEL_FAILING]
        {
            create_silence(&scene, &ada, about(check)).await.unwrap();
        }
        for (check, message) in [
            ("duplicate-token", "Unknown check “duplicate-token” (did you mean `duplicate-tokens`?)"),
            ("weather", "Unknown check “weather”."),
        ] {
            let refused = create_silence(&scene, &ada, about(check)).await;
            assert!(matches!(&refused, Err(AppError::NotFound(text)) if text == message), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn silences_are_audited_with_actor_and_reason() {
        let scene = TestApp::with_config("");
        let new = NewSilence {
            check: Some("target-unreachable".into()),
            subject: Some("user 7".into()),
            ..new_silence(None)
        };
        let created = create_silence(&scene, &Actor::from_token("ada", "deploys"), new).await.unwrap();
        expire_silence(&scene, &Actor::from_command_line("bob"), created.id).await.unwrap();
        let detail = concat!(
            r#"{"target":null,"check":"target-unreachable","subject":"user 7","#,
            r#""until":"2024-10-04T13:00:00.000000Z","note":"maintenance"}"#,
        );
        let ended = format!(r#"{{"silence":{}}}"#, created.id);
        assert_eq!(
            scene.audit_trail(),
            [["ada (deploys)", "silence.created", detail], ["bob", "silence.expired", ended.as_str()]]
        );
    }
}

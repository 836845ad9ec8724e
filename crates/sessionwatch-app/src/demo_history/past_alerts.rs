//! Past alerts and their events, written as a daemon would have written them.

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::{AlertPolicy, CheckState},
    checks::TABLE_CHECKS,
    duration::{DAY, HOUR, MINUTE, SECOND},
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    accounts::{self, AccountRecord, AccountRole, LoginSession},
    alerts as stored_alerts, audit, history_events,
    transaction::Tx,
};

use super::milestones::{DASHBOARD_TARGET, Milestones, OPERATOR_NAME, SHOP_TARGET};
use crate::{
    alerts::{self, transition::CheckObservation},
    config::ServeConfig,
    demo::{
        people,
        shop_database::{INCIDENT_PAIRS, TEST_ACCOUNT},
    },
};

/// A result that changed an alert.
#[derive(Clone, Debug)]
pub(super) struct PastResult<'a> {
    pub(super) target: &'a str,
    pub(super) check: &'a str,
    pub(super) state: CheckState,
    pub(super) summary: &'a str,
    pub(super) finding: Value,
    pub(super) at: UtcTimestamp,
}

/// Something else that happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastEvent<'a> {
    pub(super) check: &'a str,
    pub(super) kind: &'a str,
    pub(super) summary: &'a str,
    pub(super) at: UtcTimestamp,
}

/// Writes a result, the transition of its alert, and their events.
pub(super) fn record_result(
    db: Tx<'_>,
    serve: &ServeConfig,
    result: PastResult<'_>,
) -> Result<(), StoreError> {
    let check = TABLE_CHECKS.iter().find(|check| check.id == result.check);
    let severity = check.map_or(Severity::High, |check| check.severity);
    let observation = CheckObservation {
        target: result.target,
        check: result.check,
        severity,
        state: result.state,
        // The runs between are left out: each result here is that of the run that settled it.
        policy: AlertPolicy {
            failure_threshold: 1,
            success_threshold: 1,
            ..AlertPolicy::for_severity(severity)
        },
        summary: result.summary.to_owned(),
        verdict: if result.state == CheckState::Failing { "failing" } else { "passing" },
        unknown_reason: None,
        finding: result.finding,
        subjects: vec![],
    };
    alerts::record_observations(db, result.target, std::iter::once(observation), serve, result.at).map(|_| ())
}

/// Writes an event of the shop.
pub(super) fn record_event(db: Tx<'_>, event: PastEvent<'_>) -> Result<(), StoreError> {
    history_events::insert_event(
        db,
        &history_events::EventRecord {
            id: 0,
            at: event.at,
            target: SHOP_TARGET.into(),
            check: event.check.into(),
            kind: event.kind.into(),
            summary: event.summary.into(),
            detail: "{}".into(),
        },
    )
}

/// Writes the first two weeks until the incident: the first results, a backlog of expired rows, and the deploy.
pub(super) fn record_beginning(db: Tx<'_>, serve: &ServeConfig, past: &Milestones) -> Result<(), StoreError> {
    create_team(db, past)?;
    let first = |target, check| PastResult {
        target,
        check,
        state: CheckState::Passing,
        summary: "nothing found",
        finding: json!({}),
        at: past.begin,
    };
    for target in [SHOP_TARGET, DASHBOARD_TARGET] {
        for check in TABLE_CHECKS.iter().map(|check| check.id).filter(|id| *id != "expired-backlog") {
            record_result(db, serve, first(target, check))?;
        }
    }
    record_result(db, serve, first(DASHBOARD_TARGET, "expired-backlog"))?;
    let backlog = PastResult {
        state: CheckState::Failing,
        summary: "380 sessions expired and not removed, the oldest 19 days ago",
        finding: json!({ "value": 380, "threshold": "> 200 or older than 7 days" }),
        ..first(SHOP_TARGET, "expired-backlog")
    };
    record_result(db, serve, backlog)?;
    let deploy = PastEvent {
        check: "",
        kind: "deploy",
        summary: "Deploy 2.14.0: session cookie renamed, everyone logged out",
        at: past.deploy,
    };
    record_event(db, deploy)?;
    let logins = |state, summary, minutes: i32| PastResult {
        target: SHOP_TARGET,
        check: "creation-rate",
        state,
        summary,
        finding: json!({ "value": 1_214, "threshold": "> 900 per hour" }),
        at: past.deploy + MINUTE * minutes,
    };
    let many = "1,214 sessions created in the last hour (baseline: at most 900)";
    record_result(db, serve, logins(CheckState::Failing, many, 52))?;
    let usual = "486 sessions created in the last hour (baseline: at most 900)";
    record_result(db, serve, logins(CheckState::Passing, usual, 341))
}

/// Creates the accounts of the team, which nobody can log in to, and their login sessions.
fn create_team(db: Tx<'_>, past: &Milestones) -> Result<(), StoreError> {
    for (number, name, role) in
        [(1_u8, OPERATOR_NAME, AccountRole::Responder), (2, "omar", AccountRole::Viewer)]
    {
        let account = AccountRecord {
            name: name.into(),
            role,
            // No password matches an empty hash.
            password_hash: String::new().into(),
            oidc_subject: String::new(),
            created_at: past.begin,
        };
        accounts::upsert_account(db, &account)?;
        let detail = json!({ "account": name, "role": role.name() }).to_string();
        let created = audit::NewAuditEntry { actor: "demo", action: "account.created", detail: &detail };
        audit::insert_audit_entry(db, created, past.begin)?;
        let device = people::invent_device(9_000 + u64::from(number), 0);
        let login = LoginSession {
            // Not the hash of anything: no token leads to this session.
            token_hash: format!("demo-{name}"),
            account: name.into(),
            created_at: past.now - HOUR * (3 * i32::from(number)),
            last_used_at: past.end,
            expires_at: past.now + HOUR * 12,
            client_address: device.ip_address,
            user_agent: device.user_agent.into(),
        };
        accounts::insert_login_session(db, &login)?;
    }
    Ok(())
}

/// Writes the alert with which the incident began.
pub(super) fn record_shared_tokens(
    db: Tx<'_>,
    serve: &ServeConfig,
    past: &Milestones,
) -> Result<(), StoreError> {
    let evidence = INCIDENT_PAIRS.iter().zip(1..).flat_map(|(pair, number)| {
        let session = move |customer: &u64| {
            let (person, device) = (people::invent_customer(*customer), people::invent_device(*customer, 0));
            json!({
                "token_prefix": format!("5e1{number}c07a"), "user": person.id, "rows": 1,
                "created_at": clock::format_rfc3339(past.leak - SECOND * 8 * number),
                "expires_at": clock::format_rfc3339(past.leak + DAY * 30),
                "ip": device.ip_address, "user_agent": device.user_agent,
                "display": [person.name, person.email],
            })
        };
        pair.iter().map(session)
    });
    let found = PastResult {
        target: SHOP_TARGET,
        check: "duplicate-tokens",
        state: CheckState::Failing,
        summary: "3 tokens are shared by several users",
        finding: json!({ "value": 3, "threshold": "> 0", "evidence": evidence.collect::<Vec<_>>() }),
        at: past.leak,
    };
    record_result(db, serve, found)
}

/// Writes the end of the alert and of the incident.
pub(super) fn record_containment(
    db: Tx<'_>,
    serve: &ServeConfig,
    past: &Milestones,
    incident: &str,
) -> Result<(), StoreError> {
    let [opened, closed] = ["opened", "closed"].map(|what| format!("{incident} {what} by {OPERATOR_NAME}"));
    let event = |summary, at| PastEvent { check: "duplicate-tokens", kind: "incident", summary, at };
    record_event(db, event(&opened, past.opened))?;
    let gone = PastResult {
        target: SHOP_TARGET,
        check: "duplicate-tokens",
        state: CheckState::Passing,
        summary: "no token is shared",
        finding: json!({}),
        at: past.contained,
    };
    record_result(db, serve, gone)?;
    record_event(db, event(&closed, past.closed))
}

/// Writes the end of the backlog.
pub(super) fn record_cleanup(
    db: Tx<'_>,
    serve: &ServeConfig,
    past: &Milestones,
    rows: u64,
) -> Result<(), StoreError> {
    let summary =
        format!("{OPERATOR_NAME} cleaned up {rows} expired sessions, which are kept in the archive");
    let cleanup =
        PastEvent { check: "expired-backlog", kind: "cleanup", summary: &summary, at: past.cleanup };
    record_event(db, cleanup)?;
    let gone = PastResult {
        target: SHOP_TARGET,
        check: "expired-backlog",
        state: CheckState::Passing,
        summary: "26 sessions expired and not removed, the oldest 1 day ago",
        finding: json!({}),
        at: past.cleanup,
    };
    record_result(db, serve, gone)
}

/// Writes the alert about the account for load tests, and its acknowledgement. The first check run replaces its
/// finding.
pub(super) fn record_test_account(
    db: Tx<'_>,
    serve: &ServeConfig,
    past: &Milestones,
) -> Result<(), StoreError> {
    let (check, person) = ("user-session-excess", people::invent_customer(TEST_ACCOUNT));
    let found = PastResult {
        target: SHOP_TARGET,
        check,
        state: CheckState::Failing,
        summary: "1 user has more than 12 active sessions (highest: 37)",
        finding: json!({
            "value": 37, "threshold": "> 12", "evidence": [{
                "user": person.id, "rows": 37, "display": [person.name, person.email],
            }],
        }),
        at: past.test_account,
    };
    record_result(db, serve, found)?;
    let Some(mut alert) = stored_alerts::find_alert(db, SHOP_TARGET, check)? else { return Ok(()) };
    let note = "Load test of the checkout, until Friday (SHOP-214)";
    (alert.acknowledged_by, alert.note) = (Some(OPERATOR_NAME.into()), Some(note.into()));
    alert.alert.is_acknowledged = true;
    stored_alerts::upsert_alert(db, &alert)?;
    let at = past.test_account + MINUTE * 11;
    let detail = json!({ "target": SHOP_TARGET, "check": check, "note": note }).to_string();
    let entry = audit::NewAuditEntry { actor: OPERATOR_NAME, action: "alert.acknowledged", detail: &detail };
    audit::insert_audit_entry(db, entry, at)
}

//! The sessions that an incident is about, as its check runs recorded them.

use std::collections::BTreeSet;

use serde_json::Value;
use sessionwatch_store::{StoreError, incidents::TimelineEntry};

use crate::{
    checks::{EvidenceKind, TABLE_CHECKS},
    report::truncation_note,
};

/// A session with a shared token, with a changed user, without a user, or that reappeared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffectedSession {
    /// User ID.
    pub user: Option<String>,
    /// Columns that help people recognize the user, such as the name and the email address; without empty ones.
    pub display: Vec<String>,
    /// Token prefix.
    pub token_prefix: Option<String>,
    /// Row ID.
    pub id: Option<String>,
}

/// The sessions that an incident is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffectedSessions {
    /// The sessions, grouped by token prefix.
    pub sessions: Vec<AffectedSession>,
    /// `true` if the check run recorded only the first sessions.
    pub is_cut: bool,
}

impl AffectedSessions {
    /// Reads the sessions from the latest check run on the timeline that found any. They stay on the timeline after
    /// they were revoked.
    ///
    /// # Errors
    ///
    /// Fails if an entry of the timeline cannot be decoded.
    pub fn from_timeline(timeline: &[TimelineEntry]) -> Result<Self, StoreError> {
        for entry in timeline.iter().rev() {
            let found = Self::from_report(&entry.parse_detail()?);
            if !found.sessions.is_empty() {
                return Ok(found);
            }
        }
        Ok(Self::default())
    }

    /// Reads the sessions from a check report.
    #[must_use]
    pub fn from_report(report: &Value) -> Self {
        let mut sessions = BTreeSet::new();
        let mut is_cut = false;
        for check in report["checks"].as_array().into_iter().flatten() {
            let id = check["id"].as_str().unwrap_or_default();
            if check["result"] != "failing" || !names_sessions(id) {
                continue;
            }
            let rows = check["evidence"].as_array().map(Vec::as_slice).unwrap_or_default();
            is_cut |= truncation_note(check["evidence_total"].as_u64(), rows.len()).is_some();
            sessions.extend(rows.iter().map(affected_session));
        }
        let mut found = Self { sessions: sessions.into_iter().collect(), is_cut };
        found.group_by_token();
        found
    }

    fn group_by_token(&mut self) {
        self.sessions.sort_by(|one, other| one.token_prefix.cmp(&other.token_prefix));
    }

    /// Adds sessions that another check run found.
    pub fn add_sessions(&mut self, other: Self) {
        self.is_cut |= other.is_cut;
        for session in other.sessions {
            if !self.sessions.contains(&session) {
                self.sessions.push(session);
            }
        }
        self.group_by_token();
    }

    /// Returns the IDs of the users, each once.
    #[must_use]
    pub fn user_ids(&self) -> Vec<&str> {
        let users: BTreeSet<&str> =
            self.sessions.iter().filter_map(|session| session.user.as_deref()).collect();
        users.into_iter().collect()
    }
}

/// Returns whether the evidence of a check is affected sessions, and not users or old rows.
fn names_sessions(check: &str) -> bool {
    let known = TABLE_CHECKS.iter().find(|known| known.id == check);
    known.is_some_and(|known| {
        matches!(
            known.evidence,
            EvidenceKind::Duplicates
                | EvidenceKind::Reassigned
                | EvidenceKind::Reappeared
                | EvidenceKind::Orphans
        )
    })
}

fn affected_session(row: &Value) -> AffectedSession {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    AffectedSession {
        user: text(&row["user"]),
        display: row["display"].as_array().into_iter().flatten().filter_map(text).collect(),
        token_prefix: text(&row["token_prefix"]),
        id: text(&row["id"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessionwatch_core::timestamp::UtcTimestamp;

    use super::*;

    fn entry(detail: &Value) -> TimelineEntry {
        TimelineEntry {
            at: UtcTimestamp::MIN,
            actor: "ada".into(),
            kind: "check-run".into(),
            step: String::new(),
            message: String::new(),
            detail: detail.to_string(),
        }
    }

    fn run(check: &str, result: &str, rows: usize) -> Value {
        let row = |number: usize| {
            let (user, id) = (format!("u{}", number / 2), number.to_string());
            json!({ "user": user, "id": id, "token_prefix": "abcd", "display": ["Leila", null, ""] })
        };
        let evidence: Vec<Value> = (0..rows).map(row).collect();
        json!({ "checks": [{ "id": check, "result": result, "value": rows, "evidence": evidence }] })
    }

    #[test]
    fn sessions_come_from_the_latest_run_that_found_any() {
        let found = run("duplicate-tokens", "failing", 3);
        let later = [entry(&found), entry(&run("duplicate-tokens", "passing", 0)), entry(&json!({}))];
        let affected = AffectedSessions::from_timeline(&later).unwrap();
        assert_eq!((affected.sessions.len(), affected.is_cut), (3, false));
        assert_eq!(affected.user_ids(), ["u0", "u1"]);
        assert_eq!(affected.sessions[0].display, ["Leila"]);
        assert_eq!(AffectedSessions::from_timeline(&[]).unwrap(), AffectedSessions::default());
        let mut all = affected;
        all.add_sessions(AffectedSessions::from_report(&run("duplicate-tokens", "failing", 5)));
        assert_eq!((all.sessions.len(), all.user_ids().len()), (5, 3));
    }

    #[test]
    fn old_rows_and_users_with_many_sessions_are_not_affected() {
        assert!(AffectedSessions::from_report(&run("expired-backlog", "failing", 3)).sessions.is_empty());
        assert!(AffectedSessions::from_report(&run("unknown-check", "failing", 3)).sessions.is_empty());
        assert!(AffectedSessions::from_report(&run("duplicate-tokens", "failing", 10)).is_cut);
    }
}

//! The pages of documentation about checks.

/// Every page, by the id of its check.
const PAGES: [(&str, &str); 22] = [
    ("active-sessions", include_str!("../../../../docs/checks/active-sessions.md")),
    ("blind", include_str!("../../../../docs/checks/blind.md")),
    ("creation-rate", include_str!("../../../../docs/checks/creation-rate.md")),
    ("custom", include_str!("../../../../docs/checks/custom.md")),
    ("duplicate-tokens", include_str!("../../../../docs/checks/duplicate-tokens.md")),
    ("expired-backlog", include_str!("../../../../docs/checks/expired-backlog.md")),
    ("log-duplicate-token", include_str!("../../../../docs/checks/log-duplicate-token.md")),
    ("log-silence", include_str!("../../../../docs/checks/log-silence.md")),
    ("log-source-gap", include_str!("../../../../docs/checks/log-source-gap.md")),
    ("log-table-mismatch", include_str!("../../../../docs/checks/log-table-mismatch.md")),
    ("log-user-mismatch", include_str!("../../../../docs/checks/log-user-mismatch.md")),
    ("log-user-not-found", include_str!("../../../../docs/checks/log-user-not-found.md")),
    ("orphaned-sessions", include_str!("../../../../docs/checks/orphaned-sessions.md")),
    ("rapid-creation", include_str!("../../../../docs/checks/rapid-creation.md")),
    ("revived-sessions", include_str!("../../../../docs/checks/revived-sessions.md")),
    ("session-lifetime", include_str!("../../../../docs/checks/session-lifetime.md")),
    ("sessions-per-user", include_str!("../../../../docs/checks/sessions-per-user.md")),
    ("slow-observation", include_str!("../../../../docs/checks/slow-observation.md")),
    ("token-in-log", include_str!("../../../../docs/checks/token-in-log.md")),
    ("token-rebound", include_str!("../../../../docs/checks/token-rebound.md")),
    ("undelivered", include_str!("../../../../docs/checks/undelivered.md")),
    ("user-session-excess", include_str!("../../../../docs/checks/user-session-excess.md")),
];

/// The page about a check, in Markdown; nothing about checks of the operator's own.
#[must_use]
pub fn page(id: &str) -> Option<&'static str> {
    PAGES.iter().find(|(check, _)| *check == id).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks;

    #[test]
    fn every_check_has_a_page() {
        let all = checks::ALL.iter().map(|check| check.id).chain(checks::LOG.iter().map(|check| check.id));
        for id in all {
            assert!(page(id).is_some_and(|page| page.starts_with("# ")), "{id}");
        }
        assert_eq!(page("mine"), None);
    }
}

//! The commands that fix what a check found. This is the only table of them: reports, pages and notifications
//! all read it.

use sessionwatch_core::{
    checks::{
        CHANNEL_FAILING, TARGET_UNREACHABLE, active_sessions::ACTIVE_SESSIONS_CHECK,
        creation_rate::CREATION_RATE_CHECK, duplicate_tokens::DUPLICATE_TOKENS_CHECK,
        expired_backlog::EXPIRED_BACKLOG_CHECK, orphaned_sessions::ORPHANED_SESSIONS_CHECK,
        rapid_creation::RAPID_CREATION_CHECK, reappeared_sessions::REAPPEARED_SESSIONS_CHECK,
        session_lifetime::SESSION_LIFETIME_CHECK, sessions_per_user::SESSIONS_PER_USER_CHECK,
        slow_check_run::SLOW_CHECK_RUN_CHECK, token_reassigned::TOKEN_REASSIGNED_CHECK,
        user_session_excess::USER_SESSION_EXCESS_CHECK,
    },
    incident::IncidentSeverity,
    severity::Severity,
};

use crate::{
    checks::{LOG_CHECKS, LogCheckKind},
    environment::read_variable,
    sanitize::quote_for_shell,
};

/// Arguments after `sessionwatch`, by check id; `{target}` stands for the target and `{keep}` for the limit per
/// user. Commands that delete or revoke only print a plan until it is applied.
const FIX_COMMANDS: [(&str, &[&str]); 14] = [
    (DUPLICATE_TOKENS_CHECK.id, &["cleanup duplicates {target}", "doctor {target}"]),
    (TOKEN_REASSIGNED_CHECK.id, &["incident open {target} --severity P0"]),
    (REAPPEARED_SESSIONS_CHECK.id, &["incident open {target} --severity P1"]),
    (ORPHANED_SESSIONS_CHECK.id, &["cleanup orphaned {target}", "doctor {target}"]),
    (SESSIONS_PER_USER_CHECK.id, &["sessions top {target}"]),
    (USER_SESSION_EXCESS_CHECK.id, &["cleanup excess {target} --keep {keep}"]),
    (RAPID_CREATION_CHECK.id, &["sessions top {target} --by recent"]),
    (CREATION_RATE_CHECK.id, &["sessions top {target} --by recent"]),
    (EXPIRED_BACKLOG_CHECK.id, &["cleanup expired {target}"]),
    (ACTIVE_SESSIONS_CHECK.id, &["sessions list {target} --status active"]),
    (SESSION_LIFETIME_CHECK.id, &["sessions list {target} --sort expires"]),
    (SLOW_CHECK_RUN_CHECK.id, &["doctor {target}"]),
    (TARGET_UNREACHABLE, &["doctor {target}"]),
    (CHANNEL_FAILING, &["notifications failed"]),
];

/// Sessions to keep per user where the check names no limit: a few devices.
const DEFAULT_KEEP: u64 = 5;

/// The target of a command line whose address cannot be shown in full.
const ADDRESS_VARIABLE: &str = "\"$DATABASE_URL\"";

/// Variable with the command that the program was started by, where a launcher of a package manager sets it.
const COMMAND_VARIABLE: &str = "SESSIONWATCH_COMMAND";
/// The command of the launcher in the npm package.
const NPX_COMMAND: &str = "npx sessionwatch";

/// Returns the commands that fix a finding, in order, ready to paste into a shell. Empty for custom checks.
///
/// `target` is empty if commands find it without a name.
/// `user_limit` is the limit per user that the check applied, where it has one.
#[must_use]
pub fn fix_commands(check_id: &str, target: &str, user_limit: Option<u64>) -> Vec<String> {
    let arguments = FIX_COMMANDS
        .iter()
        .find(|(id, _)| *id == check_id)
        .map_or_else(|| log_check_arguments(check_id), |(_, arguments)| arguments);
    let keep = user_limit.unwrap_or(DEFAULT_KEEP).to_string();
    arguments.iter().map(|line| render_command(&line.replace("{keep}", &keep), target)).collect()
}

/// Returns the command that prints the query of a check.
pub(crate) fn query_command(check_id: &str, target: &str) -> String {
    render_command(&format!("sql {check_id} {{target}}"), target)
}

/// Returns a command as it is typed, with the target instead of `{target}`.
fn render_command(arguments: &str, target: &str) -> String {
    // Only the launcher's own command, so that no variable can put another one into a report.
    let command = read_variable(COMMAND_VARIABLE).filter(|command| command == NPX_COMMAND);
    let command = command.as_deref().unwrap_or("sessionwatch");
    let target = if target.is_empty() { String::new() } else { format!(" {}", target_argument(target)) };
    format!("{command} {}", arguments.replace(" {target}", &target))
}

/// Returns the plan that fixes a finding, by its name on the command line, such as `expired`; `None` if no plan does.
#[must_use]
pub fn plan_for_check(check_id: &str) -> Option<&'static str> {
    let (_, arguments) = FIX_COMMANDS.iter().find(|(id, _)| *id == check_id)?;
    let mut words = arguments.first()?.strip_prefix("cleanup ")?.split(' ');
    words.next()
}

/// Returns the severity of an incident about a check, as its fix names it; P1 if that names none.
#[must_use]
pub fn incident_severity_for_check(check_id: &str) -> IncidentSeverity {
    let commands = fix_commands(check_id, "", None);
    let named = commands.iter().find_map(|command| command.split_once("--severity ")?.1.parse().ok());
    named.unwrap_or(IncidentSeverity::P1)
}

/// Returns the fixes of a built-in log check.
fn log_check_arguments(check_id: &str) -> &'static [&'static str] {
    let Some(check) = LOG_CHECKS.iter().find(|check| check.id == check_id) else { return &[] };
    match check.kind {
        LogCheckKind::IdleSource | LogCheckKind::SourceGaps => &["logs sources"],
        LogCheckKind::Events(_) | LogCheckKind::UserConflicts if check.severity == Severity::Critical => {
            &["logs events {target}", "incident open {target} --severity P0"]
        }
        LogCheckKind::Events(_) | LogCheckKind::UserConflicts => &["logs events {target}"],
    }
}

/// Returns `true` if the target is an address whose password is masked, so that no command can name it.
pub(crate) fn is_masked(target: &str) -> bool {
    target.contains("***")
}

/// Returns the target as one word of a POSIX shell.
pub(crate) fn target_argument(target: &str) -> String {
    if is_masked(target) {
        return ADDRESS_VARIABLE.to_owned();
    }
    quote_for_shell(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_known_for_each_check_that_a_cleanup_fixes() {
        let plans =
            ["duplicate-tokens", "expired-backlog", "user-session-excess", "token-reassigned", "mine"]
                .map(plan_for_check);
        assert_eq!(plans, [Some("duplicates"), Some("expired"), Some("excess"), None, None]);
    }
    use crate::checks::TABLE_CHECKS;

    #[test]
    fn an_incident_has_the_severity_that_the_fix_names() {
        let severities = ["log-user-mismatch", "token-reassigned", "reappeared-sessions", "duplicate-tokens"]
            .map(incident_severity_for_check);
        use IncidentSeverity::{P0, P1};
        assert_eq!(severities, [P0, P0, P1, P1]);
    }

    #[test]
    fn every_built_in_check_has_a_fix_that_names_the_target() {
        for id in TABLE_CHECKS.iter().map(|check| check.id).chain([TARGET_UNREACHABLE]) {
            let commands = fix_commands(id, "main", None);
            assert!(commands.iter().all(|command| command.contains(" main")), "{id}: {commands:?}");
            assert!(!commands.is_empty(), "{id}");
        }
        for id in LOG_CHECKS.iter().map(|check| check.id).chain([CHANNEL_FAILING]) {
            assert!(!fix_commands(id, "main", None).is_empty(), "{id}");
        }
        assert!(fix_commands("mine", "main", None).is_empty());
    }

    #[test]
    fn commands_are_ready_to_paste() {
        let first = |id, target, limit| fix_commands(id, target, limit).swap_remove(0);
        assert_eq!(first("orphaned-sessions", "main", None), "sessionwatch cleanup orphaned main");
        assert_eq!(
            first("user-session-excess", "main", Some(11)),
            "sessionwatch cleanup excess main --keep 11"
        );
        assert_eq!(
            first("expired-backlog", "sqlite:my app's.db", None),
            "sessionwatch cleanup expired 'sqlite:my app'\\''s.db'"
        );
        assert_eq!(
            first("duplicate-tokens", "postgres://ada:***@db/shop", None),
            "sessionwatch cleanup duplicates \"$DATABASE_URL\""
        );
        assert_eq!(first("duplicate-tokens", "", None), "sessionwatch cleanup duplicates");
        assert_eq!(first("user-session-excess", "", None), "sessionwatch cleanup excess --keep 5");
        assert_eq!(query_command("duplicate-tokens", "main"), "sessionwatch sql duplicate-tokens main");
    }
}

//! Cards of the candidates for a cleanup, one for each kind of sessions that it removes.

use maud::{Markup, html};
use sessionwatch_app::app::cleanup::{CleanupCandidate, CleanupKind, CleanupState};
use sessionwatch_core::plural::{format_count, format_number};

use crate::{
    components::{Icon, PillTone, render_pill, render_severity_pill},
    format::{format_relative_time, percent_encode, sanitize_text},
    shell::{Shell, render_csrf_field},
};

/// Returns the state of all kinds in one sentence.
pub(super) fn summarize_candidates(candidates: &[CleanupCandidate], target: &str) -> String {
    let failing: Vec<&CleanupCandidate> = candidates.iter().filter(|one| one.is_failing()).collect();
    let is_unknown =
        |one: &&CleanupCandidate| matches!(one.state, CleanupState::Unknown | CleanupState::NotChecked);
    let unknown = candidates.iter().filter(is_unknown).count();
    match failing.as_slice() {
        [] if unknown == candidates.len() => format!("No cleanup results for {target}"),
        [] if unknown == 0 => format!("Nothing on {target} needs a cleanup"),
        // Unknown is not clean.
        [] => {
            let kinds = format_count(unknown as u64, "kind was", "kinds were");
            format!("Nothing found to clean up on {target}, but {kinds} not checked")
        }
        [one] => format!("{} on {target} {} a cleanup", count_phrase(one), inflect_need(one)),
        [first, second] => {
            format!("{} and {} on {target} need cleanup", count_phrase(first), count_phrase(second))
        }
        more => format!(
            "{} of sessions on {target} need cleanup",
            format_count(more.len() as u64, "kind", "kinds")
        ),
    }
}

fn inflect_need(candidate: &CleanupCandidate) -> &'static str {
    if candidate.count == Some(1) && !candidate.is_lower_bound { "needs" } else { "need" }
}

fn count_phrase(candidate: &CleanupCandidate) -> String {
    let [one, many] = match candidate.kind {
        CleanupKind::Duplicates => ["duplicate token", "duplicate tokens"],
        CleanupKind::Expired => ["expired session", "expired sessions"],
        CleanupKind::Orphaned => ["orphaned session", "orphaned sessions"],
        CleanupKind::Excess => ["user with too many sessions", "users with too many sessions"],
    };
    let at_least = if candidate.is_lower_bound { "at least " } else { "" };
    candidate
        .count
        .map_or_else(|| many.to_owned(), |count| format!("{at_least}{}", format_count(count, one, many)))
}

/// Renders the cards.
pub(super) fn render_kinds(shell: &Shell, target: &str, candidates: &[CleanupCandidate]) -> Markup {
    html! { div.kinds { @for candidate in candidates { (render_kind(shell, target, candidate)) } } }
}

fn render_kind(shell: &Shell, target: &str, candidate: &CleanupCandidate) -> Markup {
    let id = format!("kind-{}", candidate.kind.name());
    let class = if candidate.is_failing() { "card kind" } else { "card kind kind-quiet" };
    let path =
        format!("/targets/{}/checks/{}", percent_encode(target), percent_encode(candidate.kind.check_id()));
    html! {
        section class=(class) aria-labelledby=(id) {
            div.row.between {
                h2.h3 id=(id) {
                    // A check that has never run has no page.
                    @if candidate.state == CleanupState::NotChecked { (kind_title(candidate.kind)) }
                    @else { a href=(path) { (kind_title(candidate.kind)) } }
                }
                (render_kind_pill(candidate))
            }
            div {
                div.kind-count {
                    (candidate.count.map_or_else(|| "–".to_owned(), format_number))
                    @if candidate.is_lower_bound { "+" }
                }
                p.muted { (kind_note(candidate, shell)) }
            }
            div {
                @if candidate.count == Some(0) { span.muted { "Nothing to clean up" } }
                @else if shell.can_respond() { (render_plan_form(shell, target, candidate)) }
                @else { span.muted { "Responders can review a plan" } }
            }
        }
    }
}

fn kind_title(kind: CleanupKind) -> &'static str {
    match kind {
        CleanupKind::Duplicates => "Duplicate tokens",
        CleanupKind::Expired => "Expired sessions",
        CleanupKind::Orphaned => "Orphaned sessions",
        CleanupKind::Excess => "Excess sessions",
    }
}

fn render_kind_pill(candidate: &CleanupCandidate) -> Markup {
    match candidate.state {
        CleanupState::Failing => render_severity_pill(candidate.severity),
        CleanupState::Pending => render_pill(PillTone::Unknown, Icon::Hourglass, "Pending"),
        CleanupState::Acknowledged => render_pill(PillTone::Quiet, Icon::UserRoundCheck, "Acknowledged"),
        CleanupState::Passing => render_pill(PillTone::Passing, Icon::CircleCheck, "Passing"),
        CleanupState::Unknown => render_pill(PillTone::Unknown, Icon::CircleQuestionMark, "Unknown"),
        CleanupState::NotChecked => render_pill(PillTone::Quiet, Icon::Minus, "Not checked"),
    }
}

/// Describes what is counted, and since when.
fn kind_note(candidate: &CleanupCandidate, shell: &Shell) -> String {
    if candidate.count.is_none() && !candidate.reason.is_empty() {
        return sanitize_text(&candidate.reason);
    }
    let is_one = candidate.count == Some(1);
    let noun = match (candidate.kind, candidate.user_limit) {
        (CleanupKind::Duplicates, _) if is_one => "token shared by several sessions".to_owned(),
        (CleanupKind::Duplicates, _) => "tokens shared by several sessions".to_owned(),
        (CleanupKind::Expired, _) => {
            if is_one { "session still stored" } else { "sessions still stored" }.to_owned()
        }
        (CleanupKind::Orphaned, _) if is_one => "session of a deleted user".to_owned(),
        (CleanupKind::Orphaned, _) => "sessions of deleted users".to_owned(),
        (CleanupKind::Excess, limit) => {
            let users = if is_one { "user" } else { "users" };
            let most = limit.map_or_else(
                || "too many sessions".to_owned(),
                |limit| format!("more than {}", format_count(limit, "session", "sessions")),
            );
            format!("{users} with {most}")
        }
    };
    match (candidate.oldest, candidate.failing_since) {
        (Some(oldest), _) => {
            let oldest = format_relative_time(oldest, shell.now);
            if is_one {
                format!("{noun}, expired {oldest}")
            } else {
                format!("{noun}, the oldest expired {oldest}")
            }
        }
        (None, Some(since)) if candidate.count != Some(0) => {
            format!("{noun}, found {}", format_relative_time(since, shell.now))
        }
        _ => noun,
    }
}

/// Renders the button that creates a plan with the usual limits.
fn render_plan_form(shell: &Shell, target: &str, candidate: &CleanupCandidate) -> Markup {
    html! {
        form method="post" action="/cleanup" {
            (render_csrf_field(&shell.user))
            input type="hidden" name="target" value=(target);
            input type="hidden" name="kind" value=(candidate.kind.name());
            button.btn aria-label={ "Review plan: " (kind_title(candidate.kind)) } { "Review plan" }
        }
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::severity::Severity;

    use super::*;

    fn candidate(state: CleanupState) -> CleanupCandidate {
        CleanupCandidate {
            kind: CleanupKind::Expired,
            state,
            severity: Severity::Medium,
            count: None,
            is_lower_bound: false,
            failing_since: None,
            oldest: None,
            user_limit: None,
            reason: String::new(),
        }
    }

    #[test]
    fn what_could_not_be_checked_is_not_called_clean() {
        use CleanupState::{NotChecked, Passing, Unknown};
        for (states, expected) in [
            (vec![Passing, Passing], "Nothing on app needs a cleanup"),
            (vec![Passing, Unknown], "Nothing found to clean up on app, but 1 kind was not checked"),
            (
                vec![Unknown, Passing, NotChecked],
                "Nothing found to clean up on app, but 2 kinds were not checked",
            ),
            (vec![Unknown, NotChecked], "No cleanup results for app"),
        ] {
            let candidates: Vec<CleanupCandidate> = states.into_iter().map(candidate).collect();
            assert_eq!(summarize_candidates(&candidates, "app"), expected);
        }
    }
}

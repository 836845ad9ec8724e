//! Side column of a check page: what to do, how the check works, and its documentation.

use maud::{Markup, html};
use sessionwatch_app::{
    checks::{TABLE_CHECKS, find_documentation},
    report::fix::{fix_commands, plan_for_check},
    schedule::Schedule,
};
use sessionwatch_clock as clock;

use super::{CheckView, header::list_names};
use crate::{
    components::{Card, render_code_block, render_quiet_severity_pill},
    format::{
        capitalize_first, format_amount, format_length, render_relative_time, render_sentence, sanitize_text,
    },
    markdown::render_markdown,
};

impl CheckView<'_> {
    /// Renders the next step in words, and the commands that do it.
    pub(super) fn render_what_to_do(&self) -> Markup {
        let action = capitalize_first(self.result_text("action"));
        let commands = fix_commands(&self.alert.check, &self.alert.target, Some(self.user_limit()));
        if self.failing_since().is_none() || action.is_empty() && commands.is_empty() {
            return html! {};
        }
        let body = html! {
            div.stack-s {
                @if !action.is_empty() { p { (render_sentence(&action)) @if !action.ends_with('.') { "." } } }
                @if !commands.is_empty() {
                    p.muted {
                        "On the command line"
                        @if plan_for_check(&self.alert.check).is_some() {
                            ", where a plan is shown before anything is deleted"
                        }
                        ":"
                    }
                    @for command in &commands { (render_code_block("command", command)) }
                }
                @if find_documentation(&self.alert.check).is_some() { p { a href="#runbook" { "Read the runbook" } } }
            }
        };
        let card = Card { id: "what-to-do", title: "What to do", note: "", end: html! {}, body };
        html! { div.early { (card.render_padded()) } }
    }

    /// Renders how the alert ended the last time; nothing if it never fired before.
    pub(super) fn render_last_time(&self) -> Markup {
        let history = &self.details.history;
        let Some(end) = history.iter().rposition(|event| event.kind == "resolved") else { return html! {} };
        let resolved = &history[end];
        let started = history[..end].iter().rev().take_while(|event| event.kind != "resolved");
        let started = started.filter(|event| event.kind == "firing").last();
        let lasted = started.map(|event| format_length(resolved.at.duration_since(event.at)));
        let note = match lasted {
            Some(lasted) => format!("{}, for {lasted}", clock::format_day(resolved.at)),
            None => clock::format_day(resolved.at),
        };
        let summary = capitalize_first(&resolved.summary);
        let body = html! {
            @if let Some(event) = started { p { (render_sentence(&capitalize_first(&event.summary))) "." } }
            p.muted {
                "Resolved " (render_relative_time(resolved.at, self.shell.now)) ": " (render_sentence(&summary)) "."
            }
        };
        Card { id: "last-time", title: "Last time", note: &note, end: html! {}, body }.render_padded()
    }

    /// Renders threshold, schedule, last run and channels.
    pub(super) fn render_facts(&self) -> Markup {
        let threshold = describe_threshold(&sanitize_text(self.result_text("threshold")));
        let text = self.text();
        let channels = self.channel_names();
        let result = self.last_result();
        let schedules = self.schedules();
        let body = html! {
            dl.defs {
                dt { "Severity" } dd { (render_quiet_severity_pill(self.severity())) }
                @if !threshold.is_empty() {
                    dt { "Fails if" } dd { (threshold) @if !text.impact.is_empty() { div.hint { (text.impact) } } }
                }
                @if let Some(value) = self.result_value() { dt { "Value" } dd { (format_amount(value)) } }
                @if !schedules.is_empty() { dt { "Schedule" } dd { @for line in &schedules { div { (line) } } } }
                dt { "Last run" } dd {
                    (render_relative_time(self.alert.updated_at, self.shell.now))
                    @if let Some(report) = &self.check_history.report {
                        @if let Some(duration) = report.document["duration_ms"].as_f64() {
                            ", " (format_amount(duration.round())) " ms"
                        }
                    }
                }
                @if let Some(engine) = self.engine_text() { dt { "Engine" } dd { (engine) } }
                @if let Some(index) = result["proof"].as_str() {
                    dt { "Proven by" } dd { code { (sanitize_text(index)) } }
                }
                dt { "Notifies" } dd {
                    @if channels.is_empty() {
                        "No channel" div.hint {
                            @if self.config.serve.channels.is_empty() {
                                "Add a channel to the configuration, so that somebody is notified."
                            } @else {
                                "No route sends this alert to a channel. Add a [[route]] or a [[channel]]."
                            }
                        }
                    }
                    @else { (list_names(&channels)) }
                }
            }
        };
        Card { id: "about", title: "About this check", note: "", end: html! {}, body }.render_padded()
    }

    fn engine_text(&self) -> Option<String> {
        let report = &self.check_history.report.as_ref()?.document;
        let engine = report["engine"].as_str()?;
        let sessions = report["stats"]["sessions"].as_f64();
        Some(sessions.map_or_else(
            || engine.to_owned(),
            |sessions| format!("{engine}, {} sessions", format_amount(sessions)),
        ))
    }

    /// Returns when the check runs, one line for each schedule.
    fn schedules(&self) -> Vec<String> {
        let entries = self.config.check_schedules(self.target);
        let mine = entries.iter().filter(|entry| entry.checks.contains(&self.alert.check));
        mine.map(|entry| describe_schedule(&entry.schedule)).collect()
    }

    /// Renders a link to the query behind the check; nothing for checks without one.
    pub(super) fn render_query_link(&self) -> Markup {
        if TABLE_CHECKS.iter().all(|check| check.id != self.alert.check) {
            return html! {};
        }
        let body = html! {
            div.stack-s {
                p.muted { "SQL that returns the same rows." }
                p { a.btn href={ (self.path()) "/query" } { "Show query" } }
            }
        };
        Card { id: "query", title: "Query", note: "", end: html! {}, body }.render_padded()
    }

    /// Renders the documentation of the check.
    pub(super) fn render_runbook(&self) -> Markup {
        let Some(page) = find_documentation(&self.alert.check) else { return html! {} };
        let body = html! { div.doc.documentation { (render_markdown(page)) } };
        let card = Card { id: "runbook", title: "Runbook", note: "", end: html! {}, body };
        html! { div.late { (card.render_padded()) } }
    }
}

/// Writes a threshold out: `> 205, or older than 7 days` becomes `above 205, or older than 7 days`.
fn describe_threshold(threshold: &str) -> String {
    threshold.replace("> ", "above ").replace("< ", "below ")
}

fn describe_schedule(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Every(distance) => format!("Every {}", format_length(*distance)),
        Schedule::Cron(cron, _) => format!("Cron: {}", cron.pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_written_out() {
        assert_eq!(describe_threshold("> 205, or older than 7 days"), "above 205, or older than 7 days");
        assert_eq!(describe_threshold("< 50 or > 500"), "below 50 or above 500");
    }
}

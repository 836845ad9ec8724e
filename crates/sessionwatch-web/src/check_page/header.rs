//! The head of the page: state, title, meaning, and who has been notified.

use maud::{Markup, html};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::AlertState, timestamp::UtcTimestamp};

use super::CheckView;
use crate::{
    alert_parts::check_state,
    components::{
        Callout, Crumb, Icon, PageHeader, PillTone, Tone, render_icon, render_pill,
        render_quiet_severity_pill, render_severity_pill, render_state_pill,
    },
    format::{
        capitalize_first, format_length, percent_encode, render_moment, render_relative_time,
        render_sentence, sanitize_text,
    },
    shell::render_csrf_field,
};

/// Most channels that are named.
const MAX_NAMED_CHANNELS: usize = 3;

impl CheckView<'_> {
    /// Renders the title, the actions, and what restricts the result.
    pub(super) fn render_header(&self) -> Markup {
        let (text, target) = (self.text(), &self.alert.target);
        let header = PageHeader {
            crumbs: vec![
                Crumb { href: "/alerts".into(), text: "Alerts".into() },
                Crumb { href: format!("/targets/{}", percent_encode(target)), text: target.clone() },
            ],
            pills: self.render_pills(),
            headline: &text.title,
            id: &self.alert.check,
            lead: self.render_lead(),
            meta: self.render_meta(),
            ..PageHeader::default()
        };
        html! {
            div.check-head { (header.render()) (self.render_actions()) }
            (self.render_unknown_callout())
            (self.render_silences())
        }
    }

    fn render_pills(&self) -> Markup {
        let state = check_state(self.alert);
        let is_urgent = matches!(state, "failing" | "pending");
        let severity = self.severity();
        let silence = self.details.silences.iter().map(|silence| silence.ends_at).max();
        html! {
            @if is_urgent { (render_severity_pill(severity)) } @else { (render_quiet_severity_pill(severity)) }
            @match (state, self.failing_since()) {
                ("failing", Some(since)) => {
                    @let text = format!("Firing for {}", self.length_since(since));
                    (render_pill(PillTone::Failing, Icon::Bell, &text))
                }
                ("pending", Some(since)) => {
                    @let text = format!("Pending for {}", self.length_since(since));
                    (render_pill(PillTone::Unknown, Icon::Hourglass, &text))
                }
                _ => (render_state_pill(state)),
            }
            @if silence.is_some() { (render_state_pill("silenced")) }
        }
    }

    fn length_since(&self, at: UtcTimestamp) -> String {
        format_length(self.shell.now.duration_since(at))
    }

    /// Renders what the last run found, and, unless all is well, what that means.
    fn render_lead(&self) -> Markup {
        let summary = capitalize_first(&self.alert.summary);
        let text = self.text();
        html! {
            (render_sentence(&summary)) @if !summary.ends_with(['.', '!', '?']) { "." }
            @if self.failing_since().is_some() { " " (text.impact) }
        }
    }

    fn render_meta(&self) -> Markup {
        let (alert, now) = (self.alert, self.shell.now);
        let fires = self.is_firing();
        html! {
            span {
                (render_icon(Icon::Database)) a href={ "/targets/" (percent_encode(&alert.target)) } { (alert.target) }
            }
            @if let Some(since) = self.failing_since() {
                span { (render_icon(Icon::Clock)) "Since " (render_moment(since, now)) }
            } @else {
                span { (render_icon(Icon::Clock)) "Checked " (render_relative_time(alert.updated_at, now)) }
            }
            @if fires {
                span {
                    (render_icon(Icon::User))
                    @match &alert.acknowledged_by {
                        Some(owner) => { "Acknowledged by " (sanitize_text(owner)) },
                        None => "Not acknowledged",
                    }
                }
            }
            @if let Some(note) = &alert.note { span.note { (render_icon(Icon::MessageSquare)) (sanitize_text(note)) } }
            @if fires { span { (render_icon(Icon::Send)) (self.delivery_text()) } }
        }
    }

    /// Says who has been notified of the firing alert.
    fn delivery_text(&self) -> String {
        let is_notified = matches!(self.alert.alert.state, AlertState::Firing { notified_at: Some(_), .. });
        let channels = self.channel_names();
        match (is_notified, channels.is_empty()) {
            (false, _) if !self.details.silences.is_empty() => "Nobody notified: silenced".into(),
            (false, _) => "Nobody notified".into(),
            (true, true) if self.config.serve.channels.is_empty() => "No channel is configured".into(),
            (true, true) => "No channel receives this alert".into(),
            (true, false) => format!("Sent to {}", list_names(&channels)),
        }
    }

    /// Returns the names of the channels that are notified of this check.
    pub(super) fn channel_names(&self) -> Vec<String> {
        let channels = self.config.serve.channels_for(&self.alert.target, &self.alert.check, self.severity());
        channels.into_iter().map(|channel| channel.name.clone()).collect()
    }

    /// Renders why the state may be out of date.
    fn render_unknown_callout(&self) -> Markup {
        if self.alert.verdict.as_deref() != Some("unknown") {
            return html! {};
        }
        // The check may be informational: then only the report has the reason.
        let reason = self.alert.unknown_reason.as_deref().or(self.last_result()["reason"].as_str());
        let reason = reason.map(|reason| capitalize_first(&sanitize_text(reason)));
        if check_state(self.alert) == "skipped" {
            let text = html! {
                @if let Some(reason) = reason { (reason) ". " }
                "This does not affect the state of the target."
            };
            let title = "This check is skipped";
            return Callout { tone: Tone::Neutral, title, text, action: html! {} }.render();
        }
        let since =
            self.check_history.results.last().filter(|(_, name)| name == "unknown").map(|(at, _)| *at);
        let text = html! {
            @if let Some(reason) = reason { (reason) ". " }
            "What is shown here is from an earlier run. Unknown never counts as passing."
        };
        let title = since.map_or_else(
            || "The result is unknown".to_owned(),
            |at| format!("The result is unknown since {}", clock::format_utc(at)),
        );
        let path = format!("/targets/{}/doctor", percent_encode(&self.alert.target));
        Callout {
            tone: Tone::Warn,
            title: &title,
            text,
            action: html! { a.btn href=(path) { "Run doctor" } },
        }
        .render()
    }

    /// Renders the silences that cover the check, each with a button that ends it.
    fn render_silences(&self) -> Markup {
        html! {
            @for silence in &self.details.silences {
                @let end = clock::format_utc(silence.ends_at);
                @let title = match &silence.subject {
                    Some(subject) => format!("Silenced for {} until {end}", sanitize_text(subject)),
                    None => format!("Silenced until {end}"),
                };
                @let action = html! {
                    @if self.shell.can_respond() {
                        form method="post" action="/silences/expire" {
                            (render_csrf_field(&self.shell.user))
                            input type="hidden" name="silence" value=(silence.id);
                            input type="hidden" name="back" value=(self.path());
                            button.btn { "End silence" }
                        }
                    }
                };
                @let text = html! { "By " (sanitize_text(&silence.created_by)) ": " (sanitize_text(&silence.note)) };
                (Callout { tone: Tone::Neutral, title: &title, text, action }.render())
            }
        }
    }
}

/// Lists a few names: `a, b and 3 more`.
pub(super) fn list_names(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        [only] => only.clone(),
        [first @ .., last] if names.len() <= MAX_NAMED_CHANNELS => format!("{} and {last}", first.join(", ")),
        _ => {
            let (shown, rest) = names.split_at(MAX_NAMED_CHANNELS - 1);
            format!("{} and {} more", shown.join(", "), rest.len())
        }
    }
}

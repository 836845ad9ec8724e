//! The notification channels, for admins: what they receive, the last delivery, and test messages.

use maud::{Markup, html};
use sessionwatch_app::{app::channels::ChannelStatus, config::NotificationRoute};
use sessionwatch_core::{plural::format_count, severity::Severity};

use crate::{
    components::{
        Callout, Card, Column, Crumb, DataTable, EmptyState, Icon, PageHeader, PillTone, Tone,
        render_code_block, render_icon, render_pill,
    },
    format::{render_relative_time, sanitize_lines, sanitize_text},
    shell::{Shell, render_csrf_field},
};

const CHANNEL_COLUMNS: [Column<'_>; 5] = [
    Column::text("Channel"),
    Column::text("Kind"),
    Column::fill("Receives"),
    Column::text("Last delivery"),
    Column::text(""),
];

/// Renders the channels, and how to retry messages that were given up.
pub(super) fn render_channels(shell: &Shell, channels: &[ChannelStatus]) -> Markup {
    let body = if channels.is_empty() {
        let text = html! {
            "Add a " code { "[[channel]]" } " section to the configuration to be notified by email or chat."
        };
        EmptyState { icon: Icon::BellOff, title: "Nobody is notified", text, action: html! {} }.render()
    } else {
        let rows = html! { @for channel in channels { (render_channel(shell, channel)) } };
        let table = DataTable { label: "Channels", class: "table-cards", columns: &CHANNEL_COLUMNS, rows };
        html! {
            (table.render())
            @for channel in channels.iter().filter(|channel| channel.deliveries.failed > 0) { (render_failed(channel)) }
        }
    };
    Card { id: "channels", title: "Channels", note: "", end: html! {}, body }.render()
}

fn render_channel(shell: &Shell, channel: &ChannelStatus) -> Markup {
    let button = html! { button.btn.btn-s { (render_icon(Icon::Send)) "Send test" } };
    html! {
        tr {
            td.first.strong { (channel.name) }
            td.up.muted { (channel.kind) }
            td.receives.span {
                @match &channel.problem {
                    Some(problem) => (sanitize_text(problem)),
                    None => (describe_routes(channel.routes.as_deref())),
                }
            }
            td.delivery { (render_delivery(shell, channel)) }
            td.end { @if channel.problem.is_none() { (render_test_form(shell, &channel.name, &button)) } }
        }
    }
}

fn render_test_form(shell: &Shell, channel: &str, button: &Markup) -> Markup {
    html! {
        form method="post" action="/settings/channels/test" {
            (render_csrf_field(&shell.user))
            input type="hidden" name="channel" value=(channel);
            (button)
        }
    }
}

fn render_delivery(shell: &Shell, channel: &ChannelStatus) -> Markup {
    let deliveries = &channel.deliveries;
    let error = deliveries.last_error.as_deref().map(sanitize_text);
    html! {
        span.row {
            @if channel.problem.is_some() { (render_pill(PillTone::Failing, Icon::CircleX, "Not used")) }
            @else if deliveries.failed > 0 {
                (render_pill(PillTone::Failing, Icon::CircleX, &format!("{} undelivered", deliveries.failed)))
            }
            @else if deliveries.waiting > 0 && deliveries.last_error.is_some() {
                (render_pill(PillTone::Stale, Icon::Clock, &format!("{} retrying", deliveries.waiting)))
            }
            @else if deliveries.waiting > 0 {
                (render_pill(PillTone::Unknown, Icon::Hourglass, &format!("{} waiting", deliveries.waiting)))
            }
            @else if deliveries.delivered_at.is_some() {
                (render_pill(PillTone::Passing, Icon::CircleCheck, "Delivered"))
            }
            @else { span.muted { "Nothing sent yet" } }
            @if let Some(at) = deliveries.delivered_at { span.muted { (render_relative_time(at, shell.now)) } }
        }
        @if let Some(error) = error { p.hint { (error) } }
    }
}

/// Renders the error of messages that were given up, and the command that sends them again.
fn render_failed(channel: &ChannelStatus) -> Markup {
    let count = format_count(channel.deliveries.failed, "message was", "messages were");
    let title = format!("{count} not delivered through {}", channel.name);
    let error = channel.deliveries.last_error.as_deref().map(sanitize_text).unwrap_or_default();
    let text = html! {
        @if !error.is_empty() { (error) ". " }
        "When the cause is fixed, send them again with " code { "sessionwatch notifications retry " (channel.name) } "."
    };
    html! { div.card-body { (Callout { tone: Tone::Bad, title: &title, text, action: html! {} }.render()) } }
}

/// Returns which alerts a channel receives. Without any routes, every channel receives every alert.
fn describe_routes(routes: Option<&[NotificationRoute]>) -> String {
    match routes {
        None => "Every alert".to_owned(),
        Some([]) => "No alerts: no route names it".to_owned(),
        Some(routes) => routes.iter().map(describe_route).collect::<Vec<_>>().join("; "),
    }
}

fn describe_route(route: &NotificationRoute) -> String {
    let mut text = match route.min_severity {
        Severity::Low => "Every alert".to_owned(),
        Severity::Critical => "Critical alerts".to_owned(),
        severity => format!("Alerts of {} severity and above", severity.name()),
    };
    for (noun, names) in [("of", &route.checks), ("on", &route.targets)] {
        if !names.is_empty() {
            text = format!("{text} {noun} {}", names.join(", "));
        }
    }
    text
}

/// Renders what a channel replied to a test message.
pub(super) fn render_test_result(shell: &Shell, channel: &str, problems: &[String]) -> Markup {
    let crumbs = vec![
        Crumb { href: "/settings".into(), text: "Settings".into() },
        Crumb { href: "/settings#channels".into(), text: "Channels".into() },
    ];
    let is_accepted = problems.is_empty();
    let headline = if is_accepted {
        format!("{channel} accepted the test message")
    } else {
        format!("{channel} did not accept the test message")
    };
    let pills = if is_accepted {
        render_pill(PillTone::Passing, Icon::CircleCheck, "Delivered")
    } else {
        render_pill(PillTone::Failing, Icon::CircleX, "Failed")
    };
    let lead = html! {
        @if is_accepted {
            "It is marked as a test. If it does not arrive, look into the spam folder, or ask the channel's owner."
        } @else {
            "Nothing else was sent. Alerts through this channel would fail in the same way and be retried."
        }
    };
    html! {
        (PageHeader { crumbs, pills, headline: &headline, lead, ..PageHeader::default() }.render())
        @if !is_accepted {
            (Card {
                id: "reply",
                title: "Why it failed",
                note: "",
                end: html! {},
                body: html! {
                    div.stack-s {
                        (render_code_block("Error", &sanitize_lines(&problems.join("\n"))))
                        p.muted {
                            "Check the address and the credentials in the " code { "[[channel]]" }
                            " section, and whether this machine can reach the service."
                        }
                    }
                },
            }.render_padded())
        }
        div.actions {
            (render_test_form(shell, channel, &html! { button.btn.btn-primary { "Send again" } }))
            a.btn.btn-ghost href="/settings#channels" { "Back to channels" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(min_severity: Severity, checks: &[&str], targets: &[&str]) -> NotificationRoute {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NotificationRoute { channels: vec![], min_severity, targets: owned(targets), checks: owned(checks) }
    }

    #[test]
    fn routes_are_described_in_words() {
        assert_eq!(describe_routes(None), "Every alert");
        assert_eq!(describe_routes(Some(&[])), "No alerts: no route names it");
        let both = [route(Severity::Critical, &[], &[]), route(Severity::High, &["x", "y"], &["app"])];
        assert_eq!(
            describe_routes(Some(&both)),
            "Critical alerts; Alerts of high severity and above of x, y on app"
        );
    }
}

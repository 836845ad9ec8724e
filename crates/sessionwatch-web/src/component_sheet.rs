//! The page that shows every component in both themes.

use maud::{Markup, html};
use sessionwatch_core::{duration::HOUR, severity::Severity, timestamp::UtcTimestamp};

use super::{
    components::{
        AvatarSize, Callout, Card, Column, DataTable, Dialog, EmptyState, Icon, Menu, MenuItem, PageHeader,
        Sparkline, StatProblem, StatTile, Step, StepState, TimelineEntry, TimelineTone, Tone, render_avatar,
        render_code_block, render_icon, render_severity_pill, render_stat_tiles, render_state_pill,
        render_stepper, render_timeline, render_user,
    },
    format::render_moment,
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

const PILL_STATES: [&str; 12] = [
    "passing",
    "failing",
    "unknown",
    "pending",
    "acknowledged",
    "silenced",
    "stale",
    "ready",
    "applied",
    "open",
    "skipped",
    "resolved",
];

pub(crate) async fn show_components(shell: Shell) -> PageResult {
    let header = PageHeader {
        headline: "Components",
        lead: html! { "Every part of the dashboard, in both themes." },
        ..PageHeader::default()
    };
    let body = html! { (header.render()) (render_component_sheet(shell.now)) };
    let page = PageHead { title: "Components", section: NavSection::Settings, target: None, live: false };
    Ok(shell.render_page(page, &body))
}

/// Renders every component.
fn render_component_sheet(now: UtcTimestamp) -> Markup {
    let card = |id, title, body| Card { id, title, note: "", end: html! {}, body };
    let steps = card("steps", "Stepper", render_steps());
    let timeline = card("timeline", "Timeline", render_events(now));
    html! {
        div.sheet {
            section aria-labelledby="pills" {
                h2.h2 id="pills" { "Pills and buttons" }
                div.grid-2 {
                    @for theme in ["light", "dark"] {
                        div.theme-pane data-theme=(theme) { (render_pills_and_buttons()) }
                    }
                }
            }
            section aria-labelledby="tiles" { h2.h2 id="tiles" { "Stat tiles" } (render_tiles()) }
            section aria-labelledby="callouts" { h2.h2 id="callouts" { "Callouts" } (render_callouts()) }
            section aria-labelledby="table" { h2.h2 id="table" { "Table" } (render_table(now)) }
            div.grid-2 {
                (steps.render_padded())
                (timeline.render_padded())
                section.stack-s aria-labelledby="dialogs" {
                    h2.h2 id="dialogs" { "Dialog, menu and code" }
                    (render_overlays())
                }
                section.stack-s aria-labelledby="empty" { h2.h2 id="empty" { "Empty state" } (render_empty_state()) }
            }
            section aria-labelledby="icons" {
                h2.h2 id="icons" { "Icons" }
                p.row.row-wrap {
                    @for icon in <Icon as strum::VariantArray>::VARIANTS {
                        span title=(<&str>::from(icon)) { (render_icon(*icon)) }
                    }
                }
            }
        }
    }
}

fn render_pills_and_buttons() -> Markup {
    html! {
        div.actions {
            @for severity in [Severity::Critical, Severity::High, Severity::Medium, Severity::Low] {
                (render_severity_pill(severity))
            }
        }
        div.actions { @for state in PILL_STATES { (render_state_pill(state)) } }
        div.actions {
            button.btn.btn-primary type="button" { "Apply plan" }
            button.btn type="button" { "Review plan" }
            button.btn.btn-danger type="button" { "Revoke all…" }
            button.btn.btn-danger-solid type="button" { "Revoke everyone" }
            button.btn.btn-ghost type="button" { "Silence" }
            button.btn type="button" aria-disabled="true" { "Apply plan" }
        }
    }
}

fn render_tiles() -> Markup {
    let course = |values: [f64; 6]| Some(Sparkline { values: values.map(Some).into() });
    let tile = |label: &'static str, value: &str, note: &str| StatTile {
        label,
        value: value.into(),
        note: note.into(),
        ..StatTile::default()
    };
    render_stat_tiles(
        "Examples",
        &[
            StatTile {
                course: course([9.0, 8.0, 4.0, 3.0, 6.0, 9.0]),
                ..tile("Active sessions", "3,945", "+4.1% vs. last Monday")
            },
            StatTile {
                course: course([1.0, 2.0, 2.5, 3.0, 4.0, 4.4]),
                problem: Some(StatProblem::Warn),
                ..tile("Expired sessions", "160", "60 above the limit")
            },
            StatTile {
                course: course([0.0, 0.0, 0.0, 0.0, 0.0, 3.0]),
                problem: Some(StatProblem::Bad),
                ..tile("Duplicate tokens", "3", "7 sessions, 7 users")
            },
            tile("Logins last hour", "–", "Unknown since 14:20: connection refused"),
        ],
    )
}

fn render_callouts() -> Markup {
    let callout = |tone: Tone, title: &'static str, text: &str| Callout {
        tone,
        title,
        text: html! { (text) },
        action: html! {},
    };
    let unreachable = callout(
        Tone::Bad,
        "Cannot connect to shop: connection refused",
        "Results are from 14:20. Check that PostgreSQL is running on db.example.com:5432.",
    );
    let callouts = [
        Callout { action: html! { a.btn href="/settings" { "Run doctor" } }, ..unreachable },
        callout(
            Tone::Warn,
            "Stale for 12 minutes",
            "The last check run finished at 14:20. Figures below are from then.",
        ),
        callout(Tone::Info, "Read-only", "You are logged in as a viewer. Ask a responder to apply plans."),
        callout(Tone::Ok, "Plan applied: 160 sessions deleted", "Can be undone until December 3."),
        callout(
            Tone::Neutral,
            "Can be undone for 7 days",
            "Rows are encrypted into the archive before they are deleted.",
        ),
    ];
    html! { @for callout in &callouts { (callout.render()) } }
}

fn render_table(now: UtcTimestamp) -> Markup {
    let row = |name: &str, email: &str, device: &str, state: &str| {
        html! {
            tr {
                td.fill { (render_user(name, Some(email), None)) }
                td { (device) }
                td.num { (render_moment(now - HOUR, now)) }
                td { (render_state_pill(state)) }
            }
        }
    };
    let rows = html! {
        (row("Aoife Byrne", "aoife.b@example.com", "Safari 26 on iPad", "active"))
        (row("Mateusz Nowak", "m.nowak@example.org", "Firefox 145 on Linux", "failing"))
    };
    let columns =
        [Column::fill("User"), Column::text("Device"), Column::number("Last active"), Column::text("Status")];
    let body = DataTable { label: "Example", class: "table-cards", columns: &columns, rows }.render();
    Card {
        id: "table-card",
        title: "Sessions",
        note: "2 of 2",
        end: html! { a.link href="/" { "Open in Sessions" } },
        body,
    }
    .render()
}

fn render_steps() -> Markup {
    let step = |state: StepState, title: &str, note: &str| Step {
        state,
        title: title.into(),
        note: note.into(),
        href: String::new(),
    };
    render_stepper(
        "Example",
        &[
            step(StepState::Done, "Confirm that it is real", "Ada, 1 min"),
            step(StepState::Skipped, "Roll back the deploy", "Skipped: no deploy"),
            step(StepState::Current, "Contain", "In progress, 4 min"),
            step(StepState::Open, "Verify", "6 checks"),
        ],
    )
}

fn render_events(now: UtcTimestamp) -> Markup {
    let entry = |icon: Icon, tone: TimelineTone, text: &str, quote: &str| TimelineEntry {
        at: now - HOUR,
        icon,
        tone,
        text: html! { (text) },
        detail: html! {},
        quote: quote.into(),
    };
    let entries = [
        entry(Icon::OctagonAlert, TimelineTone::Bad, "Alert fired: 3 tokens", ""),
        entry(Icon::MessageSquare, TimelineTone::Neutral, "Jonas commented", "Rolled back web@4f2c91e."),
        entry(Icon::CircleCheck, TimelineTone::Ok, "Resolved by Mina Okafor", ""),
    ];
    render_timeline(&entries, now)
}

fn render_overlays() -> Markup {
    let dialog = Dialog {
        id: "example-dialog",
        title: "Revoke everyone on shop?",
        action: "/settings/components",
        body: html! {
            p.muted { "This logs out 3,945 people. It needs a second approval and can be undone for 7 days." }
        },
        submit: "Revoke everyone",
        is_dangerous: true,
    };
    let items = ["For 1 hour", "For 4 hours", "For 1 day"].map(|text| MenuItem::Link {
        href: "/settings/components".into(),
        text: html! { (text) },
        is_current: false,
    });
    let mut items = Vec::from(items);
    let text = html! { "Revoke everyone…" };
    items.extend([
        MenuItem::Separator,
        MenuItem::OpenDialog { dialog: "example-dialog", text, is_dangerous: true },
    ]);
    let menu = Menu {
        id: "example-menu",
        button: html! { "Silence" (render_icon(Icon::ChevronDown)) },
        button_class: "btn",
        label: "",
        items,
    };
    html! {
        div.actions {
            (menu.render())
            button.btn type="button" popovertarget="example-dialog" { "Open dialog" }
            (render_avatar("Ada Moreau", AvatarSize::Large))
        }
        (dialog.render())
        (render_code_block("command", "sessionwatch apply p-7f3a --as ada"))
    }
}

fn render_empty_state() -> Markup {
    let state = EmptyState {
        icon: Icon::Siren,
        title: "No incidents yet",
        text: html! { "Opening one starts a guided response: confirm, contain, verify, notify, report." },
        action: html! { a.btn href="/incidents" { "Practice with a drill" } },
    };
    html! { div.card { (state.render()) } }
}

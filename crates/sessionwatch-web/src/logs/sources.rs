//! State of the log sources: whether lines arrive, and how many.

use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::{
    app::logs::LogSourceStatus,
    config::{Config, logs::LogSourceKind},
};
use sessionwatch_core::{plural::format_number, source_activity::SourceStatus, timestamp::UtcTimestamp};

use crate::{
    components::{
        Card, Column, DataTable, EmptyState, Icon, PillTone, Sparkline, render_code_block, render_pill,
    },
    format::{render_relative_time, sanitize_text},
};

/// Hours of the course of a source.
const COURSE_HOURS: i64 = 48;
const SOURCE_COLUMNS: [Column<'_>; 7] = [
    Column::text("Source"),
    Column::text("State"),
    Column::fill("Reads"),
    Column::text("Target"),
    Column::number("Last line"),
    Column::number("Lines"),
    Column { title: "Lines per hour, last 48 h", class: "course" },
];
/// A configuration to start with.
const EXAMPLE_SOURCE: &str = "[[logs]]\nname = \"web\"\ntarget = \"TARGET\"\nfile = \"/var/log/app.log\"";

/// Renders the log sources, those that cannot be read first.
pub(super) fn render_sources(sources: &[LogSourceStatus], config: &Config, now: UtcTimestamp) -> Markup {
    let unresolved = &config.logs.unresolved_sources;
    let body = if sources.is_empty() && unresolved.is_empty() {
        render_no_sources(config)
    } else {
        let rows = html! {
            @for section in unresolved {
                tr {
                    td.first.strong { (section.name) }
                    td.up { (render_pill(PillTone::Failing, Icon::CircleX, "Not read")) }
                    td.wrap.span colspan="5" { (sanitize_text(&section.problem.to_string())) }
                }
            }
            @for source in sources { (render_source(source, now)) }
        };
        DataTable { label: "Log sources", class: "table-cards table-sources", columns: &SOURCE_COLUMNS, rows }
            .render()
    };
    Card { id: "sources", title: "Sources", note: "", end: html! {}, body }.render()
}

fn render_no_sources(config: &Config) -> Markup {
    let target = config.targets.first().map_or("app", |target| target.name.as_str());
    let text =
        html! { "Add a section to " code { "sessionwatch.toml" } " to read a file, a log drain or syslog." };
    let example = EXAMPLE_SOURCE.replace("TARGET", target);
    html! {
        (EmptyState { icon: Icon::ScrollText, title: "Nothing is read yet", text, action: html! {} }.render())
        div.card-body.example { (render_code_block("Example configuration", &example)) }
    }
}

fn render_source(status: &LogSourceStatus, now: UtcTimestamp) -> Markup {
    let LogSourceStatus { config: source, record } = status;
    let lines = record.counters.get("lines").and_then(Value::as_u64).unwrap_or(0);
    html! {
        tr {
            td.first.strong { (source.name) }
            td.up { (render_state(status.status_at(now))) }
            td.reads.muted { (sanitize_text(&describe_kind(&source.kind))) @if source.is_sampled { ", sampled" } }
            td { (source.target) }
            td.num data-l="Last line" {
                @match record.last_line_at { Some(at) => (render_relative_time(at, now)), None => span.muted { "–" } }
            }
            td.num data-l="Lines" { (format_number(lines)) }
            td.course.span { (render_course(status, now)) }
        }
    }
}

fn render_state(status: SourceStatus) -> Markup {
    match status {
        SourceStatus::NeverActive => render_pill(PillTone::Unknown, Icon::CircleQuestionMark, "No lines yet"),
        SourceStatus::Normal => render_pill(PillTone::Passing, Icon::CircleCheck, "Receiving"),
        SourceStatus::Idle => render_pill(PillTone::Stale, Icon::Clock, "Idle"),
    }
}

fn describe_kind(kind: &LogSourceKind) -> String {
    match kind {
        LogSourceKind::File(path) => path.display().to_string(),
        LogSourceKind::Vercel { .. } => "Vercel log drain".into(),
        LogSourceKind::Http(_) => "HTTP requests".into(),
        LogSourceKind::Syslog { listen, .. } => format!("Syslog at {listen}"),
    }
}

/// Renders the lines of each hour; nothing if there were none.
fn render_course(status: &LogSourceStatus, now: UtcTimestamp) -> Markup {
    let hours = status.record.activity.lines_by_hour(now, COURSE_HOURS);
    let most = hours.iter().copied().max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a position in a picture")]
    let values = hours.iter().map(|lines| Some(*lines as f64)).collect();
    html! {
        @if most > 0 {
            (Sparkline { values }.render("spark"))
            span.sr { "Peak: " (format_number(most)) " lines per hour" }
        } @else { span.muted { "–" } }
    }
}

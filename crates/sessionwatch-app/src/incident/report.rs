//! Report of an incident, filled in from recorded facts. Fields for a person to complete are marked.

use std::fmt::Write as _;

use sessionwatch_clock as clock;
use sessionwatch_core::{incident, plural::format_count, text::capitalize_first};
use sessionwatch_store::{
    StoreError,
    incidents::{IncidentRecord, IncidentState, TimelineEntry},
};

use super::evidence_bundle::{self, EvidenceStatus};
use crate::sanitize::{escape_html, sanitize_text};

/// Placeholder for a field that is not set.
pub const BLANK_PLACEHOLDER: &str = "(to be completed)";

/// Element of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportPart {
    /// Title of the report.
    Title(String),
    /// Heading of a section.
    Heading(&'static str),
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
    /// Header and rows.
    Table([&'static str; 3], Vec<[String; 3]>),
    /// List of items.
    List(Vec<String>),
    /// Paragraph.
    Text(String),
}

/// Renders the report as Markdown.
///
/// # Errors
///
/// Fails if an entry of the timeline cannot be decoded.
pub fn render_markdown(incident: &IncidentRecord, timeline: &[TimelineEntry]) -> Result<String, StoreError> {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for part in build_parts(incident, timeline)? {
        let _ = match part {
            ReportPart::Title(title) => writeln!(text, "# {}", escape_markdown_text(&title)),
            ReportPart::Heading(heading) => writeln!(text, "\n## {heading}\n"),
            ReportPart::Facts(facts) => facts
                .iter()
                .try_for_each(|(name, value)| writeln!(text, "- {name}: {}", escape_markdown_text(value))),
            ReportPart::Table(header, rows) => {
                let line = |cells: &[String; 3]| {
                    format!("| {} |", cells.each_ref().map(|cell| escape_markdown_text(cell)).join(" | "))
                };
                let _ = writeln!(text, "| {} |\n|---|---|---|", header.join(" | "));
                rows.iter().try_for_each(|row| writeln!(text, "{}", line(row)))
            }
            ReportPart::List(items) => {
                items.iter().try_for_each(|item| writeln!(text, "- {}", escape_markdown_text(item)))
            }
            ReportPart::Text(words) => writeln!(text, "{}", escape_markdown_text(&words)),
        };
    }
    Ok(text)
}

/// Renders the report as an HTML page.
///
/// # Errors
///
/// Fails if an entry of the timeline cannot be decoded.
pub fn render_html(incident: &IncidentRecord, timeline: &[TimelineEntry]) -> Result<String, StoreError> {
    let mut body = String::new();
    for part in build_parts(incident, timeline)? {
        let _ = match part {
            ReportPart::Title(title) => writeln!(body, "<h1>{}</h1>", escape_html(&title)),
            ReportPart::Heading(heading) => writeln!(body, "<h2>{heading}</h2>"),
            ReportPart::Facts(facts) => {
                let row = |(name, value): &(&str, String)| {
                    format!("<tr><th>{name}</th><td>{}</td></tr>", escape_html(value))
                };
                writeln!(body, "<table>{}</table>", facts.iter().map(row).collect::<String>())
            }
            ReportPart::Table(header, rows) => {
                let head: String = header.iter().map(|name| format!("<th>{name}</th>")).collect();
                let cell = |cell: &String| format!("<td>{}</td>", escape_html(cell));
                let row =
                    |row: &[String; 3]| format!("<tr>{}</tr>", row.iter().map(cell).collect::<String>());
                writeln!(body, "<table><tr>{head}</tr>{}</table>", rows.iter().map(row).collect::<String>())
            }
            ReportPart::List(items) => {
                let item = |item: &String| format!("<li>{}</li>", escape_html(item));
                writeln!(body, "<ul>{}</ul>", items.iter().map(item).collect::<String>())
            }
            ReportPart::Text(words) => writeln!(body, "<p>{}</p>", escape_html(&words)),
        };
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n\
         <style>body{{font:16px sans-serif;max-width:60em;margin:2em auto}}\
         table{{border-collapse:collapse}}td,th{{border:1px solid #999;padding:.3em .6em;\
         text-align:left;vertical-align:top}}</style></head>\n<body>\n{body}</body></html>\n",
        escape_html(&incident.id)
    ))
}

/// Returns the parts of the report.
///
/// # Errors
///
/// Fails if an entry of the timeline cannot be decoded.
pub fn build_parts(
    incident: &IncidentRecord,
    timeline: &[TimelineEntry],
) -> Result<Vec<ReportPart>, StoreError> {
    let field_or_blank = |name| incident.report_field(name).unwrap_or_else(|| BLANK_PLACEHOLDER.into());
    let (sessions, users) = count_ended(timeline)?;
    let end = incident.closed_at.map_or("not yet".into(), clock::format_utc);
    Ok(vec![
        ReportPart::Title(format!("{}: {}", incident.id, field_or_blank("summary"))),
        ReportPart::Facts(vec![
            ("Severity", incident.severity.name().into()),
            ("Target", incident.target.clone()),
            ("Opened", format!("{} by {}", clock::format_utc(incident.opened_at), incident.opened_by)),
            ("Contained", incident.contained_at.map_or("not yet".into(), clock::format_utc)),
            ("Closed", end),
        ]),
        ReportPart::Heading("Timeline"),
        ReportPart::Table(["When", "Who", "What"], timeline.iter().map(timeline_row).collect()),
        ReportPart::Heading("Impact"),
        ReportPart::Facts(vec![
            ("Sessions revoked", sessions.to_string()),
            ("Users logged out", users),
            ("Time to containment", describe_containment_time(incident)),
            ("Data leaked", field_or_blank("data-leaked")),
        ]),
        ReportPart::Heading("Root cause"),
        ReportPart::Text(field_or_blank("root-cause")),
        ReportPart::Heading("Actions and verification"),
        ReportPart::List(list_actions(timeline)),
        ReportPart::Heading("Prevention"),
        ReportPart::Text(field_or_blank("prevention")),
        ReportPart::Heading("Lessons learned"),
        ReportPart::Text(field_or_blank("lessons")),
        ReportPart::Heading("Open points"),
        ReportPart::List(list_open_points(incident, timeline)?),
    ])
}

fn timeline_row(entry: &TimelineEntry) -> [String; 3] {
    [clock::format_utc(entry.at), entry.actor.clone(), describe_entry(entry)]
}

/// Returns what happened according to an entry of the timeline, in words.
#[must_use]
pub fn describe_entry(entry: &TimelineEntry) -> String {
    let what = match (entry.kind.as_str(), incident::find_step(&entry.step)) {
        ("done", Some(step)) => format!("{}: done. {}", step.title, entry.message),
        ("detected", Some(step)) => format!("{}: {}", step.title, entry.message),
        ("skipped", Some(step)) => format!("{}: skipped. {}", step.title, entry.message),
        ("step-reopened", Some(step)) => format!("{}: reopened. {}", step.title, entry.message),
        ("set", _) => format!("Report field set: {}", entry.message),
        (kind, _) => format!("{}: {}", capitalize_first(&kind.replace('-', " ")), entry.message),
    };
    what.trim_end_matches([' ', ':']).to_owned()
}

/// Returns the number of revoked sessions, and the number of their users as text.
fn count_ended(timeline: &[TimelineEntry]) -> Result<(u64, String), StoreError> {
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    let counts = contained.map(|entry| {
        let detail = entry.parse_detail()?;
        let count = |of: &str| detail[of].as_u64().ok_or_else(|| TimelineEntry::undecodable_column("detail"));
        Ok((count("done")?, count("users")?))
    });
    let counts: Vec<(u64, u64)> = counts.collect::<Result<_, StoreError>>()?;
    let sessions = counts.iter().map(|(sessions, _)| sessions).sum();
    // Several plans may count the same user, so only the largest number is certain.
    let users = counts.iter().map(|(_, users)| *users).max().unwrap_or(0);
    let several = counts.iter().filter(|(_, users)| *users > 0).count() > 1;
    Ok((sessions, if several { format!("at least {users}") } else { users.to_string() }))
}

fn describe_containment_time(incident: &IncidentRecord) -> String {
    match incident.contained_at {
        Some(at) => {
            // Negative if the clock was set back in between.
            let minutes = at.duration_since(incident.opened_at).as_mins().max(0);
            format_count(minutes.unsigned_abs(), "minute", "minutes")
        }
        None => "not contained yet".into(),
    }
}

fn list_actions(timeline: &[TimelineEntry]) -> Vec<String> {
    let done = timeline.iter().filter(|entry| {
        entry.kind == "contained"
            || entry.kind == "done" && ["verify", "sign-in"].contains(&entry.step.as_str())
    });
    let lines: Vec<String> =
        done.map(|entry| format!("{}: {}", clock::format_utc(entry.at), entry.message)).collect();
    if lines.is_empty() { vec![BLANK_PLACEHOLDER.into()] } else { lines }
}

fn list_open_points(
    incident: &IncidentRecord,
    timeline: &[TimelineEntry],
) -> Result<Vec<String>, StoreError> {
    let recorded = sessionwatch_store::incidents::collect_step_records(timeline);
    let mut points = incident::unfinished_steps(incident.severity, &recorded);
    if incident.state == IncidentState::Closed {
        // A reopened incident may have been closed several times: the latest closing counts.
        let overridden =
            timeline.iter().rev().find(|entry| entry.kind == "closed" && !entry.message.is_empty());
        points.extend(overridden.map(|entry| format!("closed with an override: {}", entry.message)));
    }
    if let EvidenceStatus::Incomplete(reason) = evidence_bundle::evidence_status(timeline)? {
        points.push(format!("the evidence is incomplete: {reason}"));
    }
    Ok(if points.is_empty() { vec!["none".into()] } else { points })
}

/// Escapes text of people and databases for Markdown.
fn escape_markdown_text(text: &str) -> String {
    sanitize_text(text).chars().fold(String::new(), |mut plain, letter| {
        if matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#') {
            plain.push('\\');
        }
        plain.push(letter);
        plain
    })
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::{duration::MINUTE, timestamp::UtcTimestamp};

    use super::*;

    #[test]
    fn markup_in_recorded_text_is_escaped() {
        assert_eq!(escape_markdown_text("a|b <i> *x* \u{1b}"), "a\\|b \\<i\\> \\*x\\* \u{fffd}");
    }

    #[test]
    fn users_of_several_plans_are_at_least_the_largest_number() {
        let contained = |done: u64, users: u64| TimelineEntry {
            kind: "contained".into(),
            detail: serde_json::json!({ "done": done, "users": users }).to_string(),
            at: UtcTimestamp::MIN,
            actor: "ada".into(),
            step: String::new(),
            message: String::new(),
        };
        let ended = |timeline: &[TimelineEntry]| super::count_ended(timeline).unwrap();
        assert_eq!(ended(&[]), (0, "0".into()));
        assert_eq!(ended(&[contained(20, 15), contained(0, 0)]), (20, "15".into()));
        assert_eq!(ended(&[contained(5, 5), contained(15, 15)]), (20, "at least 15".into()));
    }

    #[test]
    fn the_time_until_containment_is_never_negative() {
        let opened_at = UtcTimestamp::UNIX_EPOCH;
        let incident = |contained_at| IncidentRecord {
            id: "INC-1".into(),
            target: "shop".into(),
            severity: incident::IncidentSeverity::P1,
            state: IncidentState::Contained,
            opened_at,
            opened_by: "ada".into(),
            contained_at: Some(contained_at),
            closed_at: None,
            report_fields: "{}".into(),
        };
        assert_eq!(describe_containment_time(&incident(opened_at + 9 * MINUTE)), "9 minutes");
        // The clock was set back since the incident was opened.
        assert_eq!(describe_containment_time(&incident(opened_at - 9 * MINUTE)), "0 minutes");
    }
}

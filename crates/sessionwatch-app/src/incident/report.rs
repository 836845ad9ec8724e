//! The report of an incident, filled in from what was recorded; what a person has to add is marked.

use std::fmt::Write as _;

use sessionwatch_clock as clock;
use sessionwatch_core::incident;
use sessionwatch_store::{
    StoreError,
    incidents::{Entry, Incident, State},
};

use super::evidence::{self, Frozen};
use crate::sanitize::{escape_html, printable};

/// Stands where nothing was recorded.
const BLANK: &str = "(to be completed)";

/// A part of the report.
enum Part {
    Title(String),
    Heading(&'static str),
    Facts(Vec<(&'static str, String)>),
    Table([&'static str; 3], Vec<[String; 3]>),
    List(Vec<String>),
    Text(String),
}

/// The report as Markdown.
///
/// # Errors
///
/// If an entry of the timeline cannot be decoded.
pub fn markdown(incident: &Incident, timeline: &[Entry]) -> Result<String, StoreError> {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for part in parts(incident, timeline)? {
        let _ = match part {
            Part::Title(title) => writeln!(text, "# {}", plain(&title)),
            Part::Heading(heading) => writeln!(text, "\n## {heading}\n"),
            Part::Facts(facts) => {
                facts.iter().try_for_each(|(name, value)| writeln!(text, "- {name}: {}", plain(value)))
            }
            Part::Table(header, rows) => {
                let line = |cells: &[String; 3]| {
                    format!("| {} |", cells.each_ref().map(|cell| plain(cell)).join(" | "))
                };
                let _ = writeln!(text, "| {} |\n|---|---|---|", header.join(" | "));
                rows.iter().try_for_each(|row| writeln!(text, "{}", line(row)))
            }
            Part::List(items) => items.iter().try_for_each(|item| writeln!(text, "- {}", plain(item))),
            Part::Text(words) => writeln!(text, "{}", plain(&words)),
        };
    }
    Ok(text)
}

/// The report as a page.
///
/// # Errors
///
/// If an entry of the timeline cannot be decoded.
pub fn html(incident: &Incident, timeline: &[Entry]) -> Result<String, StoreError> {
    let mut body = String::new();
    for part in parts(incident, timeline)? {
        let _ = match part {
            Part::Title(title) => writeln!(body, "<h1>{}</h1>", escape_html(&title)),
            Part::Heading(heading) => writeln!(body, "<h2>{heading}</h2>"),
            Part::Facts(facts) => {
                let row = |(name, value): &(&str, String)| {
                    format!("<tr><th>{name}</th><td>{}</td></tr>", escape_html(value))
                };
                writeln!(body, "<table>{}</table>", facts.iter().map(row).collect::<String>())
            }
            Part::Table(header, rows) => {
                let head: String = header.iter().map(|name| format!("<th>{name}</th>")).collect();
                let cell = |cell: &String| format!("<td>{}</td>", escape_html(cell));
                let row =
                    |row: &[String; 3]| format!("<tr>{}</tr>", row.iter().map(cell).collect::<String>());
                writeln!(body, "<table><tr>{head}</tr>{}</table>", rows.iter().map(row).collect::<String>())
            }
            Part::List(items) => {
                let item = |item: &String| format!("<li>{}</li>", escape_html(item));
                writeln!(body, "<ul>{}</ul>", items.iter().map(item).collect::<String>())
            }
            Part::Text(words) => writeln!(body, "<p>{}</p>", escape_html(&words)),
        };
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n<style>body{{font:16px sans-serif;max-width:60em;margin:2em auto}}\
         table{{border-collapse:collapse}}td,th{{border:1px solid #999;padding:.3em .6em;text-align:left;vertical-align:top}}</style></head>\n<body>\n{body}</body></html>\n",
        escape_html(&incident.id)
    ))
}

fn parts(incident: &Incident, timeline: &[Entry]) -> Result<Vec<Part>, StoreError> {
    let said = |name| incident.field(name).unwrap_or_else(|| BLANK.into());
    let (sessions, users) = ended(timeline)?;
    let end = incident.closed_at.map_or("not closed yet".into(), clock::readable);
    Ok(vec![
        Part::Title(format!("{}: {}", incident.id, said("summary"))),
        Part::Facts(vec![
            ("Severity", incident.grade.name().into()),
            ("Target", incident.target.clone()),
            ("Opened", format!("{} by {}", clock::readable(incident.opened_at), incident.opened_by)),
            ("Sessions ended", incident.contained_at.map_or("not yet".into(), clock::readable)),
            ("Closed", end),
        ]),
        Part::Heading("Timeline"),
        Part::Table(["When", "Who", "What"], timeline.iter().map(line).collect()),
        Part::Heading("Impact"),
        Part::Facts(vec![
            ("Sessions that were ended", sessions.to_string()),
            ("Users whose sessions were ended", users),
            ("From opening to containment", duration(incident)),
            ("Data leaked", said("data-leaked")),
        ]),
        Part::Heading("Root cause"),
        Part::Text(said("root-cause")),
        Part::Heading("Actions, and how they were verified"),
        Part::List(actions(timeline)),
        Part::Heading("Prevention"),
        Part::Text(said("prevention")),
        Part::Heading("Lessons"),
        Part::Text(said("lessons")),
        Part::Heading("Open points"),
        Part::List(open_points(incident, timeline)?),
    ])
}

fn line(entry: &Entry) -> [String; 3] {
    let what = match (entry.kind.as_str(), incident::find(&entry.step)) {
        ("done", Some(step)) => format!("{}: done. {}", step.title, entry.said),
        ("found", Some(step)) => format!("{}: {}", step.title, entry.said),
        ("skipped", Some(step)) => format!("{}: passed over. {}", step.title, entry.said),
        ("step-reopened", Some(step)) => format!("{}: reopened. {}", step.title, entry.said),
        (kind, _) => format!("{}: {}", capital(kind), entry.said),
    };
    [clock::readable(entry.at), entry.actor.clone(), what.trim_end_matches([' ', ':']).to_owned()]
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Sessions that were ended, and users whose they were, in words.
fn ended(timeline: &[Entry]) -> Result<(u64, String), StoreError> {
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    let counts = contained.map(|entry| {
        let detail = entry.document()?;
        let count = |of: &str| detail[of].as_u64().ok_or_else(|| Entry::undecodable("detail"));
        Ok((count("done")?, count("users")?))
    });
    let counts: Vec<(u64, u64)> = counts.collect::<Result<_, StoreError>>()?;
    let sessions = counts.iter().map(|(sessions, _)| sessions).sum();
    // The same user may be counted by several plans: those of the largest are certain.
    let users = counts.iter().map(|(_, users)| *users).max().unwrap_or(0);
    let several = counts.iter().filter(|(_, users)| *users > 0).count() > 1;
    Ok((sessions, if several { format!("at least {users}") } else { users.to_string() }))
}

fn duration(incident: &Incident) -> String {
    match incident.contained_at {
        Some(at) => format!("{} minutes", at.duration_since(incident.opened_at).as_mins()),
        None => "not contained yet".into(),
    }
}

fn actions(timeline: &[Entry]) -> Vec<String> {
    let done = timeline.iter().filter(|entry| {
        entry.kind == "contained"
            || entry.kind == "done" && ["verify", "sign-in"].contains(&entry.step.as_str())
    });
    let lines: Vec<String> =
        done.map(|entry| format!("{}: {}", clock::readable(entry.at), entry.said)).collect();
    if lines.is_empty() { vec![BLANK.into()] } else { lines }
}

fn open_points(incident: &Incident, timeline: &[Entry]) -> Result<Vec<String>, StoreError> {
    let recorded = sessionwatch_store::incidents::recorded(timeline);
    let mut points = incident::open_points(incident.grade, &recorded);
    if incident.state == State::Closed {
        let overridden = timeline.iter().rev().find(|entry| entry.kind == "closed" && !entry.said.is_empty());
        points.extend(overridden.map(|entry| format!("closed all the same: {}", entry.said)));
    }
    if let Frozen::Incomplete(said) = evidence::frozen(timeline)? {
        points.push(format!("the evidence is incomplete: {said}"));
    }
    Ok(if points.is_empty() { vec!["none".into()] } else { points })
}

/// Text from a person or a database, so that it stays text in Markdown.
fn plain(text: &str) -> String {
    printable(text).chars().fold(String::new(), |mut plain, letter| {
        if matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#') {
            plain.push('\\');
        }
        plain.push(letter);
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays_text() {
        assert_eq!(plain("a|b <i> *x* \u{1b}"), "a\\|b \\<i\\> \\*x\\* \u{fffd}");
    }

    #[test]
    fn users_of_several_plans_are_at_least_those_of_the_largest() {
        let contained = |done: u64, users: u64| Entry {
            kind: "contained".into(),
            detail: serde_json::json!({ "done": done, "users": users }).to_string(),
            at: sessionwatch_core::instant::Instant::MIN,
            actor: "ada".into(),
            step: String::new(),
            said: String::new(),
        };
        let ended = |timeline: &[Entry]| super::ended(timeline).unwrap();
        assert_eq!(ended(&[]), (0, "0".into()));
        assert_eq!(ended(&[contained(20, 15), contained(0, 0)]), (20, "15".into()));
        assert_eq!(ended(&[contained(5, 5), contained(15, 15)]), (20, "at least 15".into()));
    }
}

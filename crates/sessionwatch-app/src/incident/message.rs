//! The message to users: a draft for a person to edit.

use minijinja::{Environment, UndefinedBehavior, context};
use sessionwatch_clock as clock;
use sessionwatch_store::incidents::IncidentRecord;

/// The draft that is built in.
pub const DEFAULT_MESSAGE_TEMPLATE: &str = "\
Subject: You have been signed out of {{ application }}

Hello,

on {{ date }} we found a problem with how {{ application }} kept people signed in, and ended {{ whose }} sessions to be
on the safe side. Please sign in again.

[What happened, in plain words.]

[Say whether passwords were affected, if that is known.] If you see anything in your account that you did not do, please tell us by replying to
this message.

We are sorry for the trouble.
";

/// The draft, filled in.
///
/// # Errors
///
/// If the template is none, or uses a name that is not there; in words.
pub fn render_draft(incident: &IncidentRecord, template: &str) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let summary = incident.report_field("summary").unwrap_or_default();
    let whose = if incident.severity == sessionwatch_core::incident::IncidentSeverity::P0 {
        "everybody's"
    } else {
        "your"
    };
    let date: String = clock::format_rfc3339(incident.opened_at).chars().take(10).collect();
    let values = context! {
        application => "[the name of the application]",
        date,
        whose,
        summary,
        id => incident.id.clone(),
        severity => incident.severity.name(),
    };
    let rendered = environment.render_str(template, values).map_err(|error| {
        format!("the template cannot be filled in: line {}: {}", error.line().unwrap_or(1), error.kind())
    })?;
    // The engine drops the last newline.
    Ok(format!("{}\n", rendered.trim_end()))
}

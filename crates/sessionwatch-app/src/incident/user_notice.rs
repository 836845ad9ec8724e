//! Draft of the message to users, for a person to edit.

use minijinja::{Environment, UndefinedBehavior, context};
use sessionwatch_clock as clock;
use sessionwatch_store::incidents::IncidentRecord;

/// Built-in template.
pub const DEFAULT_MESSAGE_TEMPLATE: &str = "\
Subject: You have been logged out of {{ application }}

Hello,

On {{ date }}, we found a problem with login sessions in {{ application }}. As a precaution, we ended {{ whose }}
sessions. Please log in again.

[Describe what happened in simple words.]

[Say whether passwords were affected, if you know.] If you notice any activity in your account that is not yours,
please reply to this message.

We apologize for the inconvenience.
";

/// Renders the draft.
///
/// # Errors
///
/// Fails with a message if the template is invalid or uses an unknown variable.
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
        format!("cannot render the template: line {}: {}", error.line().unwrap_or(1), error.kind())
    })?;
    // The template engine drops the last newline.
    Ok(format!("{}\n", rendered.trim_end()))
}

#[cfg(test)]
mod tests;

//! Words and pills that the incident pages share.

use jiff::SignedDuration;
use maud::Markup;
use sessionwatch_app::app::incidents::{IncidentRecord, IncidentState};
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    incident::IncidentSeverity,
};

use crate::{
    components::{Icon, PillTone, render_pill},
    format::sanitize_text,
};

/// Most characters of a summary in a headline or a table.
const MAX_HEADLINE_CHARS: usize = 120;

/// Returns what a severity means.
pub(super) fn severity_meaning(severity: IncidentSeverity) -> &'static str {
    severity.meaning()
}

/// Renders the severity of an incident. It has a color only until the sessions are revoked.
pub(super) fn render_severity(incident: &IncidentRecord) -> Markup {
    let name = incident.severity.name();
    if incident.state != IncidentState::Open {
        return render_pill(PillTone::Quiet, severity_icon(incident.severity), name);
    }
    let tone = match incident.severity {
        IncidentSeverity::P0 | IncidentSeverity::P1 => PillTone::Critical,
        IncidentSeverity::P2 => PillTone::Medium,
        IncidentSeverity::P3 => PillTone::Low,
    };
    render_pill(tone, severity_icon(incident.severity), name)
}

fn severity_icon(severity: IncidentSeverity) -> Icon {
    match severity {
        IncidentSeverity::P0 | IncidentSeverity::P1 => Icon::OctagonAlert,
        IncidentSeverity::P2 => Icon::Diamond,
        IncidentSeverity::P3 => Icon::Circle,
    }
}

/// Renders the state of an incident.
pub(super) fn render_state(state: IncidentState) -> Markup {
    match state {
        IncidentState::Open => render_pill(PillTone::Accent, Icon::Activity, "Open"),
        IncidentState::Contained => render_pill(PillTone::Passing, Icon::ShieldCheck, "Contained"),
        IncidentState::Closed => render_pill(PillTone::Quiet, Icon::Check, "Closed"),
    }
}

/// Returns the whole summary of an incident, or which target it is about.
pub(super) fn incident_summary(incident: &IncidentRecord) -> String {
    let summary = incident.report_field("summary");
    summary.map_or_else(|| format!("Incident on {}", incident.target), |text| sanitize_text(&text))
}

/// Returns the beginning of the summary, short enough for a headline.
pub(super) fn incident_headline(incident: &IncidentRecord) -> String {
    let summary = incident_summary(incident);
    if summary.chars().count() <= MAX_HEADLINE_CHARS {
        return summary;
    }
    let cut: String = summary.chars().take(MAX_HEADLINE_CHARS).collect();
    format!("{}…", cut.trim_end())
}

/// Formats a duration in one or two units: `40 s`, `22 min`, `3 h 12 min`, `2 days`.
pub(super) fn format_span(span: SignedDuration) -> String {
    let span = span.abs();
    let rest = |unit: SignedDuration| SignedDuration::from_secs(span.as_secs() % unit.as_secs());
    if span < MINUTE {
        format!("{} s", span.as_secs())
    } else if span < 2 * HOUR {
        format!("{} min", span.as_mins())
    } else if span < 2 * DAY {
        match rest(HOUR).as_mins() {
            0 => format!("{} h", span.as_hours()),
            minutes => format!("{} h {minutes} min", span.as_hours()),
        }
    } else {
        format!("{} days", span.as_hours() / 24)
    }
}

/// Describes the time left for containment: `47 min left` or `12 min overdue`.
pub(super) fn describe_time_left(left: SignedDuration) -> String {
    let word = if left.is_negative() { "overdue" } else { "left" };
    format!("{} {word}", format_span(left))
}

/// Shortens the public keys in a text, such as that of the archive. The timeline keeps them in full.
pub(super) fn shorten_keys(text: &str) -> String {
    /// Letters that distinguish keys.
    const SHOWN_CHARS: usize = 12;
    let is_key = |word: &str| word.starts_with("age1") && word.len() > 2 * SHOWN_CHARS && word.is_ascii();
    let shorten = |word: &str| {
        let key = word.trim_end_matches([';', ',', '.', ':']);
        if !is_key(key) {
            return word.to_owned();
        }
        format!("{}…{}", &key[..SHOWN_CHARS], &word[key.len()..])
    };
    text.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        for (span, text) in [
            (SignedDuration::from_secs(40), "40 s"),
            (SignedDuration::from_secs(22 * 60 + 59), "22 min"),
            (SignedDuration::from_mins(60), "60 min"),
            (SignedDuration::from_mins(180), "3 h"),
            (SignedDuration::from_mins(192), "3 h 12 min"),
            (SignedDuration::from_hours(50), "2 days"),
        ] {
            assert_eq!(format_span(span), text);
        }
        assert_eq!(describe_time_left(SignedDuration::from_mins(-12)), "12 min overdue");
        assert_eq!(describe_time_left(SignedDuration::from_mins(47)), "47 min left");
    }

    #[test]
    fn keys_are_shortened_and_other_words_are_not() {
        let text =
            "encrypted for age1ehvuw8u578kym0x0y423una42he5yt4mkkd3lxsm8qlrrve2u5ps3ldk7l; INCOMPLETE: age1";
        assert_eq!(shorten_keys(text), "encrypted for age1ehvuw8u5…; INCOMPLETE: age1");
    }
}

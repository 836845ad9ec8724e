use jiff::SignedDuration;
use sessionwatch_core::{incident::IncidentSeverity, timestamp::UtcTimestamp};
use sessionwatch_store::incidents::IncidentState;

use super::*;

fn incident(severity: IncidentSeverity, summary: &str) -> IncidentRecord {
    IncidentRecord {
        id: "INC-20261125-001".into(),
        target: "shop".into(),
        severity,
        state: IncidentState::Contained,
        // A second before midnight UTC.
        opened_at: UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_651_199),
        opened_by: "ada".into(),
        contained_at: None,
        closed_at: None,
        report_fields: serde_json::json!({ "summary": summary }).to_string(),
    }
}

fn rendered(template: &str, summary: &str) -> Result<String, String> {
    render_draft(&incident(IncidentSeverity::P1, summary), template)
}

#[test]
fn only_a_confirmed_leak_says_that_everybody_was_logged_out() {
    for (severity, whose) in [
        (IncidentSeverity::P0, "we ended everybody's\nsessions."),
        (IncidentSeverity::P1, "we ended your\nsessions."),
        (IncidentSeverity::P3, "we ended your\nsessions."),
    ] {
        let draft = render_draft(&incident(severity, ""), DEFAULT_MESSAGE_TEMPLATE).unwrap();
        assert!(draft.contains(whose), "{draft}");
        assert!(draft.contains("\nOn 2026-11-25, we found"), "{draft}");
        assert!(draft.ends_with("inconvenience.\n") && !draft.ends_with("\n\n"), "{draft:?}");
        assert!(!draft.contains("{{"), "{draft}");
    }
}

#[test]
fn the_draft_of_the_built_in_template_contains_nothing_internal() {
    let secret = "token 0a1b2c3d of user 7 leaked through the cache";
    let draft = render_draft(&incident(IncidentSeverity::P0, secret), DEFAULT_MESSAGE_TEMPLATE).unwrap();
    for part in [secret, "INC-", "shop", "P0"] {
        assert!(!draft.contains(part), "{draft}");
    }
}

#[test]
fn the_values_of_the_incident_are_inserted_as_they_are() {
    let hostile = "{{ id }} {% raw %} <b>&\"ö\u{202e}";
    assert_eq!(rendered("{{ summary }}", hostile).unwrap(), format!("{hostile}\n"));
    assert_eq!(
        rendered("{{ id }} {{ severity }} {{ date }} {{ whose }}", "").unwrap(),
        "INC-20261125-001 P1 2026-11-25 your\n"
    );
    assert_eq!(rendered("[{{ summary }}]", "").unwrap(), "[]\n");
    assert_eq!(rendered("", "").unwrap(), "\n");
}

#[test]
fn a_template_that_cannot_be_rendered_is_refused_with_its_line() {
    for (template, line) in [
        ("Hello\n\n{{ user }}", 3),
        ("Hello\n{{ summary }", 2),
        ("{{ summary.text.more }}", 1),
        ("{{ summary | shout }}", 1),
    ] {
        let message = rendered(template, "x").unwrap_err();
        assert!(message.starts_with(&format!("cannot render the template: line {line}: ")), "{message}");
    }
}

#[test]
fn a_template_does_not_read_files() {
    for template in ["{% include \"/etc/hostname\" %}", "{% extends \"/etc/hostname\" %}"] {
        assert!(rendered(template, "").is_err(), "{template}");
    }
}

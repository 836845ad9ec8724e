//! Tests of explanations: each stage names what happened, and none shows a secret.

use super::*;
use crate::{log_event::LogEventKind, timestamps::TimestampDefaults};

const TOKEN: &str = "f47ac10b58cc4372a5670e02b2c3d479";

fn explain(text: &str) -> Explanation {
    explain_text(&Matchers::new(vec![], TimestampDefaults::default()), text.as_bytes())
}

fn stage<'a>(explanation: &'a Explanation, name: &str) -> Option<&'a str> {
    explanation.stages.iter().find(|(stage, _)| *stage == name).map(|(_, result)| result.as_str())
}

#[test]
fn a_line_without_a_literal_is_explained_by_the_literals_that_it_lacks() {
    for text in ["", "\n\n", "GET /", "session created", "\u{0}\u{202e}<script>"] {
        let explanation = explain(text);
        assert_eq!((explanation.stages.len(), explanation.events.len()), (1, 0), "{text}");
        let result = stage(&explanation, "pre-filter").unwrap();
        assert!(result.starts_with("no match: ") && result.contains("`[AUTH-ADAPTER]`"), "{result}");
        assert!(!result.contains("script"), "{result}");
    }
}

#[test]
fn each_stage_of_a_known_line_is_shown() {
    let line = r#"{"time":"2026-11-25T12:00:00Z","msg":"[AUTH-ADAPTER] Session created { userId: 7 }"}"#;
    let explanation = explain(&format!("noise\n{line}\n"));
    for (name, expected) in [
        ("pre-filter", "matched `[AUTH-ADAPTER]`"),
        ("envelope", "JSON"),
        ("message", "[AUTH-ADAPTER] Session created { userId: 7 }"),
        ("event", "created"),
    ] {
        assert_eq!(stage(&explanation, name), Some(expected), "{name}");
    }
    let kinds: Vec<LogEventKind> = explanation.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [LogEventKind::Created]);
    assert_eq!(stage(&explanation, "object"), None);
}

#[test]
fn the_reason_against_a_match_is_named() {
    for (line, reason) in [
        ("search for [AUTH-ADAPTER] Session created", "a tag counts only at the start of the message"),
        ("[AUTH-ADAPTER] Session renamed", "after [AUTH-ADAPTER], expected one of"),
        ("[SESSION-CALLBACK] Session created", "after [SESSION-CALLBACK], expected one of"),
        ("[auth][error] Something", "neither a session or login error nor an adapter call"),
        ("session_created=7", "the event name is a key"),
        ("updateSession", "no full token follows the function name"),
        ("DETAIL: duplicate key value violates unique constraint", "not a line of a PostgreSQL server log"),
    ] {
        let explanation = explain(line);
        let event = stage(&explanation, "event").unwrap_or_default();
        assert!(event.starts_with("none: ") && event.contains(reason), "{line}: {event}");
        assert_eq!(explanation.events, [], "{line}");
    }
}

#[test]
fn an_open_object_is_reported_and_a_closed_one_is_not() {
    for (text, is_open) in [
        ("[AUTH-ADAPTER] Session created {\n  userId: 7,", true),
        ("[AUTH-ADAPTER] Session created {", true),
        ("[AUTH-ADAPTER] Session created {\n  userId: 7\n}", false),
        ("[AUTH-ADAPTER] Session created { userId: 7 }", false),
    ] {
        let explanation = explain(text);
        assert_eq!(stage(&explanation, "object").is_some(), is_open, "{text}");
        assert_eq!(explanation.events.len(), 1, "{text}");
    }
}

#[test]
fn no_stage_shows_a_token_or_a_password() {
    for text in [
        format!("[AUTH-ADAPTER] Session created {{ sessionToken: '{TOKEN}' }}"),
        format!("[AUTH-ADAPTER] {TOKEN}"),
        format!("event=session_created {TOKEN}"),
        format!("updateSession {TOKEN}"),
        format!("{TOKEN} essionToken"),
        format!(r#"{{"msg":"session_destroyed","password":"{TOKEN}","token":"{TOKEN}"}}"#),
        format!("essionToken={}", TOKEN.repeat(100)),
        format!("session_created password='correct horse {TOKEN}'"),
    ] {
        let shown = format!("{:?}", explain(&text));
        assert!(!shown.contains(&TOKEN[9..]) && !shown.contains("horse"), "{text:.200}: {shown}");
        assert!(shown.chars().count() < 3_000, "{shown}");
    }
}

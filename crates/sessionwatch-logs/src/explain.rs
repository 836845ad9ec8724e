//! Explanation of how a line is processed, stage by stage.

use crate::{
    classify::classify_message,
    key_values::strip_ansi,
    line_envelope::Envelope,
    line_reader::LogReader,
    log_event::LogEvent,
    matchers::{KNOWN_LITERALS, LiteralKind, Matchers},
    preamble::is_message_start,
    redact,
};

/// Maximum number of characters shown of a text.
const MAX_SHOWN_CHARS: usize = 200;

/// Result of processing a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Stages: their names and results.
    pub stages: Vec<(&'static str, String)>,
    /// Log events found.
    pub events: Vec<LogEvent<'static>>,
}

/// Explains how a text of one or more lines is processed.
#[must_use]
pub fn explain_text(matchers: &Matchers, text: &[u8]) -> Explanation {
    let mut stages = vec![("pre-filter", explain_prefilter(matchers, text))];
    // Only the first matching line is explained stage by stage; the events below come from all lines.
    let first =
        text.split(|byte| *byte == b'\n').find(|line| matchers.prefilter.find_next(line, 0).is_some());
    if let Some(line) = first {
        let envelope = Envelope::parse(line, true, matchers.time_defaults);
        let formats: Vec<&str> = envelope.formats().map(crate::line_envelope::EnvelopeFormat::name).collect();
        let message = strip_ansi(&envelope.message);
        stages.push(("envelope", if formats.is_empty() { "none".into() } else { formats.join(", then ") }));
        stages.push(("message", redact::redact_text(&message, MAX_SHOWN_CHARS)));
        stages.push(("event", explain_classification(matchers, &envelope, &message)));
    }
    let (mut events, mut reader) = (vec![], LogReader::new(matchers));
    let mut sink =
        |event: LogEvent<'_>, _: crate::line_reader::LogExcerpt<'_>| events.push(event.into_owned());
    reader.read_block(text, 0, true, &mut sink);
    let open = reader.has_pending_entry();
    reader.finish(&mut sink);
    if open {
        stages.push((
            "object",
            "incomplete: in a file, the next lines would be read as its continuation; a value at the end is ignored"
                .into(),
        ));
    }
    Explanation { stages, events }
}

fn explain_prefilter(matchers: &Matchers, text: &[u8]) -> String {
    let (mut found, mut from) = (vec![], 0);
    while let Some((at, which)) = matchers.prefilter.find_next(text, from) {
        let name = KNOWN_LITERALS.get(which).map_or("a configured pattern", |(literal, _)| literal);
        if !found.contains(&name) {
            found.push(name);
        }
        from = at + 1;
    }
    if found.is_empty() {
        let known: Vec<String> = Matchers::literals().map(|literal| format!("`{literal}`")).collect();
        let more = if matchers.patterns.is_empty() { "" } else { ", nor a configured pattern" };
        return format!("no match: the text contains none of {}{more}", known.join(", "));
    }
    format!("matched {}", found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

fn explain_classification(matchers: &Matchers, envelope: &Envelope<'_>, message: &[u8]) -> String {
    let own = matchers.patterns.iter().filter(|pattern| pattern.match_message(message).is_some());
    let own: Vec<String> = own.map(|pattern| format!("pattern `{}`", pattern.name)).collect();
    let found = classify_message(matchers, message, envelope.is_complete)
        .filter(|found| found.kind.is_some())
        .or_else(|| envelope.outer_object.as_ref().and_then(|outer| classify_message(matchers, outer, true)));
    let kind = match found {
        Some(found) => match found.kind {
            Some(kind) => kind.name().to_owned(),
            None => "none, but the message may contain a token".into(),
        },
        None if own.is_empty() => format!("none: {}", explain_no_match(matchers, message)),
        None => String::new(),
    };
    // Own patterns are listed first: they apply to a message in addition to a known event.
    own.into_iter().chain((!kind.is_empty()).then_some(kind)).collect::<Vec<_>>().join(", ")
}

fn explain_no_match(matchers: &Matchers, message: &[u8]) -> &'static str {
    let Some((at, which)) = matchers.prefilter.find_next(message, 0) else {
        return "the match is in the envelope, not in the message";
    };
    match Matchers::literal_kind(which) {
        LiteralKind::Adapter | LiteralKind::Callback if !is_message_start(&message[..at]) => {
            "a tag counts only at the start of the message, after time and level: text elsewhere may be \
             forged by a visitor"
        }
        LiteralKind::Adapter => {
            "after [AUTH-ADAPTER], expected one of: Session created, Duplicate session token, User not \
             found, Invalid userId, Error creating, Session deleted"
        }
        LiteralKind::Callback => {
            "after [SESSION-CALLBACK], expected one of: User ID mismatch, User not found, Session \
             refreshed, Error fetching"
        }
        LiteralKind::AuthJs => "neither a session or login error nor an adapter call",
        LiteralKind::Event(_) => {
            "the event name is a key, a part of another word, in an unrelated field, or not at the start of the message"
        }
        LiteralKind::Call | LiteralKind::SessionId if classify_message(matchers, message, true).is_some() => {
            "no known event, but the message contains a full token"
        }
        LiteralKind::Call => "no full token follows the function name",
        LiteralKind::SessionId => "no full session ID follows, or no session is mentioned before it",
        LiteralKind::UniqueViolation => "not a line of a PostgreSQL server log",
        LiteralKind::Token | LiteralKind::Pattern | LiteralKind::NumericMessage => {
            "the message matches no pattern"
        }
    }
}

#[cfg(test)]
mod tests;

//! Every stage that a line goes through, in words.

use crate::{
    classify::classify_message,
    envelope::Envelope,
    key_values::strip_ansi,
    log_event::LogEvent,
    matchers::{KNOWN_LITERALS, LiteralKind, Matchers},
    preamble::is_message_start,
    reader::LogReader,
    redact,
};

/// Characters of a text that are shown.
const MAX_SHOWN_CHARS: usize = 200;

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stages: a name, and what happened there.
    pub stages: Vec<(&'static str, String)>,
    /// The signals that came out.
    pub events: Vec<LogEvent<'static>>,
}

/// Says what becomes of a text of one or more lines.
#[must_use]
pub fn explain_text(matchers: &Matchers, text: &[u8]) -> Explanation {
    let mut stages = vec![("pre-filter", explain_prefilter(matchers, text))];
    let first =
        text.split(|byte| *byte == b'\n').find(|line| matchers.prefilter.find_next(line, 0).is_some());
    if let Some(line) = first {
        let frame = Envelope::parse(line, true, matchers.time_defaults);
        let carriers: Vec<&str> = frame.formats().map(crate::envelope::EnvelopeFormat::name).collect();
        let message = strip_ansi(&frame.message);
        stages.push((
            "carried by",
            if carriers.is_empty() { "nothing".into() } else { carriers.join(", then ") },
        ));
        stages.push(("message", redact::redact_text(&message, MAX_SHOWN_CHARS)));
        stages.push(("recognised", explain_classification(matchers, &frame, &message)));
    }
    let (mut signals, mut reader) = (vec![], LogReader::new(matchers));
    let mut sink = |signal: LogEvent<'_>, _: crate::reader::LogExcerpt<'_>| signals.push(signal.into_owned());
    reader.read_block(text, 0, true, &mut sink);
    let open = reader.has_pending_entry();
    reader.finish(&mut sink);
    if open {
        stages.push((
            "object",
            "does not end: in a file, the next lines would be read as its rest; what it ends in is not used"
                .into(),
        ));
    }
    Explanation { stages, events: signals }
}

fn explain_prefilter(matchers: &Matchers, text: &[u8]) -> String {
    let (mut found, mut from) = (vec![], 0);
    while let Some((at, which)) = matchers.prefilter.find_next(text, from) {
        let name = KNOWN_LITERALS.get(which).map_or("a pattern of the configuration", |(literal, _)| literal);
        if !found.contains(&name) {
            found.push(name);
        }
        from = at + 1;
    }
    if found.is_empty() {
        let known: Vec<String> = Matchers::literals().map(|literal| format!("`{literal}`")).collect();
        let more = if matchers.patterns.is_empty() { "" } else { ", and no pattern of the configuration" };
        return format!("passed over: none of {} is in it{more}", known.join(", "));
    }
    format!(
        "looked at, because of {}",
        found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
}

fn explain_classification(matchers: &Matchers, envelope: &Envelope<'_>, message: &[u8]) -> String {
    let own = matchers.patterns.iter().filter(|pattern| pattern.match_message(message).is_some());
    let own: Vec<String> = own.map(|pattern| format!("pattern `{}`", pattern.name)).collect();
    let found = classify_message(matchers, message, envelope.is_complete)
        .filter(|found| found.kind.is_some())
        .or_else(|| envelope.outer_object.as_ref().and_then(|outer| classify_message(matchers, outer, true)));
    let said = match found {
        Some(found) => match found.kind {
            Some(kind) => kind.name().to_owned(),
            None => "nothing that happened; a token may stand in it".into(),
        },
        None if own.is_empty() => format!("nothing: {}", explain_no_match(matchers, message)),
        None => String::new(),
    };
    own.into_iter().chain((!said.is_empty()).then_some(said)).collect::<Vec<_>>().join(", ")
}

fn explain_no_match(matchers: &Matchers, message: &[u8]) -> &'static str {
    let Some((at, which)) = matchers.prefilter.find_next(message, 0) else {
        return "what is looked for stands in what carries the message, not in it";
    };
    match Matchers::literal_kind(which) {
        LiteralKind::Adapter | LiteralKind::Callback if !is_message_start(&message[..at]) => {
            "a tag counts only where the message begins, behind time and level: anybody may have written the rest"
        }
        LiteralKind::Adapter => {
            "after [AUTH-ADAPTER] one of these is expected: Session created, Duplicate session token, User not found, Invalid userId, Error creating, Session deleted"
        }
        LiteralKind::Callback => {
            "after [SESSION-CALLBACK] one of these is expected: User ID mismatch, User not found, Session refreshed, Error fetching"
        }
        LiteralKind::AuthJs => "neither an error about sessions and sign-in, nor a call of an adapter",
        LiteralKind::Event(_) => {
            "the name of the event is part of another word, a key, or in a field for other things"
        }
        LiteralKind::Call | LiteralKind::SessionId if classify_message(matchers, message, true).is_some() => {
            "nothing that is known happened, and what stands in it looks like a whole token"
        }
        LiteralKind::Call => "no whole token follows the name of the function",
        LiteralKind::SessionId => "no whole session ID follows, or no session is spoken of before it",
        LiteralKind::UniqueViolation => "it is no line of a PostgreSQL server's log",
        LiteralKind::Token | LiteralKind::Pattern | LiteralKind::NumericMessage => "it matches no pattern",
    }
}

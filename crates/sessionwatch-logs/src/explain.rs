//! Every stage that a line goes through, in words.

use crate::{
    beginning::is_beginning,
    classify::classify,
    envelope::Envelope,
    key_values::uncoloured,
    matchers::{KNOWN, LiteralKind, Matchers},
    reader::Reader,
    redact,
    signal::Signal,
};

/// Characters of a text that are shown.
const SHOWN: usize = 200;

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stages: a name, and what happened there.
    pub stages: Vec<(&'static str, String)>,
    /// The signals that came out.
    pub signals: Vec<Signal<'static>>,
}

/// Says what becomes of a text of one or more lines.
#[must_use]
pub fn explain(grammar: &Matchers, text: &[u8]) -> Explanation {
    let mut stages = vec![("pre-filter", filter(grammar, text))];
    let first = text.split(|byte| *byte == b'\n').find(|line| grammar.needles.find(line, 0).is_some());
    if let Some(line) = first {
        let frame = Envelope::unwrap(line, true, grammar.clock);
        let carriers: Vec<&str> = frame.carriers().map(crate::envelope::EnvelopeFormat::name).collect();
        let message = uncoloured(&frame.message);
        stages.push((
            "carried by",
            if carriers.is_empty() { "nothing".into() } else { carriers.join(", then ") },
        ));
        stages.push(("message", redact::text(&message, SHOWN)));
        stages.push(("recognised", recognised(grammar, &frame, &message)));
    }
    let (mut signals, mut reader) = (vec![], Reader::new(grammar));
    let mut sink = |signal: Signal<'_>, _: crate::reader::Place<'_>| signals.push(signal.into_owned());
    reader.read(text, 0, true, &mut sink);
    let open = reader.is_pending();
    reader.finish(&mut sink);
    if open {
        stages.push((
            "object",
            "does not end: in a file, the next lines would be read as its rest; what it ends in is not used"
                .into(),
        ));
    }
    Explanation { stages, signals }
}

fn filter(grammar: &Matchers, text: &[u8]) -> String {
    let (mut found, mut from) = (vec![], 0);
    while let Some((at, which)) = grammar.needles.find(text, from) {
        let name = KNOWN.get(which).map_or("a pattern of the configuration", |(literal, _)| literal);
        if !found.contains(&name) {
            found.push(name);
        }
        from = at + 1;
    }
    if found.is_empty() {
        let known: Vec<String> = Matchers::literals().map(|literal| format!("`{literal}`")).collect();
        let more = if grammar.patterns.is_empty() { "" } else { ", and no pattern of the configuration" };
        return format!("passed over: none of {} is in it{more}", known.join(", "));
    }
    format!(
        "looked at, because of {}",
        found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
}

fn recognised(grammar: &Matchers, frame: &Envelope<'_>, message: &[u8]) -> String {
    let own = grammar.patterns.iter().filter(|pattern| pattern.matches(message).is_some());
    let own: Vec<String> = own.map(|pattern| format!("pattern `{}`", pattern.name)).collect();
    let found = classify(grammar, message, frame.complete)
        .filter(|found| found.kind.is_some())
        .or_else(|| frame.outer.as_ref().and_then(|outer| classify(grammar, outer, true)));
    let said = match found {
        Some(found) => match found.kind {
            Some(kind) => kind.name().to_owned(),
            None => "nothing that happened; a token may stand in it".into(),
        },
        None if own.is_empty() => format!("nothing: {}", why_not(grammar, message)),
        None => String::new(),
    };
    own.into_iter().chain((!said.is_empty()).then_some(said)).collect::<Vec<_>>().join(", ")
}

fn why_not(grammar: &Matchers, message: &[u8]) -> &'static str {
    let Some((at, which)) = grammar.needles.find(message, 0) else {
        return "what is looked for stands in what carries the message, not in it";
    };
    match Matchers::what(which) {
        LiteralKind::Adapter | LiteralKind::Callback if !is_beginning(&message[..at]) => {
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
        LiteralKind::Call | LiteralKind::SessionId if classify(grammar, message, true).is_some() => {
            "nothing that is known happened, and what stands in it looks like a whole token"
        }
        LiteralKind::Call => "no whole token follows the name of the function",
        LiteralKind::SessionId => "no whole session ID follows, or no session is spoken of before it",
        LiteralKind::Violation => "it is no line of a PostgreSQL server's log",
        LiteralKind::Token | LiteralKind::Pattern | LiteralKind::Numbers => "it matches no pattern",
    }
}

//! Reader of log lines: applies the pre-filter, assembles entries of several lines, and emits log events.

mod counters;
mod pending;

use crate::{
    byte_range::ByteRange,
    classify::{Classification, classify_from_hit, classify_message},
    fields::{
        ExtractedFields, TextForm, captured_prefix, full_token_prefix, parse_error_code, parse_user_id,
        validate_request_id,
    },
    key_values::strip_ansi,
    line_envelope::Envelope,
    log_event::{LogEvent, LogEventKind},
    matchers::{LiteralKind, Matchers},
    reason,
    server_log::{LineRelation, ViolationEvent},
};
use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};
use sessionwatch_core::timestamp::UtcTimestamp;

pub use self::counters::{LogExcerpt, ReadCounters};
use self::pending::PendingEntry;

/// Certainty that an entry has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryEnd {
    /// The entry has ended if its object is complete.
    Possible,
    /// The entry has ended.
    Certain,
}

/// Context of a complete entry, besides its fields.
struct EntryContext<'a> {
    classification: Classification,
    timestamp: Option<UtcTimestamp>,
    request_id: Option<&'a str>,
    excerpt: LogExcerpt<'a>,
}

/// Converts a range within a block that begins at `offset` to a range of the source.
fn block_range(offset: u64, from: usize, to: usize) -> ByteRange {
    ByteRange { from: offset + from as u64, to: offset + to as u64 }
}

/// Reads log lines and emits log events.
#[derive(Debug)]
pub struct LogReader<'g> {
    matchers: &'g Matchers,
    pending: Option<PendingEntry>,
    /// Open constraint violation of a database server log, which spans several lines.
    violation: Option<ViolationEvent>,
    counters: ReadCounters,
}

impl<'g> LogReader<'g> {
    /// Creates a reader.
    #[must_use]
    pub fn new(matchers: &'g Matchers) -> Self {
        Self { matchers, pending: None, violation: None, counters: ReadCounters::default() }
    }

    /// Returns the counters.
    #[must_use]
    pub fn counters(&self) -> ReadCounters {
        self.counters
    }

    /// Returns whether an entry may continue on the next line.
    #[must_use]
    pub fn has_pending_entry(&self) -> bool {
        self.pending.is_some() || self.violation.is_some()
    }

    /// Returns the offset of the entry that may continue on the next line, or `None` if every entry has ended.
    /// Reading again from this offset brings a new reader into the same state, but emits earlier events again.
    #[must_use]
    pub fn pending_offset(&self) -> Option<u64> {
        let event = self.violation.as_ref().and_then(|event| event.lines.first()).map(|line| line.from);
        self.pending.as_ref().map(|pending| pending.from).into_iter().chain(event).min()
    }

    /// Transfers the open entry to the reader of the next file if `line`, the first line of that file, continues it.
    /// There the entry begins at byte 0. Returns whether it was transferred.
    pub fn transfer_pending(&mut self, next: &mut Self, line: &[u8]) -> bool {
        let Some(pending) = self.pending.as_mut() else { return false };
        if next.has_pending_entry()
            || self.violation.is_some()
            || pending.continuation(line, self.matchers.time_defaults).is_none()
        {
            return false;
        }
        pending.from = 0;
        next.pending = self.pending.take();
        true
    }

    /// Counts a line that exceeded the maximum length.
    pub fn count_overlong_line(&mut self) {
        self.counters.overlong += 1;
    }

    /// Reads a block of whole lines that begins at `offset`. `ended` says that the last line is complete even without
    /// a line break.
    pub fn read_block(
        &mut self,
        block: &[u8],
        offset: u64,
        ended: bool,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        self.counters.bytes += block.len() as u64;
        self.counters.lines += memchr_iter(b'\n', block).count() as u64;
        self.counters.lines += u64::from(block.last().is_some_and(|last| *last != b'\n'));
        let mut from = 0;
        // An entry or violation that is still open takes precedence over the pre-filter: its lines match no literal.
        while from < block.len() {
            if self.pending.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, byte_range) = (&block[from..end], block_range(offset, from, end));
                if self.continue_entry(line, byte_range, sink) {
                    from = end;
                    continue;
                }
            }
            let mut within = block;
            if self.violation.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, byte_range) = (&block[from..end], block_range(offset, from, end));
                match self.continue_violation(line, byte_range, sink) {
                    LineRelation::Continues => {
                        from = end;
                        continue;
                    }
                    // A line of another process is read on its own; the next line may belong to the event again.
                    LineRelation::Interleaved => within = &block[..end],
                    LineRelation::Ends => {}
                }
            }
            let Some((literal_offset, literal_number)) = self.matchers.prefilter.find_next(within, from)
            else {
                if within.len() == block.len() {
                    break;
                }
                from = within.len();
                continue;
            };
            let begin = memrchr(b'\n', &block[from..literal_offset]).map_or(from, |before| from + before + 1);
            let end =
                memchr(b'\n', &block[literal_offset..]).map_or(block.len(), |end| literal_offset + end + 1);
            let complete = ended || block[end - 1] == b'\n';
            let line = &block[begin..end];
            let envelope = Envelope::parse(line, complete, self.matchers.time_defaults);
            // If the message is a slice of the line, the literal need not be searched for again.
            let literal_in_message = match &envelope.message {
                Cow::Borrowed(message) => {
                    let skipped = message.as_ptr().addr() - line.as_ptr().addr();
                    (literal_offset - begin)
                        .checked_sub(skipped)
                        .map(|literal_offset| (literal_offset, literal_number))
                }
                Cow::Owned(_) => None,
            };
            self.process_envelope(envelope, block_range(offset, begin, end), literal_in_message, sink);
            from = end;
        }
    }

    /// Reads only lines that continue the last entry. Returns whether it may still continue.
    pub fn drain_pending(
        &mut self,
        block: &[u8],
        offset: u64,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let mut from = 0;
        while self.pending.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.continue_entry(&block[from..end], block_range(offset, from, end), sink);
            from = end;
        }
        from = 0;
        while self.violation.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.continue_violation(&block[from..end], block_range(offset, from, end), sink);
            from = end;
        }
        self.has_pending_entry()
    }

    /// Reads a complete entry delivered by a log drain, with its timestamp and request id.
    pub fn read_entry(
        &mut self,
        message: &[u8],
        at: Option<UtcTimestamp>,
        request: Option<String>,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        self.finish(sink);
        self.counters.lines += 1;
        self.counters.bytes += message.len() as u64;
        if self.matchers.prefilter.find_next(message, 0).is_none() {
            return;
        }
        let mut envelope = Envelope::parse(message, true, self.matchers.time_defaults);
        envelope.timestamp = at.or(envelope.timestamp);
        envelope.request_id = request.or(envelope.request_id);
        self.process_envelope(envelope, block_range(0, 0, message.len()), None, sink);
        self.finish(sink);
    }

    /// Ends the source: emits the events of open entries.
    pub fn finish(&mut self, sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>)) {
        if let Some(pending) = self.pending.take() {
            self.emit_pending(&pending, sink);
        }
        if let Some(mut event) = self.violation.take() {
            Self::emit_violation(&mut event, true, sink);
        }
    }

    /// Starts a constraint violation; returns `false` if the line is not the first of one.
    fn start_violation(
        &mut self,
        envelope: &Envelope<'_>,
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let Some(mut event) = ViolationEvent::from_first_line(envelope, byte_range) else { return false };
        self.emit_pattern_matches(envelope, byte_range, sink);
        // A new violation ends the previous one, which can get no more lines.
        if let Some(mut before) = self.violation.take() {
            Self::emit_violation(&mut before, true, sink);
        }
        if event.is_multiline {
            self.violation = Some(event);
        } else {
            Self::emit_violation(&mut event, true, sink);
        }
        true
    }

    /// Continues or ends the open violation, and returns the relation of the line to it.
    fn continue_violation(
        &mut self,
        line: &[u8],
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> LineRelation {
        let Some(mut event) = self.violation.take() else { return LineRelation::Ends };
        let envelope = Envelope::parse(line, true, self.matchers.time_defaults);
        let relation = event.take_line(&envelope, byte_range);
        match relation {
            LineRelation::Ends => Self::emit_violation(&mut event, true, sink),
            LineRelation::Interleaved => self.violation = Some(event),
            LineRelation::Continues => {
                self.emit_pattern_matches(&envelope, byte_range, sink);
                Self::emit_violation(&mut event, false, sink);
                self.violation = Some(event);
            }
        }
        relation
    }

    /// Emits the events of a violation that were not emitted yet: a duplicate token as soon as it is certain, and
    /// every line that contains the token in full.
    fn emit_violation(
        event: &mut ViolationEvent,
        is_over: bool,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        let Some(token) =
            event.duplicate_token().filter(|token| is_over || token.is_some() || event.has_statement())
        else {
            return;
        };
        let (token, at) = (token.map(<[u8]>::to_vec), event.timestamp);
        let prefix = token.as_deref().and_then(full_token_prefix);
        let event_of = |kind| LogEvent {
            at,
            token_prefix: prefix.as_ref().map(|(prefix, _)| Cow::Borrowed(prefix.as_str())),
            ..LogEvent::new(kind)
        };
        let emitted = event.emitted_lines.unwrap_or(0);
        if event.emitted_lines.is_none()
            && let (Some(first), Some(last)) = (event.lines.first(), event.lines.last())
        {
            let excerpt = LogExcerpt { from: first.from, to: last.to, text: &first.text };
            sink(event_of(LogEventKind::DuplicateToken), excerpt);
        }
        event.emitted_lines = Some(event.lines.len());
        let Some(token) = token.filter(|_| prefix.as_ref().is_some_and(|(_, whole)| *whole)) else { return };
        for line in event.lines.iter().skip(emitted) {
            if memchr::memmem::find(&line.text, &token).is_some() {
                let excerpt = LogExcerpt { from: line.from, to: line.to, text: &line.text };
                sink(event_of(LogEventKind::TokenInLog), excerpt);
            }
        }
    }

    fn process_envelope(
        &mut self,
        mut envelope: Envelope<'_>,
        byte_range: ByteRange,
        mut known: Option<(usize, usize)>,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        // Colors may separate a key from its value, and removing them shifts all offsets.
        if let Cow::Owned(plain) = strip_ansi(&envelope.message) {
            (envelope.message, known) = (Cow::Owned(plain), None);
        }
        let first = known.or_else(|| self.matchers.prefilter.find_next(&envelope.message, 0));
        if first.is_none() && envelope.outer_object.is_none() {
            return;
        }
        self.counters.hits += 1;
        let is_text = envelope.message.is_ascii() || std::str::from_utf8(&envelope.message).is_ok();
        self.counters.not_utf8 += u64::from(!is_text);
        let complete = envelope.is_complete;
        if first.is_some_and(|(_, which)| Matchers::literal_kind(which) == LiteralKind::UniqueViolation)
            && self.start_violation(&envelope, byte_range, sink)
        {
            return;
        }
        let mut classification = first
            .and_then(|(at, which)| classify_from_hit(self.matchers, &envelope.message, at, which, complete));
        if classification.is_none_or(|found| found.kind.is_none())
            && let Some(outer) = envelope.outer_object.take()
        {
            // The event may be in a different field of the object than the message.
            match classify_message(self.matchers, &outer, true) {
                Some(found) => (classification, envelope.message) = (Some(found), outer),
                None => envelope.outer_object = Some(outer),
            }
        }
        self.emit_pattern_matches(&envelope, byte_range, sink);
        let Some(classification) = classification else {
            self.counters.unrecognized += u64::from(self.matchers.patterns.is_empty());
            return;
        };
        let mut facts = ExtractedFields::default();
        let open = facts.collect_fields(
            envelope.message.get(classification.fields_from..).unwrap_or_default(),
            envelope.is_complete,
            TextForm::from_is_call(classification.is_call),
            self.matchers.time_defaults,
        );
        let goes_on =
            classification.is_multiline && (classification.kind.is_some() || classification.is_call);
        if open && goes_on && envelope.is_complete {
            self.pending = Some(PendingEntry::new(envelope, classification, byte_range));
            return;
        }
        if classification.kind.is_none() {
            facts.collect_bare_token(&envelope.message, classification);
        }
        if let Some(outer) = &envelope.outer_object {
            facts.collect_fields(outer, true, TextForm::Plain, self.matchers.time_defaults);
        }
        let context = EntryContext {
            classification,
            timestamp: envelope.timestamp,
            request_id: envelope.request_id.as_deref(),
            excerpt: LogExcerpt { from: byte_range.from, to: byte_range.to, text: &envelope.message },
        };
        self.emit_events(&facts, context, sink);
    }

    /// Emits an event for every custom pattern that the message matches.
    fn emit_pattern_matches(
        &self,
        envelope: &Envelope<'_>,
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        for (number, pattern) in self.matchers.patterns.iter().enumerate() {
            let Some(captures) = pattern.match_message(&envelope.message) else { continue };
            let mut facts = ExtractedFields::default();
            facts.collect_fields(
                &envelope.message,
                envelope.is_complete,
                TextForm::Plain,
                self.matchers.time_defaults,
            );
            let mut event = facts.to_event(LogEventKind::Pattern);
            if let Some(captures) = &captures {
                let group = |name: &str| captures.name(name).map(|found| found.as_bytes());
                event.user = group("user").and_then(parse_user_id).or(event.user);
                event.other_user = group("other").and_then(parse_user_id).or(event.other_user);
                let reason = group("reason").map(String::from_utf8_lossy);
                let reason =
                    reason.and_then(|text| Some(Cow::Owned(reason::sanitize_reason(&text)?.into_owned())));
                event.reason = reason.or(event.reason);
                let request = group("request").map(String::from_utf8_lossy).and_then(validate_request_id);
                event.request_id = request.or(event.request_id);
                let prefix = captures.name("token").and_then(|found| {
                    captured_prefix(found.as_bytes(), envelope.message.get(found.end()..).unwrap_or_default())
                });
                event.token_prefix = prefix.or(event.token_prefix);
            }
            event.pattern_index = Some(number);
            // The envelope's own timestamp is more reliable than one in the message.
            event.at = envelope.timestamp.or(event.at);
            if event.request_id.is_none() {
                event.request_id =
                    envelope.request_id.as_deref().map(Cow::Borrowed).and_then(validate_request_id);
            }
            sink(event, LogExcerpt { from: byte_range.from, to: byte_range.to, text: &envelope.message });
        }
    }

    /// Adds a line to the last entry. Returns `false` if the line does not continue the entry, which then ends.
    fn continue_entry(
        &mut self,
        line: &[u8],
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let Some(mut pending) = self.pending.take() else { return false };
        let Some(message) = pending.continuation(line, self.matchers.time_defaults) else {
            self.emit_pending(&pending, sink);
            return false;
        };
        pending.text.push(b'\n');
        pending.text.extend_from_slice(&message);
        (pending.lines, pending.to) = (pending.lines + 1, byte_range.to);
        // Without a closing bracket the entry cannot be complete, so parsing it again would be wasted.
        let ends = memchr::memchr2(b'}', b']', &message).is_some();
        if !ends || !self.emit_if_complete(&pending, EntryEnd::Possible, sink) {
            self.pending = Some(pending);
        }
        true
    }

    fn emit_pending(&mut self, pending: &PendingEntry, sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>)) {
        self.emit_if_complete(pending, EntryEnd::Certain, sink);
    }

    /// Emits the events of an entry if it has ended; returns whether it has.
    fn emit_if_complete(
        &mut self,
        pending: &PendingEntry,
        ended: EntryEnd,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let mut facts = ExtractedFields::default();
        let classification = pending.classification;
        let text = pending.text.get(classification.fields_from..).unwrap_or_default();
        if facts.collect_fields(
            text,
            true,
            TextForm::from_is_call(classification.is_call),
            self.matchers.time_defaults,
        ) && ended == EntryEnd::Possible
        {
            return false;
        }
        if let Some(outer) = &pending.outer_object {
            facts.collect_fields(outer, true, TextForm::Plain, self.matchers.time_defaults);
        }
        let context = EntryContext {
            classification,
            timestamp: pending.timestamp,
            request_id: pending.request_id.as_deref(),
            excerpt: LogExcerpt { from: pending.from, to: pending.to, text: &pending.text },
        };
        self.emit_events(&facts, context, sink);
        true
    }

    /// Emits the events of a complete entry.
    fn emit_events<'a>(
        &mut self,
        fields: &ExtractedFields<'a>,
        context: EntryContext<'a>,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        let EntryContext { classification, timestamp, request_id, excerpt } = context;
        let complete = |mut event: LogEvent<'a>| {
            event.at = timestamp.or(event.at);
            if event.request_id.is_none() {
                event.request_id = request_id.map(Cow::Borrowed).and_then(validate_request_id);
            }
            event
        };
        if let Some(kind) = classification.kind {
            let mut event = complete(fields.to_event(kind));
            let (begin, end) = classification.error_code;
            if begin < end {
                event.reason = excerpt.text.get(begin..end).and_then(parse_error_code);
            }
            self.counters.truncated += u64::from(event.is_truncated);
            sink(event, excerpt);
        }
        // A message with a full token also yields an event of its own, because the token is in the log whatever
        // happened.
        if let Some(prefix) = fields.leaked_prefix() {
            let found = complete(fields.to_event(LogEventKind::TokenInLog));
            sink(LogEvent { token_prefix: Some(prefix.clone()), ..found }, excerpt);
        } else if classification.kind.is_none() {
            self.counters.unrecognized += 1;
        }
    }
}

#[cfg(test)]
mod tests;

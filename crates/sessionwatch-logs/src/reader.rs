//! Lines into signals: the pre-filter, and putting together what was logged over several lines.

mod counters;
mod pending;

use crate::{
    byte_range::ByteRange,
    classify::{Classification, classify_from_hit, classify_message},
    envelope::Envelope,
    fields::{
        ExtractedFields, TextForm, captured_prefix, full_token_prefix, parse_error_code, parse_user_id,
        validate_request_id,
    },
    key_values::strip_ansi,
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

/// Whether an entry goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryEnd {
    /// If its object does not.
    Possible,
    /// It does not.
    Certain,
}

/// What is known of an entry that has ended, besides its fields.
struct EntryContext<'a> {
    classification: Classification,
    timestamp: Option<UtcTimestamp>,
    request_id: Option<&'a str>,
    excerpt: LogExcerpt<'a>,
}

/// Where a part of a block is whose first byte is `at` so many bytes.
fn block_range(offset: u64, from: usize, to: usize) -> ByteRange {
    ByteRange { from: offset + from as u64, to: offset + to as u64 }
}

/// Reads lines.
#[derive(Debug)]
pub struct LogReader<'g> {
    matchers: &'g Matchers,
    pending: Option<PendingEntry>,
    /// A violation that the log of a database server tells of over lines.
    violation: Option<ViolationEvent>,
    counters: ReadCounters,
}

impl<'g> LogReader<'g> {
    /// One that has read nothing.
    #[must_use]
    pub fn new(matchers: &'g Matchers) -> Self {
        Self { matchers, pending: None, violation: None, counters: ReadCounters::default() }
    }

    /// What was read so far.
    #[must_use]
    pub fn counters(&self) -> ReadCounters {
        self.counters
    }

    /// Whether an entry may go on in the next line.
    #[must_use]
    pub fn has_pending_entry(&self) -> bool {
        self.pending.is_some() || self.violation.is_some()
    }

    /// Returns where the entry begins that may go on in the next line, or `None` if every entry has ended. Reading again from
    /// there brings a new reader into the same state; signals that were already given are given again then.
    #[must_use]
    pub fn pending_offset(&self) -> Option<u64> {
        let event = self.violation.as_ref().and_then(|event| event.lines.first()).map(|line| line.from);
        self.pending.as_ref().map(|pending| pending.from).into_iter().chain(event).min()
    }

    /// Hands the open entry over to the reader of the file that follows, if `line`, the first one of that file, continues
    /// the entry. There, the entry begins at byte 0. Returns `true` if it was handed over.
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

    /// Notes a line that was longer than a line may be.
    pub fn count_overlong_line(&mut self) {
        self.counters.overlong += 1;
    }

    /// Reads a block of whole lines, the first of which begins `at` so many bytes. `ended` says whether the last one is
    /// known to be whole where no line break follows.
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
        while from < block.len() {
            if self.pending.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], block_range(offset, from, end));
                if self.continue_entry(line, place, sink) {
                    from = end;
                    continue;
                }
            }
            let mut within = block;
            if self.violation.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], block_range(offset, from, end));
                match self.continue_violation(line, place, sink) {
                    LineRelation::Continues => {
                        from = end;
                        continue;
                    }
                    // Such a line is read by itself, and the next one may belong to the event again.
                    LineRelation::Interleaved => within = &block[..end],
                    LineRelation::Ends => {}
                }
            }
            let Some((hit, which)) = self.matchers.prefilter.find_next(within, from) else {
                if within.len() == block.len() {
                    break;
                }
                from = within.len();
                continue;
            };
            let begin = memrchr(b'\n', &block[from..hit]).map_or(from, |before| from + before + 1);
            let end = memchr(b'\n', &block[hit..]).map_or(block.len(), |end| hit + end + 1);
            let complete = ended || block[end - 1] == b'\n';
            let line = &block[begin..end];
            let frame = Envelope::parse(line, complete, self.matchers.time_defaults);
            // In what is a part of the line, its literal stands where it stood.
            let known = match &frame.message {
                Cow::Borrowed(message) => {
                    let skipped = message.as_ptr().addr() - line.as_ptr().addr();
                    (hit - begin).checked_sub(skipped).map(|hit| (hit, which))
                }
                Cow::Owned(_) => None,
            };
            self.process_envelope(frame, block_range(offset, begin, end), known, sink);
            from = end;
        }
    }

    /// Reads what may go on with the last entry, and nothing else: whether it may still go on.
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

    /// Reads an entry that is known to be whole, as a drain hands it over, with what is known of it besides.
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
        let mut frame = Envelope::parse(message, true, self.matchers.time_defaults);
        frame.timestamp = at.or(frame.timestamp);
        frame.request_id = request.or(frame.request_id);
        self.process_envelope(frame, block_range(0, 0, message.len()), None, sink);
        self.finish(sink);
    }

    /// Says that nothing follows.
    pub fn finish(&mut self, sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>)) {
        if let Some(pending) = self.pending.take() {
            self.emit_pending(&pending, sink);
        }
        if let Some(mut event) = self.violation.take() {
            Self::emit_violation(&mut event, true, sink);
        }
    }

    /// Whether a line begins to tell of a violation.
    fn start_violation(
        &mut self,
        envelope: &Envelope<'_>,
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let Some(mut event) = ViolationEvent::from_first_line(envelope, byte_range) else { return false };
        self.emit_pattern_matches(envelope, byte_range, sink);
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

    /// What a line is to the violation that is open, which takes it in or ends.
    fn continue_violation(
        &mut self,
        line: &[u8],
        byte_range: ByteRange,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> LineRelation {
        let Some(mut event) = self.violation.take() else { return LineRelation::Ends };
        let frame = Envelope::parse(line, true, self.matchers.time_defaults);
        let follows = event.take_line(&frame, byte_range);
        match follows {
            LineRelation::Ends => Self::emit_violation(&mut event, true, sink),
            LineRelation::Interleaved => self.violation = Some(event),
            LineRelation::Continues => {
                self.emit_pattern_matches(&frame, byte_range, sink);
                Self::emit_violation(&mut event, false, sink);
                self.violation = Some(event);
            }
        }
        follows
    }

    /// Gives what a violation says that is not given yet: a token that two sessions were to have, as soon as that is certain, and
    /// the lines that it stands in.
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
        let signal = |kind| LogEvent {
            at,
            token_prefix: prefix.as_ref().map(|(prefix, _)| Cow::Borrowed(prefix.as_str())),
            ..LogEvent::new(kind)
        };
        let told = event.emitted_lines.unwrap_or(0);
        if event.emitted_lines.is_none()
            && let (Some(first), Some(last)) = (event.lines.first(), event.lines.last())
        {
            let place = LogExcerpt { from: first.from, to: last.to, text: &first.text };
            sink(signal(LogEventKind::DuplicateToken), place);
        }
        event.emitted_lines = Some(event.lines.len());
        let Some(token) = token.filter(|_| prefix.as_ref().is_some_and(|(_, whole)| *whole)) else { return };
        for line in event.lines.iter().skip(told) {
            if memchr::memmem::find(&line.text, &token).is_some() {
                let place = LogExcerpt { from: line.from, to: line.to, text: &line.text };
                sink(signal(LogEventKind::TokenInLog), place);
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
        let mut recognised = first
            .and_then(|(at, which)| classify_from_hit(self.matchers, &envelope.message, at, which, complete));
        if recognised.is_none_or(|found| found.kind.is_none())
            && let Some(outer) = envelope.outer_object.take()
        {
            // What happened may stand beside the message.
            match classify_message(self.matchers, &outer, true) {
                Some(found) => (recognised, envelope.message) = (Some(found), outer),
                None => envelope.outer_object = Some(outer),
            }
        }
        self.emit_pattern_matches(&envelope, byte_range, sink);
        let Some(recognised) = recognised else {
            self.counters.unrecognized += u64::from(self.matchers.patterns.is_empty());
            return;
        };
        let mut facts = ExtractedFields::default();
        let open = facts.collect_fields(
            envelope.message.get(recognised.fields_from..).unwrap_or_default(),
            envelope.is_complete,
            TextForm::from_is_call(recognised.is_call),
            self.matchers.time_defaults,
        );
        let goes_on = recognised.is_multiline && (recognised.kind.is_some() || recognised.is_call);
        if open && goes_on && envelope.is_complete {
            self.pending = Some(PendingEntry::new(envelope, recognised, byte_range));
            return;
        }
        if recognised.kind.is_none() {
            facts.collect_bare_token(&envelope.message, recognised);
        }
        if let Some(outer) = &envelope.outer_object {
            facts.collect_fields(outer, true, TextForm::Plain, self.matchers.time_defaults);
        }
        let said = EntryContext {
            classification: recognised,
            timestamp: envelope.timestamp,
            request_id: envelope.request_id.as_deref(),
            excerpt: LogExcerpt { from: byte_range.from, to: byte_range.to, text: &envelope.message },
        };
        self.emit_events(&facts, said, sink);
    }

    /// The patterns of the operator's that a message matches.
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
            let mut signal = facts.to_event(LogEventKind::Pattern);
            if let Some(captures) = &captures {
                let group = |name: &str| captures.name(name).map(|found| found.as_bytes());
                signal.user = group("user").and_then(parse_user_id).or(signal.user);
                signal.other_user = group("other").and_then(parse_user_id).or(signal.other_user);
                let reason = group("reason").map(String::from_utf8_lossy);
                let reason =
                    reason.and_then(|text| Some(Cow::Owned(reason::sanitize_reason(&text)?.into_owned())));
                signal.reason = reason.or(signal.reason);
                let request = group("request").map(String::from_utf8_lossy).and_then(validate_request_id);
                signal.request_id = request.or(signal.request_id);
                let prefix = captures.name("token").and_then(|found| {
                    captured_prefix(found.as_bytes(), envelope.message.get(found.end()..).unwrap_or_default())
                });
                signal.token_prefix = prefix.or(signal.token_prefix);
            }
            signal.pattern_index = Some(number);
            signal.at = envelope.timestamp.or(signal.at);
            if signal.request_id.is_none() {
                signal.request_id =
                    envelope.request_id.as_deref().map(Cow::Borrowed).and_then(validate_request_id);
            }
            sink(signal, LogExcerpt { from: byte_range.from, to: byte_range.to, text: &envelope.message });
        }
    }

    /// Whether a line goes on with the last entry. If not, that has ended.
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
        // Only what ends something can end all of it.
        let ends = memchr::memchr2(b'}', b']', &message).is_some();
        if !ends || !self.emit_if_complete(&pending, EntryEnd::Possible, sink) {
            self.pending = Some(pending);
        }
        true
    }

    fn emit_pending(&mut self, pending: &PendingEntry, sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>)) {
        self.emit_if_complete(pending, EntryEnd::Certain, sink);
    }

    /// Gives what an entry says if it has ended: whether it has.
    fn emit_if_complete(
        &mut self,
        pending: &PendingEntry,
        ended: EntryEnd,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) -> bool {
        let mut facts = ExtractedFields::default();
        let recognised = pending.classification;
        let text = pending.text.get(recognised.fields_from..).unwrap_or_default();
        if facts.collect_fields(
            text,
            true,
            TextForm::from_is_call(recognised.is_call),
            self.matchers.time_defaults,
        ) && ended == EntryEnd::Possible
        {
            return false;
        }
        if let Some(outer) = &pending.outer_object {
            facts.collect_fields(outer, true, TextForm::Plain, self.matchers.time_defaults);
        }
        let said = EntryContext {
            classification: recognised,
            timestamp: pending.timestamp,
            request_id: pending.request_id.as_deref(),
            excerpt: LogExcerpt { from: pending.from, to: pending.to, text: &pending.text },
        };
        self.emit_events(&facts, said, sink);
        true
    }

    /// Gives what was found.
    fn emit_events<'a>(
        &mut self,
        fields: &ExtractedFields<'a>,
        context: EntryContext<'a>,
        sink: &mut impl FnMut(LogEvent<'_>, LogExcerpt<'_>),
    ) {
        let EntryContext { classification: recognised, timestamp: at, request_id: request, excerpt: place } =
            context;
        let complete = |mut signal: LogEvent<'a>| {
            signal.at = at.or(signal.at);
            if signal.request_id.is_none() {
                signal.request_id = request.map(Cow::Borrowed).and_then(validate_request_id);
            }
            signal
        };
        if let Some(kind) = recognised.kind {
            let mut signal = complete(fields.to_event(kind));
            let (begin, end) = recognised.error_code;
            if begin < end {
                signal.reason = place.text.get(begin..end).and_then(parse_error_code);
            }
            self.counters.truncated += u64::from(signal.is_truncated);
            sink(signal, place);
        }
        if let Some(prefix) = fields.leaked_prefix() {
            let found = complete(fields.to_event(LogEventKind::TokenInLog));
            sink(LogEvent { token_prefix: Some(prefix.clone()), ..found }, place);
        } else if recognised.kind.is_none() {
            self.counters.unrecognized += 1;
        }
    }
}

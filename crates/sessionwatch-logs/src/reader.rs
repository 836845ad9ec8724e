//! Lines into signals: the pre-filter, and putting together what was logged over several lines.

mod counters;
mod pending;

use crate::{
    byte_range::ByteRange,
    classify::{Classification, classify, classify_at},
    envelope::Envelope,
    fields::{ExtractedFields, TextForm, captured_prefix, code, request_id, user_id, whole_prefix},
    key_values::uncoloured,
    matchers::{LiteralKind, Matchers},
    reason,
    server_log::{Event, Follows},
    signal::{Kind, Signal},
};
use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};
use sessionwatch_core::instant::Instant;

pub use self::counters::{Counters, Place};
use self::pending::Pending;

/// Whether an entry goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryEnd {
    /// If its object does not.
    Perhaps,
    /// It does not.
    Surely,
}

/// What is known of an entry that has ended, besides its fields.
struct Said<'a> {
    recognised: Classification,
    at: Option<Instant>,
    request: Option<&'a str>,
    place: Place<'a>,
}

/// Where a part of a block is whose first byte is `at` so many bytes.
fn range(at: u64, from: usize, to: usize) -> ByteRange {
    ByteRange { from: at + from as u64, to: at + to as u64 }
}

/// Reads lines.
#[derive(Debug)]
pub struct Reader<'g> {
    grammar: &'g Matchers,
    pending: Option<Pending>,
    /// A violation that the log of a database server tells of over lines.
    event: Option<Event>,
    counters: Counters,
}

impl<'g> Reader<'g> {
    /// One that has read nothing.
    #[must_use]
    pub fn new(grammar: &'g Matchers) -> Self {
        Self { grammar, pending: None, event: None, counters: Counters::default() }
    }

    /// What was read so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether an entry may go on in the next line.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some() || self.event.is_some()
    }

    /// Returns where the entry begins that may go on in the next line, or `None` if every entry has ended. Reading again from
    /// there brings a new reader into the same state; signals that were already given are given again then.
    #[must_use]
    pub fn pending_from(&self) -> Option<u64> {
        let event = self.event.as_ref().and_then(|event| event.lines.first()).map(|line| line.from);
        self.pending.as_ref().map(|pending| pending.from).into_iter().chain(event).min()
    }

    /// Hands the open entry over to the reader of the file that follows, if `line`, the first one of that file, continues
    /// the entry. There, the entry begins at byte 0. Returns `true` if it was handed over.
    pub fn hand_over(&mut self, next: &mut Self, line: &[u8]) -> bool {
        let Some(pending) = self.pending.as_mut() else { return false };
        if next.is_pending()
            || self.event.is_some()
            || pending.continuation(line, self.grammar.clock).is_none()
        {
            return false;
        }
        pending.from = 0;
        next.pending = self.pending.take();
        true
    }

    /// Notes a line that was longer than a line may be.
    pub fn overlong(&mut self) {
        self.counters.overlong += 1;
    }

    /// Reads a block of whole lines, the first of which begins `at` so many bytes. `ended` says whether the last one is
    /// known to be whole where no line break follows.
    pub fn read(&mut self, block: &[u8], at: u64, ended: bool, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        self.counters.bytes += block.len() as u64;
        self.counters.lines += memchr_iter(b'\n', block).count() as u64;
        self.counters.lines += u64::from(block.last().is_some_and(|last| *last != b'\n'));
        let mut from = 0;
        while from < block.len() {
            if self.pending.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], range(at, from, end));
                if self.goes_on(line, place, sink) {
                    from = end;
                    continue;
                }
            }
            let mut within = block;
            if self.event.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], range(at, from, end));
                match self.follows(line, place, sink) {
                    Follows::Within => {
                        from = end;
                        continue;
                    }
                    // Such a line is read by itself, and the next one may belong to the event again.
                    Follows::Between => within = &block[..end],
                    Follows::After => {}
                }
            }
            let Some((hit, which)) = self.grammar.needles.find(within, from) else {
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
            let frame = Envelope::unwrap(line, complete, self.grammar.clock);
            // In what is a part of the line, its literal stands where it stood.
            let known = match &frame.message {
                Cow::Borrowed(message) => {
                    let skipped = message.as_ptr().addr() - line.as_ptr().addr();
                    (hit - begin).checked_sub(skipped).map(|hit| (hit, which))
                }
                Cow::Owned(_) => None,
            };
            self.frame(frame, range(at, begin, end), known, sink);
            from = end;
        }
    }

    /// Reads what may go on with the last entry, and nothing else: whether it may still go on.
    pub fn settle(&mut self, block: &[u8], at: u64, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) -> bool {
        let mut from = 0;
        while self.pending.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.goes_on(&block[from..end], range(at, from, end), sink);
            from = end;
        }
        from = 0;
        while self.event.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.follows(&block[from..end], range(at, from, end), sink);
            from = end;
        }
        self.is_pending()
    }

    /// Reads an entry that is known to be whole, as a drain hands it over, with what is known of it besides.
    pub fn entry(
        &mut self,
        message: &[u8],
        at: Option<Instant>,
        request: Option<String>,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        self.finish(sink);
        self.counters.lines += 1;
        self.counters.bytes += message.len() as u64;
        if self.grammar.needles.find(message, 0).is_none() {
            return;
        }
        let mut frame = Envelope::unwrap(message, true, self.grammar.clock);
        frame.at = at.or(frame.at);
        frame.request = request.or(frame.request);
        self.frame(frame, range(0, 0, message.len()), None, sink);
        self.finish(sink);
    }

    /// Says that nothing follows.
    pub fn finish(&mut self, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        if let Some(pending) = self.pending.take() {
            self.close(&pending, sink);
        }
        if let Some(mut event) = self.event.take() {
            Self::tell_violation(&mut event, true, sink);
        }
    }

    /// Whether a line begins to tell of a violation.
    fn begins_violation(
        &mut self,
        frame: &Envelope<'_>,
        place: ByteRange,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> bool {
        let Some(mut event) = Event::begin(frame, place) else { return false };
        self.patterns(frame, place, sink);
        if let Some(mut before) = self.event.take() {
            Self::tell_violation(&mut before, true, sink);
        }
        if event.spreads {
            self.event = Some(event);
        } else {
            Self::tell_violation(&mut event, true, sink);
        }
        true
    }

    /// What a line is to the violation that is open, which takes it in or ends.
    fn follows(
        &mut self,
        line: &[u8],
        place: ByteRange,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> Follows {
        let Some(mut event) = self.event.take() else { return Follows::After };
        let frame = Envelope::unwrap(line, true, self.grammar.clock);
        let follows = event.take(&frame, place);
        match follows {
            Follows::After => Self::tell_violation(&mut event, true, sink),
            Follows::Between => self.event = Some(event),
            Follows::Within => {
                self.patterns(&frame, place, sink);
                Self::tell_violation(&mut event, false, sink);
                self.event = Some(event);
            }
        }
        follows
    }

    /// Gives what a violation says that is not given yet: a token that two sessions were to have, as soon as that is certain, and
    /// the lines that it stands in.
    fn tell_violation(event: &mut Event, is_over: bool, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        let Some(token) = event.token().filter(|token| is_over || token.is_some() || event.has_statement())
        else {
            return;
        };
        let (token, at) = (token.map(<[u8]>::to_vec), event.at);
        let prefix = token.as_deref().and_then(whole_prefix);
        let signal = |kind| Signal {
            at,
            prefix: prefix.as_ref().map(|(prefix, _)| Cow::Borrowed(prefix.as_str())),
            ..Signal::of(kind)
        };
        let told = event.told.unwrap_or(0);
        if event.told.is_none()
            && let (Some(first), Some(last)) = (event.lines.first(), event.lines.last())
        {
            let place = Place { from: first.from, to: last.to, text: &first.text };
            sink(signal(Kind::DuplicateToken), place);
        }
        event.told = Some(event.lines.len());
        let Some(token) = token.filter(|_| prefix.as_ref().is_some_and(|(_, whole)| *whole)) else { return };
        for line in event.lines.iter().skip(told) {
            if memchr::memmem::find(&line.text, &token).is_some() {
                let place = Place { from: line.from, to: line.to, text: &line.text };
                sink(signal(Kind::TokenInLog), place);
            }
        }
    }

    fn frame(
        &mut self,
        mut frame: Envelope<'_>,
        place: ByteRange,
        mut known: Option<(usize, usize)>,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        if let Cow::Owned(plain) = uncoloured(&frame.message) {
            (frame.message, known) = (Cow::Owned(plain), None);
        }
        let first = known.or_else(|| self.grammar.needles.find(&frame.message, 0));
        if first.is_none() && frame.outer.is_none() {
            return;
        }
        self.counters.hits += 1;
        let is_text = frame.message.is_ascii() || std::str::from_utf8(&frame.message).is_ok();
        self.counters.not_utf8 += u64::from(!is_text);
        let complete = frame.complete;
        if first.is_some_and(|(_, which)| Matchers::what(which) == LiteralKind::Violation)
            && self.begins_violation(&frame, place, sink)
        {
            return;
        }
        let mut recognised =
            first.and_then(|(at, which)| classify_at(self.grammar, &frame.message, at, which, complete));
        if recognised.is_none_or(|found| found.kind.is_none())
            && let Some(outer) = frame.outer.take()
        {
            // What happened may stand beside the message.
            match classify(self.grammar, &outer, true) {
                Some(found) => (recognised, frame.message) = (Some(found), outer),
                None => frame.outer = Some(outer),
            }
        }
        self.patterns(&frame, place, sink);
        let Some(recognised) = recognised else {
            self.counters.meaningless += u64::from(self.grammar.patterns.is_empty());
            return;
        };
        let mut facts = ExtractedFields::default();
        let open = facts.gather(
            frame.message.get(recognised.from..).unwrap_or_default(),
            frame.complete,
            TextForm::of(recognised.call),
            self.grammar.clock,
        );
        let goes_on = recognised.spreads && (recognised.kind.is_some() || recognised.call);
        if open && goes_on && frame.complete {
            self.pending = Some(Pending::new(frame, recognised, place));
            return;
        }
        if recognised.kind.is_none() {
            facts.gather_token(&frame.message, recognised);
        }
        if let Some(outer) = &frame.outer {
            facts.gather(outer, true, TextForm::Plain, self.grammar.clock);
        }
        let said = Said {
            recognised,
            at: frame.at,
            request: frame.request.as_deref(),
            place: Place { from: place.from, to: place.to, text: &frame.message },
        };
        self.tell(&facts, said, sink);
    }

    /// The patterns of the operator's that a message matches.
    fn patterns(&self, frame: &Envelope<'_>, place: ByteRange, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        for (number, pattern) in self.grammar.patterns.iter().enumerate() {
            let Some(captures) = pattern.matches(&frame.message) else { continue };
            let mut facts = ExtractedFields::default();
            facts.gather(&frame.message, frame.complete, TextForm::Plain, self.grammar.clock);
            let mut signal = facts.signal(Kind::Pattern);
            if let Some(captures) = &captures {
                let group = |name: &str| captures.name(name).map(|found| found.as_bytes());
                signal.user = group("user").and_then(user_id).or(signal.user);
                signal.other = group("other").and_then(user_id).or(signal.other);
                let reason = group("reason").map(String::from_utf8_lossy);
                let reason = reason.and_then(|text| Some(Cow::Owned(reason::reason(&text)?.into_owned())));
                signal.reason = reason.or(signal.reason);
                let request = group("request").map(String::from_utf8_lossy).and_then(request_id);
                signal.request = request.or(signal.request);
                let prefix = captures.name("token").and_then(|found| {
                    captured_prefix(found.as_bytes(), frame.message.get(found.end()..).unwrap_or_default())
                });
                signal.prefix = prefix.or(signal.prefix);
            }
            signal.pattern = Some(number);
            signal.at = frame.at.or(signal.at);
            if signal.request.is_none() {
                signal.request = frame.request.as_deref().map(Cow::Borrowed).and_then(request_id);
            }
            sink(signal, Place { from: place.from, to: place.to, text: &frame.message });
        }
    }

    /// Whether a line goes on with the last entry. If not, that has ended.
    fn goes_on(
        &mut self,
        line: &[u8],
        place: ByteRange,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> bool {
        let Some(mut pending) = self.pending.take() else { return false };
        let Some(message) = pending.continuation(line, self.grammar.clock) else {
            self.close(&pending, sink);
            return false;
        };
        pending.text.push(b'\n');
        pending.text.extend_from_slice(&message);
        (pending.lines, pending.to) = (pending.lines + 1, place.to);
        // Only what ends something can end all of it.
        let ends = memchr::memchr2(b'}', b']', &message).is_some();
        if !ends || !self.close_if(&pending, EntryEnd::Perhaps, sink) {
            self.pending = Some(pending);
        }
        true
    }

    fn close(&mut self, pending: &Pending, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        self.close_if(pending, EntryEnd::Surely, sink);
    }

    /// Gives what an entry says if it has ended: whether it has.
    fn close_if(
        &mut self,
        pending: &Pending,
        ended: EntryEnd,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> bool {
        let mut facts = ExtractedFields::default();
        let recognised = pending.recognised;
        let text = pending.text.get(recognised.from..).unwrap_or_default();
        if facts.gather(text, true, TextForm::of(recognised.call), self.grammar.clock)
            && ended == EntryEnd::Perhaps
        {
            return false;
        }
        if let Some(outer) = &pending.outer {
            facts.gather(outer, true, TextForm::Plain, self.grammar.clock);
        }
        let said = Said {
            recognised,
            at: pending.at,
            request: pending.request.as_deref(),
            place: Place { from: pending.from, to: pending.to, text: &pending.text },
        };
        self.tell(&facts, said, sink);
        true
    }

    /// Gives what was found.
    fn tell<'a>(
        &mut self,
        facts: &ExtractedFields<'a>,
        said: Said<'a>,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        let Said { recognised, at, request, place } = said;
        let complete = |mut signal: Signal<'a>| {
            signal.at = at.or(signal.at);
            if signal.request.is_none() {
                signal.request = request.map(Cow::Borrowed).and_then(request_id);
            }
            signal
        };
        if let Some(kind) = recognised.kind {
            let mut signal = complete(facts.signal(kind));
            let (begin, end) = recognised.code;
            if begin < end {
                signal.reason = place.text.get(begin..end).and_then(code);
            }
            self.counters.truncated += u64::from(signal.truncated);
            sink(signal, place);
        }
        if let Some(prefix) = facts.leaked() {
            let found = complete(facts.signal(Kind::TokenInLog));
            sink(Signal { prefix: Some(prefix.clone()), ..found }, place);
        } else if recognised.kind.is_none() {
            self.counters.meaningless += 1;
        }
    }
}

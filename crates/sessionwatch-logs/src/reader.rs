//! Lines into signals: the pre-filter, and putting together what was logged over several lines.

use crate::{
    frame::Frame,
    grammar::{Grammar, What},
    pairs::uncoloured,
    reason,
    recognise::{
        Facts, Recognised, captured_prefix, code, recognise, recognise_at, request_id, user_id, whole_prefix,
    },
    server_log::{Event, Follows},
    signal::{Kind, Signal},
    time::Clock,
};
use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};
use sessionwatch_core::instant::Instant;

/// Bytes of one entry over several lines.
const LONGEST: usize = 64 << 10;
/// Lines of one entry.
const LINES: u32 = 200;

/// Where a signal was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The first byte, from where the source begins.
    pub from: u64,
    /// The byte after the last one.
    pub to: u64,
    /// What was logged, without what carried it.
    pub text: &'a [u8],
}

/// What was read, and what was not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Lines with a literal that is looked for.
    pub hits: u64,
    /// Hits that say nothing that is known.
    pub meaningless: u64,
    /// Entries whose end is missing.
    pub truncated: u64,
    /// Hits that are not UTF-8; they are read all the same.
    pub not_utf8: u64,
    /// Lines longer than a line may be; what comes after that is not looked at.
    pub overlong: u64,
}

impl Counters {
    /// What came after others.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            lines: self.lines - before.lines,
            bytes: self.bytes - before.bytes,
            hits: self.hits - before.hits,
            meaningless: self.meaningless - before.meaningless,
            truncated: self.truncated - before.truncated,
            not_utf8: self.not_utf8 - before.not_utf8,
            overlong: self.overlong - before.overlong,
        }
    }

    /// Adds others to these.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.hits += other.hits;
        self.meaningless += other.meaningless;
        self.truncated += other.truncated;
        self.not_utf8 += other.not_utf8;
        self.overlong += other.overlong;
    }
}

/// An entry that may go on in the next line.
#[derive(Debug)]
struct Pending {
    text: Vec<u8>,
    recognised: Recognised,
    outer: Option<Vec<u8>>,
    at: Option<Instant>,
    request: Option<String>,
    from: u64,
    to: u64,
    lines: u32,
    /// Something carried its first line.
    carried: bool,
}

impl Pending {
    /// Returns what a line adds to the entry, or `None` if the line does not continue it.
    fn continuation(&self, line: &[u8], clock: Clock) -> Option<Vec<u8>> {
        // What nothing carried goes on in lines that nothing carries.
        let inner =
            !self.carried && line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let frame =
            if inner { Frame::of(line.trim_ascii_end(), true) } else { Frame::unwrap(line, true, clock) };
        let message = uncoloured(&frame.message);
        let fits = self.lines < LINES && self.text.len() + message.len() < LONGEST;
        // What Node and JSON print of an object is indented, but for its end. One space parts a line from what carries it.
        let own = if frame.begins { message.strip_prefix(b" ").unwrap_or(&message) } else { &message };
        let inside = own.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let begins = frame.begins && !self.carried;
        (fits && inside && !begins).then(|| message.into_owned())
    }
}

/// Whether an entry goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// If its object does not.
    Perhaps,
    /// It does not.
    Surely,
}

/// Reads lines.
#[derive(Debug)]
pub struct Reader<'g> {
    grammar: &'g Grammar,
    pending: Option<Pending>,
    /// A violation that the log of a database server tells of over lines.
    event: Option<Event>,
    counters: Counters,
}

impl<'g> Reader<'g> {
    /// One that has read nothing.
    #[must_use]
    pub fn new(grammar: &'g Grammar) -> Self {
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
    pub fn read(
        &mut self,
        block: &[u8],
        (at, ended): (u64, bool),
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        self.counters.bytes += block.len() as u64;
        self.counters.lines += memchr_iter(b'\n', block).count() as u64;
        self.counters.lines += u64::from(block.last().is_some_and(|last| *last != b'\n'));
        let mut from = 0;
        while from < block.len() {
            if self.pending.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], (at + from as u64, at + end as u64));
                if self.goes_on(line, place, sink) {
                    from = end;
                    continue;
                }
            }
            let mut within = block;
            if self.event.is_some() {
                let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
                let (line, place) = (&block[from..end], (at + from as u64, at + end as u64));
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
            let frame = Frame::unwrap(line, complete, self.grammar.clock);
            // In what is a part of the line, its literal stands where it stood.
            let known = match &frame.message {
                Cow::Borrowed(message) => {
                    let skipped = message.as_ptr().addr() - line.as_ptr().addr();
                    (hit - begin).checked_sub(skipped).map(|hit| (hit, which))
                }
                Cow::Owned(_) => None,
            };
            self.frame(frame, ((at + begin as u64, at + end as u64), known), sink);
            from = end;
        }
    }

    /// Reads what may go on with the last entry, and nothing else: whether it may still go on.
    pub fn settle(&mut self, block: &[u8], at: u64, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) -> bool {
        let mut from = 0;
        while self.pending.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.goes_on(&block[from..end], (at + from as u64, at + end as u64), sink);
            from = end;
        }
        from = 0;
        while self.event.is_some() && from < block.len() {
            let end = memchr(b'\n', &block[from..]).map_or(block.len(), |end| from + end + 1);
            self.follows(&block[from..end], (at + from as u64, at + end as u64), sink);
            from = end;
        }
        self.is_pending()
    }

    /// Reads an entry that is known to be whole, as a drain hands it over, with what is known of it besides.
    pub fn entry(
        &mut self,
        message: &[u8],
        (at, request): (Option<Instant>, Option<String>),
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        self.finish(sink);
        self.counters.lines += 1;
        self.counters.bytes += message.len() as u64;
        if self.grammar.needles.find(message, 0).is_none() {
            return;
        }
        let mut frame = Frame::unwrap(message, true, self.grammar.clock);
        frame.at = at.or(frame.at);
        frame.request = request.or(frame.request);
        self.frame(frame, ((0, message.len() as u64), None), sink);
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
        frame: &Frame<'_>,
        place: (u64, u64),
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
        place: (u64, u64),
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> Follows {
        let Some(mut event) = self.event.take() else { return Follows::After };
        let frame = Frame::unwrap(line, true, self.grammar.clock);
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
        mut frame: Frame<'_>,
        ((from, to), mut known): ((u64, u64), Option<(usize, usize)>),
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
        if first.is_some_and(|(_, which)| Grammar::what(which) == What::Violation)
            && self.begins_violation(&frame, (from, to), sink)
        {
            return;
        }
        let mut recognised =
            first.and_then(|first| recognise_at(self.grammar, &frame.message, (first, complete)));
        if recognised.is_none_or(|found| found.kind.is_none())
            && let Some(outer) = frame.outer.take()
        {
            // What happened may stand beside the message.
            match recognise(self.grammar, &outer, true) {
                Some(found) => (recognised, frame.message) = (Some(found), outer),
                None => frame.outer = Some(outer),
            }
        }
        self.patterns(&frame, (from, to), sink);
        let Some(recognised) = recognised else {
            self.counters.meaningless += u64::from(self.grammar.patterns.is_empty());
            return;
        };
        let mut facts = Facts::default();
        let open = facts.gather(
            frame.message.get(recognised.from..).unwrap_or_default(),
            (frame.complete, recognised.call),
            self.grammar.clock,
        );
        let goes_on = recognised.spreads && (recognised.kind.is_some() || recognised.call);
        if open && goes_on && frame.complete {
            self.pending = Some(Pending {
                recognised,
                outer: frame.outer.map(Cow::into_owned),
                at: frame.at,
                request: frame.request,
                from,
                to,
                lines: 1,
                carried: frame.begins,
                text: frame.message.into_owned(),
            });
            return;
        }
        if recognised.kind.is_none() {
            facts.gather_token(&frame.message, recognised);
        }
        if let Some(outer) = &frame.outer {
            facts.gather(outer, (true, false), self.grammar.clock);
        }
        let place = Place { from, to, text: &frame.message };
        self.tell(&facts, recognised, (frame.at, frame.request.as_deref()), (place, sink));
    }

    /// The patterns of the operator's that a message matches.
    fn patterns(
        &self,
        frame: &Frame<'_>,
        (from, to): (u64, u64),
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) {
        for (number, pattern) in self.grammar.patterns.iter().enumerate() {
            let Some(captures) = pattern.matches(&frame.message) else { continue };
            let mut facts = Facts::default();
            facts.gather(&frame.message, (frame.complete, false), self.grammar.clock);
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
            sink(signal, Place { from, to, text: &frame.message });
        }
    }

    /// Whether a line goes on with the last entry. If not, that has ended.
    fn goes_on(
        &mut self,
        line: &[u8],
        (_, to): (u64, u64),
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> bool {
        let Some(mut pending) = self.pending.take() else { return false };
        let Some(message) = pending.continuation(line, self.grammar.clock) else {
            self.close(&pending, sink);
            return false;
        };
        pending.text.push(b'\n');
        pending.text.extend_from_slice(&message);
        (pending.lines, pending.to) = (pending.lines + 1, to);
        // Only what ends something can end all of it.
        let ends = memchr::memchr2(b'}', b']', &message).is_some();
        if !ends || !self.close_if(&pending, Ended::Perhaps, sink) {
            self.pending = Some(pending);
        }
        true
    }

    fn close(&mut self, pending: &Pending, sink: &mut impl FnMut(Signal<'_>, Place<'_>)) {
        self.close_if(pending, Ended::Surely, sink);
    }

    /// Gives what an entry says if it has ended: whether it has.
    fn close_if(
        &mut self,
        pending: &Pending,
        ended: Ended,
        sink: &mut impl FnMut(Signal<'_>, Place<'_>),
    ) -> bool {
        let mut facts = Facts::default();
        let recognised = pending.recognised;
        let text = pending.text.get(recognised.from..).unwrap_or_default();
        if facts.gather(text, (true, recognised.call), self.grammar.clock) && ended == Ended::Perhaps {
            return false;
        }
        if let Some(outer) = &pending.outer {
            facts.gather(outer, (true, false), self.grammar.clock);
        }
        let place = Place { from: pending.from, to: pending.to, text: &pending.text };
        self.tell(&facts, recognised, (pending.at, pending.request.as_deref()), (place, sink));
        true
    }

    /// Gives what was found.
    fn tell<'a>(
        &mut self,
        facts: &Facts<'a>,
        recognised: Recognised,
        (at, request): (Option<Instant>, Option<&'a str>),
        (place, sink): (Place<'a>, &mut impl FnMut(Signal<'_>, Place<'_>)),
    ) {
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

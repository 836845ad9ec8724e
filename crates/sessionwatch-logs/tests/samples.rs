//! Tests of every known format with samples of real applications.
#![expect(clippy::unwrap_used, reason = "an unreadable sample fails the test")]

use std::{collections::BTreeMap, path::PathBuf};

use proptest::prelude::*;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_logs::{
    explain::explain_text,
    line_reader::{LogExcerpt, LogReader},
    log_event::{LogEvent, LogEventKind},
    matchers::Matchers,
    redact,
    timestamps::TimestampDefaults,
};

type Found = (u64, u64, LogEvent<'static>);

fn grammar() -> Matchers {
    let near = UtcTimestamp::from_micros(1_795_608_000_000_000).unwrap();
    Matchers::new(vec![], TimestampDefaults { offset_us: 0, reference: near })
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/samples"))
}

fn samples() -> BTreeMap<String, Vec<u8>> {
    let mut samples = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            samples.insert(name, std::fs::read(&path).unwrap());
        }
    }
    samples
}

fn read(grammar: &Matchers, blocks: &[&[u8]], ended: bool) -> Vec<Found> {
    let (mut found, mut reader, mut at) = (vec![], LogReader::new(grammar), 0);
    let mut sink =
        |event: LogEvent<'_>, place: LogExcerpt<'_>| found.push((place.from, place.to, event.into_owned()));
    for block in blocks {
        reader.read_block(block, at, ended, &mut sink);
        at += block.len() as u64;
    }
    reader.finish(&mut sink);
    found
}

fn words(found: &[Found]) -> String {
    let mut text = String::new();
    for (from, to, event) in found {
        let mut facts = vec![event.kind.name().to_owned()];
        let mut fact = |name: &str, value: Option<String>| {
            facts.extend(value.map(|value| format!("{name}={value}")));
        };
        fact("at", event.at.map(|at| at.micros().to_string()));
        fact("user", event.user.as_deref().map(str::to_owned));
        fact("other", event.other_user.as_deref().map(str::to_owned));
        fact("token", event.token_prefix.as_deref().map(str::to_owned));
        fact("expires", event.expires.map(|at| at.micros().to_string()));
        fact("reason", event.reason.as_deref().map(str::to_owned));
        fact("request", event.request_id.as_deref().map(str::to_owned));
        fact("cut", event.is_truncated.then(|| "yes".to_owned()));
        text.push_str(&format!("{} bytes {from} to {to}\n", facts.join(" ")));
    }
    text
}

/// Expected events are stored beside each sample. Those of a new sample are written once, for review.
#[test]
fn every_sample_yields_exactly_its_events() {
    let grammar = grammar();
    for (name, sample) in samples() {
        let path = folder().join(format!("{name}.signals"));
        let said = words(&read(&grammar, &[&sample], false));
        let Ok(expected) = std::fs::read_to_string(&path) else {
            std::fs::write(&path, &said).unwrap();
            panic!("{name}: review the events written to {}", path.display());
        };
        assert_eq!(said, expected, "{name}");
    }
}

/// Checks that a truncated sample yields a subset of the events of the whole sample.
fn assert_part(name: &str, end: usize, part: &[Found], whole: &[Found]) {
    assert!(part.len() <= whole.len(), "{name} cut at {end}: {part:?}");
    for (cut, full) in part.iter().zip(whole) {
        let (cut_signal, full_signal) = (&cut.2, &full.2);
        assert_eq!((cut.0, cut_signal.kind), (full.0, full_signal.kind), "{name} cut at {end}");
        let holds = |cut: &Option<_>, full: &Option<_>| cut.is_none() || cut == full;
        let text = |cut: &LogEvent<'_>| {
            [&cut.user, &cut.other_user, &cut.token_prefix, &cut.reason, &cut.request_id]
                .map(|text| text.as_deref().map(str::to_owned))
        };
        for (cut, full) in text(cut_signal).iter().zip(&text(full_signal)) {
            assert!(holds(cut, full), "{name} cut at {end}: {cut:?} of {full:?}");
        }
        for (cut, full) in [(cut_signal.at, full_signal.at), (cut_signal.expires, full_signal.expires)] {
            assert!(cut.is_none() || cut == full, "{name} cut at {end}: {cut:?} of {full:?}");
        }
    }
}

#[test]
fn a_sample_truncated_at_any_byte_yields_no_wrong_event() {
    let grammar = grammar();
    for (name, sample) in samples() {
        let whole = read(&grammar, &[&sample], false);
        for end in 0..sample.len() {
            assert_part(&name, end, &read(&grammar, &[&sample[..end]], false), &whole);
        }
    }
}

#[test]
fn block_boundaries_do_not_change_the_result() {
    let grammar = grammar();
    let all: Vec<u8> = samples().into_values().flat_map(|sample| [sample, b"\n".to_vec()].concat()).collect();
    let whole = read(&grammar, &[&all], true);
    let ends: Vec<usize> =
        all.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    for end in &ends {
        assert_eq!(read(&grammar, &[&all[..*end], &all[*end..]], true), whole, "{end}");
    }
    let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(read(&grammar, &lines, true), whole);
}

#[test]
fn reading_two_ranges_yields_the_same_events_as_reading_the_whole() {
    let grammar = grammar();
    let all: Vec<u8> = samples().into_values().flat_map(|sample| [sample, b"\n".to_vec()].concat()).collect();
    let whole = read(&grammar, &[&all], true);
    for (end, _) in all.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let (first, second) = all.split_at(end + 1);
        let (mut found, mut reader) = (vec![], LogReader::new(&grammar));
        let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
            found.push((place.from, place.to, event.into_owned()))
        };
        reader.read_block(first, 0, true, &mut sink);
        reader.drain_pending(second, first.len() as u64, &mut sink);
        reader.finish(&mut sink);
        let over = found.iter().map(|(_, to, _)| *to).max().unwrap_or(0);
        let mut reader = LogReader::new(&grammar);
        let mut later = vec![];
        let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
            later.push((place.from, place.to, event.into_owned()))
        };
        reader.read_block(second, first.len() as u64, true, &mut sink);
        reader.finish(&mut sink);
        found.extend(later.into_iter().filter(|(from, ..)| *from >= over));
        assert_eq!(found, whole, "{end}");
    }
}

#[test]
fn output_contains_no_full_token() {
    let grammar = grammar();
    for (name, sample) in samples() {
        let (mut reader, mut said) = (LogReader::new(&grammar), String::new());
        let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
            said.push_str(&format!("{event:?} {}\n", redact::redact_text(place.text, 10_000)));
        };
        reader.read_block(&sample, 0, true, &mut sink);
        reader.finish(&mut sink);
        for token in ["-58cc-4372", "58cc4372a567", "ijklmnopqrstuvwxyz"] {
            assert!(!said.contains(token), "{name}: {said}");
        }
        let explained = format!("{:?}", explain_text(&grammar, &sample));
        assert!(!explained.contains("58cc"), "{name}: {explained}");
    }
}

/// An event must not wait for the next line, which an idle server may never write.
#[test]
fn a_violation_is_emitted_as_soon_as_it_is_certain() {
    let grammar = grammar();
    let sample = samples().remove("postgres-server").unwrap();
    let lines: Vec<&[u8]> = sample.split_inclusive(|byte| *byte == b'\n').collect();
    let begins =
        |text: &str| lines.iter().position(|line| String::from_utf8_lossy(line).contains(text)).unwrap();
    // A session token column is certain at once; a session id may be that of a visit until the statement is read.
    for (constraint, enough) in [("sessions_session_token_key", 2), ("unique_session_id", 3)] {
        let from = begins(constraint);
        let (mut reader, mut found) = (LogReader::new(&grammar), vec![]);
        for (at, line) in lines[from..from + 3].iter().enumerate() {
            reader.read_block(line, 0, true, &mut |event: LogEvent<'_>, _: LogExcerpt<'_>| {
                found.push(event.kind)
            });
            assert_eq!(found.contains(&LogEventKind::DuplicateToken), at + 1 >= enough, "{constraint} {at}");
            // More lines may follow, so a restart reads the entry again, without emitting its events twice.
            assert_eq!(reader.pending_offset(), Some(0), "{constraint} {at}");
        }
        reader.finish(&mut |event: LogEvent<'_>, _: LogExcerpt<'_>| found.push(event.kind));
        assert_eq!(
            found,
            [LogEventKind::DuplicateToken, LogEventKind::TokenInLog, LogEventKind::TokenInLog],
            "{constraint}"
        );
    }
}

#[test]
fn a_token_without_a_key_is_explained_and_not_shown() {
    let grammar = grammar();
    for line in [
        "getSessionAndUser f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "Deleting session with sid: f47ac10b58cc4372a5670e02b2c3d479",
        "DETAIL:  Key (session_token)=(f47ac10b58cc4372a5670e02b2c3d479) already exists.",
    ] {
        let explained = explain_text(&grammar, line.as_bytes());
        let kinds: Vec<LogEventKind> = explained.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [LogEventKind::TokenInLog], "{line}");
        let said = format!("{explained:?}");
        assert!(!said.contains("58cc") && !said.contains("no full"), "{said}");
    }
}

#[test]
fn an_endless_entry_is_limited_in_size() {
    let grammar = grammar();
    let begin = b"[AUTH-ADAPTER] Session created {\n".to_vec();
    let endless: Vec<u8> = begin.iter().copied().chain(b"  a: 1,\n".repeat(1_000)).collect();
    let found = read(&grammar, &[&endless, b"[AUTH-ADAPTER] Session created { userId: 8 }\n"], true);
    let users: Vec<_> = found.iter().map(|(_, _, event)| (event.kind, event.user.as_deref())).collect();
    assert_eq!(users, [(LogEventKind::Created, None), (LogEventKind::Created, Some("8"))]);
    assert!(found[0].1 < 2_000, "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn arbitrary_bytes_do_not_panic_and_block_boundaries_do_not_matter(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..12),
        split in any::<prop::sample::Index>(),
    ) {
        let grammar = grammar();
        let samples: Vec<Vec<u8>> = samples().into_values().collect();
        let mut bytes = samples[which.index(samples.len())].clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            match how {
                0 => bytes.insert(at, byte),
                1 if !bytes.is_empty() => { bytes.remove(at); }
                2 => bytes.insert(at, b'\n'),
                _ if !bytes.is_empty() => bytes[at] = byte,
                _ => {}
            }
        }
        let whole = read(&grammar, &[&bytes], true);
        let line_breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let lines: Vec<usize> = line_breaks.map(|(at, _)| at + 1).collect();
        if !lines.is_empty() {
            let end = lines[split.index(lines.len())];
            prop_assert_eq!(read(&grammar, &[&bytes[..end], &bytes[end..]], true), whole);
        }
        let _ = (explain_text(&grammar, &bytes), redact::redact_text(&bytes, 500));
    }
}

#[test]
fn a_new_entry_ends_a_truncated_one_in_every_envelope() {
    for header in ["2026-11-29T10:00:00.000001Z ", "Nov 29 10:00:00 web app[7]: ", ""] {
        let line = |text: &str| format!("{header}{text}\n");
        let text = [
            line("[AUTH-ADAPTER] Session created {"),
            line("[AUTH-ADAPTER] Session created { userId: 2 }"),
            line("[AUTH-ADAPTER] Session created {"),
            line("  userId: 3"),
            line("}"),
        ]
        .concat();
        let found = read(&grammar(), &[text.as_bytes()], true);
        let users: Vec<&str> = found.iter().filter_map(|found| found.2.user.as_deref()).collect();
        assert_eq!(users, ["2", "3"], "{header:?}");
    }
}

//! Tests of the reader: what continues an entry, where a restart begins, and what is counted.

use super::*;
use crate::timestamps::TimestampDefaults;

/// An event with its byte range.
type FoundEvent = (u64, u64, LogEvent<'static>);

fn matchers() -> Matchers {
    let reference = UtcTimestamp::from_micros(1_795_608_000_000_000).unwrap();
    Matchers::new(vec![], TimestampDefaults { offset_us: 0, reference })
}

/// Reads a text in one block.
fn read_all(reader: &mut LogReader<'_>, text: &str, offset: u64) -> Vec<FoundEvent> {
    let mut found = vec![];
    reader.read_block(text.as_bytes(), offset, true, &mut |event, place| {
        found.push((place.from, place.to, event.into_owned()));
    });
    found
}

fn finish(reader: &mut LogReader<'_>) -> Vec<FoundEvent> {
    let mut found = vec![];
    reader.finish(&mut |event, place| found.push((place.from, place.to, event.into_owned())));
    found
}

fn users(found: &[FoundEvent]) -> Vec<Option<&str>> {
    found.iter().map(|(_, _, event)| event.user.as_deref()).collect()
}

const OPEN_ENTRY: &str = "[AUTH-ADAPTER] Session created {\n";

#[test]
fn an_entry_is_emitted_with_the_bytes_that_it_covers() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    let text = "noise\n[AUTH-ADAPTER] Session created {\n  userId: 7\n}\nnoise\n";
    let found = read_all(&mut reader, text, 1_000);
    assert_eq!(users(&found), [Some("7")]);
    assert_eq!((found[0].0, found[0].1), (1_006, 1_053));
    assert_eq!(&text[6..53], "[AUTH-ADAPTER] Session created {\n  userId: 7\n}\n");
    assert!(!reader.has_pending_entry() && reader.pending_offset().is_none());
}

#[test]
fn a_restart_at_the_pending_offset_loses_nothing() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    let first = format!("noise\n{OPEN_ENTRY}  userId: 7,\n");
    assert_eq!(read_all(&mut reader, &first, 0), []);
    assert!(reader.has_pending_entry());
    assert_eq!(reader.pending_offset(), Some(6));
    let whole = format!("{first}  other: 1\n}}\n");
    let mut restarted = LogReader::new(&matchers);
    let found = read_all(&mut restarted, &whole[6..], 6);
    assert_eq!(found, read_all(&mut reader, &whole[first.len()..], first.len() as u64));
    assert_eq!((users(&found), found[0].0), (vec![Some("7")], 6));
}

#[test]
fn an_entry_goes_on_in_the_next_file_only_if_its_first_line_continues_it() {
    let matchers = matchers();
    for (line, is_continued) in [
        ("  userId: 7 }\n", true),
        ("}\n", true),
        ("\tuserId: 7\n", true),
        ("[AUTH-ADAPTER] Session created { userId: 8 }\n", false),
        ("2026-11-25T12:00:00Z GET /\n", false),
        ("userId: 7 }\n", false),
    ] {
        let (mut old, mut new) = (LogReader::new(&matchers), LogReader::new(&matchers));
        assert_eq!(read_all(&mut old, OPEN_ENTRY, 500), []);
        assert_eq!(old.transfer_pending(&mut new, line.as_bytes()), is_continued, "{line}");
        assert_eq!((old.has_pending_entry(), new.has_pending_entry()), (!is_continued, is_continued));
        if is_continued {
            assert_eq!(new.pending_offset(), Some(0), "positions are those of the new file");
            let mut found = read_all(&mut new, line, 0);
            found.extend(finish(&mut new));
            assert_eq!((found.len(), found[0].0, found[0].1), (1, 0, line.len() as u64), "{line}");
        }
    }
    let (mut old, mut new) = (LogReader::new(&matchers), LogReader::new(&matchers));
    assert!(!old.transfer_pending(&mut new, b"}\n"), "there is no open entry");
    read_all(&mut old, OPEN_ENTRY, 0);
    read_all(&mut new, OPEN_ENTRY, 0);
    assert!(!old.transfer_pending(&mut new, b"}\n"), "the next file has its own");
    assert!(old.has_pending_entry());
}

#[test]
fn draining_reads_only_the_rest_of_the_open_entry() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    read_all(&mut reader, OPEN_ENTRY, 0);
    let rest = "  userId: 7\n}\n[AUTH-ADAPTER] Session created { userId: 8 }\n";
    let mut found = vec![];
    let may_continue =
        reader.drain_pending(rest.as_bytes(), 33, &mut |event, _| found.push(event.into_owned()));
    assert!(!may_continue);
    assert_eq!(found.iter().map(|event| event.user.as_deref()).collect::<Vec<_>>(), [Some("7")]);
    assert!(!reader.drain_pending(b"}\n", 99, &mut |_, _| panic!("nothing is open")));
    read_all(&mut reader, OPEN_ENTRY, 0);
    assert!(reader.drain_pending(b"  userId: 7,\n", 33, &mut |_, _| panic!("it may continue")));
    assert_eq!(users(&finish(&mut reader)), [Some("7")]);
}

#[test]
fn an_entry_without_an_end_is_emitted_once_and_without_a_cut_value() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    let mut found = read_all(&mut reader, "[AUTH-ADAPTER] Session created {\n  userId: 7,\n  sessionTo\n", 0);
    found.extend(finish(&mut reader));
    found.extend(finish(&mut reader));
    assert_eq!(users(&found), [Some("7")]);
    assert_eq!(reader.pending_offset(), None);
}

#[test]
fn a_delivered_entry_has_the_time_and_request_of_its_delivery() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    let delivered_at = UtcTimestamp::from_micros(7).unwrap();
    let mut found = vec![];
    let mut sink = |event: LogEvent<'_>, _: LogExcerpt<'_>| found.push(event.into_owned());
    let message = |more: &str| {
        let text = "[AUTH-ADAPTER] Session created { userId: 7 }";
        format!(r#"{{"time":"2026-11-25T12:00:00Z",{more}"msg":"{text}"}}"#).into_bytes()
    };
    reader.read_entry(&message(""), Some(delivered_at), Some("outer".into()), &mut sink);
    reader.read_entry(&message(r#""requestId":"inner","#), None, None, &mut sink);
    reader.read_entry(b"noise", Some(delivered_at), None, &mut sink);
    // An entry is complete: nothing of the next one is added to it.
    reader.read_entry(OPEN_ENTRY.as_bytes(), None, None, &mut sink);
    reader.read_entry(b"  userId: 9 }", None, None, &mut sink);
    let facts: Vec<_> = found
        .iter()
        .map(|event| (event.user.as_deref(), event.request_id.as_deref(), event.at.map(UtcTimestamp::micros)))
        .collect();
    let noon = Some(1_795_608_000_000_000);
    assert_eq!(
        facts,
        [(Some("7"), Some("outer"), Some(7)), (Some("7"), Some("inner"), noon), (None, None, None)]
    );
    assert_eq!(reader.counters().lines, 5);
}

#[test]
fn every_line_and_problem_is_counted_once() {
    let matchers = matchers();
    let mut reader = LogReader::new(&matchers);
    let before = reader.counters();
    assert_eq!(before, ReadCounters::default());
    let text = "noise\n[AUTH-ADAPTER] Session created { userId: 7 }\n[AUTH-ADAPTER] nonsense\n\nlast";
    read_all(&mut reader, text, 0);
    reader.count_overlong_line();
    let after = reader.counters();
    let expected = ReadCounters {
        lines: 5,
        bytes: text.len() as u64,
        hits: 2,
        unrecognized: 1,
        overlong: 1,
        ..ReadCounters::default()
    };
    assert_eq!(after, expected);
    let mut more = vec![];
    reader.read_block(
        b"[AUTH-ADAPTER] Session created { userId: 7, x: '\xff' }\n",
        0,
        true,
        &mut |event, _| {
            more.push(event.into_owned());
        },
    );
    assert_eq!(more.len(), 1, "invalid UTF-8 does not hide an event");
    let since = reader.counters().since(after);
    assert_eq!((since.lines, since.hits, since.not_utf8, since.unrecognized), (1, 1, 1, 0));
    let mut sum = after;
    sum.merge(since);
    assert_eq!(sum, reader.counters());
}

#[test]
fn a_line_that_is_still_being_written_yields_no_cut_value() {
    let matchers = matchers();
    let line = "event=session_created user_id=1234567 token=abcdefghijklmnopqrstuvwxyz012345 x=1";
    let whole = read_all(&mut LogReader::new(&matchers), line, 0);
    let kinds: Vec<LogEventKind> = whole.iter().map(|(_, _, event)| event.kind).collect();
    assert_eq!(kinds, [LogEventKind::Created, LogEventKind::TokenInLog]);
    assert_eq!(users(&whole), [Some("1234567"); 2]);
    for end in 0..line.len() {
        let mut reader = LogReader::new(&matchers);
        let mut found = vec![];
        reader.read_block(&line.as_bytes()[..end], 0, false, &mut |event, _| found.push(event.into_owned()));
        for event in &found {
            assert!(event.user.is_none() || event.user.as_deref() == Some("1234567"), "{end}: {event:?}");
        }
    }
}

#[test]
fn line_breaks_of_windows_and_long_lines_do_not_change_an_event() {
    let matchers = matchers();
    let padding = "x".repeat(200_000);
    for text in [
        "[AUTH-ADAPTER] Session created { userId: 7 }\r\n".to_owned(),
        "[AUTH-ADAPTER] Session created {\r\n  userId: 7\r\n}\r\n".to_owned(),
        format!("{padding}\n[AUTH-ADAPTER] Session created {{ userId: 7 }}\n{padding}"),
        format!("[AUTH-ADAPTER] Session created {{ note: '{padding}', userId: 7 }}\n"),
        "\u{feff}[AUTH-ADAPTER] Session created { userId: 7 }\n".to_owned(),
    ] {
        let mut reader = LogReader::new(&matchers);
        let mut found = read_all(&mut reader, &text, 0);
        found.extend(finish(&mut reader));
        assert_eq!(users(&found), [Some("7")], "{:.100}", text);
        assert_eq!(found[0].2.kind, LogEventKind::Created);
    }
}

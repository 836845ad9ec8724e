//! Fuzz target for whole log files: the parser does not panic, and its results do not depend on block boundaries.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sessionwatch_core::severity::Severity;
use sessionwatch_logs::{
    explain::explain_text,
    log_event::LogEvent,
    matchers::Matchers,
    pattern::Pattern,
    line_reader::{LogExcerpt, LogReader},
    timestamps::TimestampDefaults,
};

static LOG_MATCHERS: LazyLock<Matchers> = LazyLock::new(|| {
    let own = Pattern::new("own", Severity::Low, None, Some(r"failed for (?P<user>\S+)"));
    Matchers::new(own.into_iter().collect(), TimestampDefaults::default())
});

fn read(blocks: &[&[u8]]) -> Vec<(u64, u64, LogEvent<'static>)> {
    let (mut found, mut reader, mut at) = (vec![], LogReader::new(&LOG_MATCHERS), 0);
    let mut sink =
        |event: LogEvent<'_>, place: LogExcerpt<'_>| found.push((place.from, place.to, event.into_owned()));
    for block in blocks {
        reader.read_block(block, at, true, &mut sink);
        at += block.len() as u64;
    }
    reader.finish(&mut sink);
    found
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(&[bytes]);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(read(&lines), whole);
    for (from, to, _) in &whole {
        assert!(from < to && *to <= bytes.len() as u64);
    }
    let _ = explain_text(&LOG_MATCHERS, bytes);
});

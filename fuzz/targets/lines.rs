//! Whole log files: nothing panics, and where blocks end does not matter.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sessionwatch_logs::{
    explain::explain,
    matchers::Matchers,
    pattern::Pattern,
    reader::{Place, Reader},
    signal::Signal,
    time::Clock,
};
use sessionwatch_core::severity::Severity;

static GRAMMAR: LazyLock<Matchers> = LazyLock::new(|| {
    let own = Pattern::new("own", Severity::Low, None, Some(r"failed for (?P<user>\S+)"));
    Matchers::new(own.into_iter().collect(), Clock::default())
});

fn read(blocks: &[&[u8]]) -> Vec<(u64, u64, Signal<'static>)> {
    let (mut found, mut reader, mut at) = (vec![], Reader::new(&GRAMMAR), 0);
    let mut sink =
        |signal: Signal<'_>, place: Place<'_>| found.push((place.from, place.to, signal.into_owned()));
    for block in blocks {
        reader.read(block, at, true, &mut sink);
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
    let _ = explain(&GRAMMAR, bytes);
});

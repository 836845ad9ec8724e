//! `logs scan`: whole files.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};
use sessionwatch_app::{
    config::Config,
    logs::{
        Found,
        scan::{Gather, Search, scan},
        tally::{Count, Tally},
    },
    output::{Format, table::Sheet},
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{instant::Instant, plural, severity::Severity};
use sessionwatch_logs::{
    matchers::Matchers,
    reader::{Counters, Place},
    signal::{Kind, Signal},
};

use super::super::{Failure, target::ConfigArgs};

/// Signals that are shown in full below the table.
const SHOWN: usize = 20;

/// Read whole log files: plain, gzip or zstd, of any size
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Files, or patterns such as 'logs/*.gz'; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only signals of this kind, or of the pattern of that name; may be repeated
    #[arg(long, value_name = "KIND")]
    only: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// `table`, `markdown` and `json` sum up; `ndjson` and `csv` list every signal
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Gathers what one part of a file says.
struct Part<'a, 'p> {
    source: &'a str,
    grammar: &'a Matchers,
    only: &'a [String],
    /// Every signal is wanted.
    every: bool,
    tally: Tally<'p>,
    list: Vec<Found>,
}

impl Gather for Part<'_, '_> {
    fn take(&mut self, signal: Signal<'_>, place: Place<'_>) {
        let patterns = self.grammar.patterns();
        if !self.only.is_empty() {
            let pattern = signal.pattern.and_then(|number| patterns.get(number));
            let name = pattern.map_or(signal.kind.name(), |pattern| &pattern.name);
            if !self.only.iter().any(|only| only == name) {
                return;
            }
        }
        if self.every {
            self.list.push(Found::of(signal.clone(), place, self.source, patterns));
        }
        self.tally.add(signal, place);
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = preflight::load(args.config.config.as_deref())?;
    known(&config, &args.only)?;
    let every = [Format::Ndjson, Format::Csv].contains(&args.format);
    let patterns = config.logs.looked_for();
    let (mut tally, mut output) = (Tally::new(&patterns), sessionwatch_app::output::stdout());
    if args.format == Format::Csv {
        output.write_all(HEADER.as_bytes())?;
    }
    for path in files(&args.files)? {
        let grammar = super::grammar(&config, written(&path));
        let source = path.display().to_string();
        let gather = || Part {
            source: &source,
            grammar: &grammar,
            only: &args.only,
            every,
            tally: Tally::new(&patterns),
            list: vec![],
        };
        let search = Search { path: &path, grammar: &grammar, gather };
        scan(&search, |part: Part<'_, '_>, counters: Counters| {
            for found in &part.list {
                let line = match args.format {
                    Format::Csv => csv(found),
                    _ => format!("{}\n", found.json()),
                };
                output.write_all(line.as_bytes())?;
            }
            let mut read = part.tally;
            read.counters = counters;
            tally.merge(read, &source);
            Ok::<_, Failure>(())
        })?;
    }
    match args.format {
        Format::Ndjson | Format::Csv => {}
        Format::Json => writeln!(output, "{:#}", document(&tally))?,
        Format::Table | Format::Markdown => output.write_all(text(&tally, args.format).as_bytes())?,
    }
    output.flush()?;
    Ok(if tally.is_bad() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Makes sure that the names of signals mean something.
fn known(config: &Config, only: &[String]) -> Result<(), Failure> {
    let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Pattern).map(|kind| kind.name());
    let names: Vec<&str> =
        kinds.chain(config.logs.patterns.iter().map(|own| own.pattern.name.as_str())).collect();
    match only.iter().find(|only| !names.contains(&only.as_str())) {
        None => Ok(()),
        Some(only) => {
            let hint = sessionwatch_core::suggest::nearest(only, names.iter().copied());
            let said = if hint.is_empty() { format!(": there are {}", names.join(", ")) } else { hint };
            Err(Failure::Usage(format!("there is no signal `{only}`{said}")))
        }
    }
}

/// The files that are meant.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        let text = path.to_string_lossy();
        // A file of that very name is meant, whatever stands in the name.
        if path.as_os_str() == "-" || path.exists() || !text.contains(['*', '?', '[']) {
            files.push(path.clone());
            continue;
        }
        let faulty = |why: &str| Failure::Usage(format!("`{text}` is no pattern of files: {why}"));
        let matching = glob::glob(&text).map_err(|error| faulty(error.msg))?;
        let before = files.len();
        files.extend(matching.filter_map(Result::ok).filter(|path| path.is_file()));
        if files.len() == before {
            return Err(faulty("no file matches it"));
        }
    }
    Ok(files)
}

/// When a file was written last: times without a year are near that.
fn written(path: &Path) -> Instant {
    let modified = std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    micros.and_then(Instant::from_micros).unwrap_or_else(clock::now)
}

/// The code under which NextAuth.js 4 says that a session could not be deleted.
const GONE: &str = "adapter_error_deleteSession";
const HEADER: &str = "at,kind,severity,user,other_user,token_prefix,reason,request_id,source,from,to,text\n";

fn csv(found: &Found) -> String {
    let signal = &found.signal;
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let (from, to) = found.bytes;
    sessionwatch_app::output::csv::line(&[
        &signal.at.map(clock::rfc3339).unwrap_or_default(),
        found.name(),
        found.severity.map_or("", Severity::name),
        &text(&signal.user),
        &text(&signal.other),
        &text(&signal.prefix),
        &text(&signal.reason),
        &text(&signal.request),
        &found.source,
        &from.to_string(),
        &to.to_string(),
        &found.text,
    ])
}

fn document(tally: &Tally<'_>) -> Value {
    let counted = |(name, severity, count): (&str, Option<Severity>, Count)| {
        json!({
            "kind": name, "severity": severity.map(Severity::name), "signals": count.signals,
            "first": count.first.map(clock::rfc3339), "last": count.last.map(clock::rfc3339),
        })
    };
    let Counters { lines, bytes, hits, meaningless, truncated, not_utf8, overlong } = tally.counters;
    json!({
        "schema": 1,
        "read": {
            "lines": lines, "bytes": bytes, "hits": hits, "meaningless": meaningless,
            "truncated": truncated, "not_utf8": not_utf8, "overlong": overlong,
        },
        "kinds": tally.counts().into_iter().map(counted).collect::<Vec<_>>(),
        "signals": tally.kept.iter().map(Found::json).collect::<Vec<_>>(),
    })
}

fn text(tally: &Tally<'_>, format: Format) -> String {
    let Counters { lines, bytes, hits, meaningless, truncated, not_utf8, overlong } = tally.counters;
    let mut text = format!(
        "{} read ({}), {hits} with something to look for\n",
        plural::counted(lines, "line", "lines"),
        plural::counted(bytes, "byte", "bytes")
    );
    for (count, what) in [
        (meaningless, "say nothing that is known (`sessionwatch logs explain` says why)"),
        (truncated, "are cut off; what they end in is not used"),
        (not_utf8, "are not UTF-8; they were read all the same"),
        (overlong, "are longer than 1 MiB; what comes after that was not looked at"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} of them {what}\n"));
        }
    }
    let counts = tally.counts();
    if counts.is_empty() {
        text.push_str("\nNo signal was found.\n");
        return text;
    }
    let when = |at: Option<Instant>| at.map(clock::readable).unwrap_or_default();
    let row = |(name, severity, count): &(&str, Option<Severity>, Count)| {
        let severity = severity.map_or("", Severity::name).to_owned();
        vec![(*name).to_owned(), severity, count.signals.to_string(), when(count.first), when(count.last)]
    };
    let header = ["signal", "severity", "times", "first", "last"].map(str::to_owned).to_vec();
    let sheet = Sheet { kind: "kinds", header, rows: counts.iter().map(row).collect(), documents: vec![] };
    text.push_str(&format!("\n{}", sheet.render(format)));
    let mut worst: Vec<&Found> =
        tally.kept.iter().filter(|found| found.severity >= Some(Severity::High)).collect();
    worst.sort_by_key(|found| std::cmp::Reverse(found.severity));
    if !worst.is_empty() {
        text.push('\n');
    }
    for found in worst.iter().take(SHOWN) {
        let place = format!("{}, bytes {} to {}", found.source, found.bytes.0, found.bytes.1);
        text.push_str(&format!("{}\n    {place}\n", found.line()));
    }
    if tally.kept.iter().any(|found| found.signal.reason.as_deref() == Some(GONE)) {
        text.push_str(&format!(
            "\n`{GONE}`: a row was gone whose cookie was still used; after a cleanup or a revocation, that is expected\n"
        ));
    }
    if worst.len() > SHOWN {
        text.push_str("More: `--format ndjson` lists every signal.\n");
    }
    text
}

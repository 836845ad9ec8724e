//! `logs follow`: prints log events while files grow.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use sessionwatch_app::{
    logs::{
        scan::ScanError,
        tail::{FileTailer, LogPosition, StartPosition, TailBatch},
    },
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_logs::matchers::Matchers;

use super::super::{Failure, target_args::ConfigArgs};

/// The interval at which files are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Print log events as files grow
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogsFollowArgs {
    /// Log files; they need not exist yet
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Resume from the position saved in FILE, and keep saving it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Also read lines that exist already
    #[arg(long)]
    from_start: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: LogsFollowFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The format of one log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogsFollowFormat {
    /// Human-readable text
    Table,
    /// A JSON object on each line
    Ndjson,
}

/// The position up to which each file was read.
type ReadPositions = std::collections::BTreeMap<String, LogPosition>;

pub(super) fn run(args: &LogsFollowArgs) -> Result<ExitCode, Failure> {
    let config = preflight::load_config(args.config.config.as_deref())?;
    let matchers = super::build_matchers(&config, clock::now());
    let mut places = match &args.state {
        Some(path) => read_positions(path)?,
        None => ReadPositions::new(),
    };
    super::super::block_on(async {
        let (mut stop, mut interrupt) = {
            use tokio::signal::unix::{SignalKind, signal};
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let mut followers = open_followers(args, &matchers, &places);
        loop {
            let mut more = false;
            for (name, follower) in &mut followers {
                let step = follower
                    .read_batch(std::time::Instant::now())
                    .map_err(|error| ScanError::from_open_error(Path::new(&*name), &error))?;
                more |= step.has_more;
                print_step(args, name, step, &mut places)?;
            }
            if more {
                continue;
            }
            let stopped = async {
                tokio::select! { _ = stop.recv() => {}, _ = interrupt.recv() => {} }
            };
            if tokio::time::timeout(POLL_INTERVAL, stopped).await.is_ok() {
                break;
            }
        }
        // With a position file, the next run reads an unfinished entry again.
        if args.state.is_none() {
            for (name, follower) in &mut followers {
                print_step(args, name, follower.finish(std::time::Instant::now()), &mut places)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn open_followers<'g>(
    args: &LogsFollowArgs,
    matchers: &'g Matchers,
    places: &ReadPositions,
) -> Vec<(String, FileTailer<'g>)> {
    let follower = |path: &PathBuf| {
        let name = path.display().to_string();
        let otherwise = if args.from_start { StartPosition::AtStart } else { StartPosition::AtEnd };
        let begin = places.get(&name).cloned().map_or(otherwise, StartPosition::Resume);
        let follower = FileTailer::new(path, &name, matchers, begin);
        (name, follower)
    };
    args.files.iter().map(follower).collect()
}

/// Prints a batch, and then saves the position.
fn print_step(
    args: &LogsFollowArgs,
    name: &str,
    step: TailBatch,
    places: &mut ReadPositions,
) -> Result<(), Failure> {
    for found in &step.events {
        super::super::print_text(&match args.format {
            LogsFollowFormat::Table => format!("{}\n    {}\n", found.to_line(), found.source),
            LogsFollowFormat::Ndjson => format!("{}\n", found.to_json()),
        })?;
    }
    for gap in &step.gaps {
        let bytes = gap.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
        let (file, why) = (&gap.file, gap.cause.description());
        writeln!(
            sessionwatch_app::output::masked_stderr(),
            "warning: log lines may be missing: {file}: {why}{bytes}"
        )?;
    }
    let Some(place) = step.position.filter(|place| places.get(name) != Some(place)) else { return Ok(()) };
    places.insert(name.to_owned(), place);
    if let Some(path) = &args.state {
        write_positions(path, places)?;
    }
    Ok(())
}

fn read_positions(path: &Path) -> Result<ReadPositions, Failure> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ReadPositions::new()),
        Err(_) => Err(Failure::Usage(format!("cannot read {}", path.display()))),
        Ok(text) => serde_json::from_str(&text).map_err(|_| {
            let path = path.display();
            Failure::Usage(format!("{path} holds no positions: name another file, or remove it"))
        }),
    }
}

/// Writes the positions to a new file and renames it, so that a crash leaves no half of one.
fn write_positions(path: &Path, places: &ReadPositions) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let text = serde_json::to_string(places).map_err(std::io::Error::other)?;
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(&beside, path)?)
}

//! `init`: recognise a database's sessions, say why, and write a configuration for it.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::{initial_config, layouts::DetectedLayout, target_reader::TargetReader},
    config, environment,
    remediation::{ActionError, archive_keys},
    sanitize::sanitize_text,
};
use sessionwatch_archive::{Identity, Recipient};

use super::{Failure, target::TargetArgs};

/// Recognise the sessions of a database, and write sessionwatch.toml for it
#[derive(Debug, clap::Args)]
#[command(mut_arg("url", |arg| arg.help(
    "Address (postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file) [default: $DATABASE_URL]"
)))]
pub(super) struct InitArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The target's name in the file
    #[arg(long, default_value = "main")]
    name: String,
    /// Where the file is written; - for standard output
    #[arg(long, short, default_value = config::DEFAULT_CONFIG_FILE, value_name = "FILE")]
    output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.exists() {
        return Err(Failure::Usage(format!(
            "{} is there already: name another file with --output, or write over it with --force",
            args.output.display()
        )));
    }
    let (config, target) = args.target.choose_one()?;
    let reads = TargetReader::new(&config, &target);
    let recognized = super::block_on(async { Ok(reads.detect_layout().await?) })?;
    let file = initial_config::render_initial_config(&args.name, &target, &recognized, &config.catalogue);
    // What was found is for the person; the file may go to standard output.
    let _ = sessionwatch_app::output::masked_stderr().write_all(render_detection(&recognized).as_bytes());
    if to_stdout {
        super::print_text(&file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (recipient, made) = ensure_identity(&args.output)?;
    let file = initial_config::config_with_recipient(&file, &recipient);
    write_config(&args.output, &file, args.force).map_err(|_| {
        Failure::Usage(format!("cannot write {}: name another place with --output", args.output.display()))
    })?;
    if let Some(key) = made {
        super::print_note(&format!(
            "made {}, which alone opens the archives of what is removed: move it to a safe place, and keep it",
            key.display()
        ));
    }
    let next = if target.address.file_path().is_some() {
        "Next:\n"
    } else if environment::read_variable("DATABASE_URL").is_none() {
        "The address is not in the file: it takes it from DATABASE_URL. Next:\n  export DATABASE_URL='postgres://…'\n"
    } else {
        "The address is not in the file: it takes it from DATABASE_URL. Next:\n"
    };
    let file = args.output.display();
    let named = if args.output == Path::new(config::DEFAULT_CONFIG_FILE) {
        String::new()
    } else {
        format!(" --config {file}")
    };
    super::print_text(&format!(
        "Wrote {file}. {next}  sessionwatch check{named}\n  sessionwatch doctor{named}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// To whom archives are sealed: the identity beside the file, which is made if there is none.
fn ensure_identity(output: &Path) -> Result<(Recipient, Option<PathBuf>), Failure> {
    let key = output.with_file_name(archive_keys::IDENTITY_FILE_NAME);
    if key.exists() {
        return Ok((Identity::read_file(&key).map_err(ActionError::from)?.recipient(), None));
    }
    Ok((Identity::create_file(&key).map_err(ActionError::from)?.recipient(), Some(key)))
}

fn write_config(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    options.open(path)?.write_all(text.as_bytes())
}

/// What was found, for the person.
fn render_detection(recognized: &DetectedLayout) -> String {
    let mut text = format!("Recognised: {}.\n", recognized.title);
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "{title}");
        }
        for line in lines {
            let _ = writeln!(text, "  - {}", sanitize_text(line));
        }
    };
    list("Why:", &recognized.reasons);
    list("To know:", &recognized.notes);
    list("Log-ins that do not end with their rows:", &recognized.other_logins);
    list("Ambiguous, this could be meant instead:", &recognized.alternatives);
    if let Some(doubt) = &recognized.doubt {
        list(
            "Not certain, and nothing is cleaned up or revoked before the file names the table:",
            &[doubt.to_string()],
        );
    }
    text.push('\n');
    text
}

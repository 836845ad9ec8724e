//! `init`: detects the session table of a database and writes a configuration for it.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::{error::TargetError, initial_config, layouts::DetectedLayout, target_reader::TargetReader},
    config::{self, Target},
    environment,
    remediation::ActionError,
    sanitize::sanitize_text,
};
use sessionwatch_archive::{Identity, Recipient};

use super::{Failure, target_args::TargetArgs};

/// Detect the session table and write sessionwatch.toml
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// Name of the target in the file
    #[arg(long, default_value = "main", value_name = "NAME")]
    name: String,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Create a private key for the archive in FILE, and add its public key
    #[arg(long, value_name = "FILE")]
    archive_identity: Option<PathBuf>,
    /// Configuration file to write, or - for stdout
    #[arg(
        long, short, default_value = config::DEFAULT_CONFIG_FILE, value_name = "FILE",
        help_heading = super::GLOBAL_OPTIONS, display_order = 904
    )]
    output: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.exists() {
        return Err(Failure::Usage(format!(
            "{} exists: name another file with --output, or overwrite it with --force",
            args.output.display()
        )));
    }
    let (config, target) = args.target.choose_one()?;
    let reads = TargetReader::new(&config, &target);
    let detected = match super::block_on(async { Ok(reads.detect_layout().await) })? {
        Err(TargetError::LayoutNotDetected(failure)) if !to_stdout => {
            let text = initial_config::render_config_to_fill_in(&args.name, &target, &failure)
                .map_err(|error| Failure::Usage(error.to_string()))?;
            write_config(&args.output, &text, args.force)?;
            super::print_text(&format!(
                "Wrote {0} with a mapping to fill in. Next:\n  edit {0}\n  sessionwatch check{1}\n",
                args.output.display(),
                config_option(&args.output)
            ))?;
            return Err(TargetError::LayoutNotDetected(failure).into());
        }
        detected => detected?,
    };
    let mut text = initial_config::render_initial_config(&args.name, &target, &detected, &config.catalogue)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    // The description goes to stderr: stdout may hold the file.
    let _ = sessionwatch_app::output::masked_stderr().write_all(render_detection(&detected).as_bytes());
    if let Some(key) = &args.archive_identity {
        text = initial_config::append_archive_recipient(&text, &load_or_create_key(key)?);
    }
    if to_stdout {
        super::print_text(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write_config(&args.output, &text, args.force)?;
    let named = config_option(&args.output);
    super::print_text(&format!(
        "Wrote {}. {}  sessionwatch check{named}\n  sessionwatch doctor{named}\n",
        args.output.display(),
        describe_url(&target)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the option that names a configuration file; empty for the one that is read anyway.
fn config_option(path: &Path) -> String {
    if path == Path::new(config::DEFAULT_CONFIG_FILE) {
        String::new()
    } else {
        format!(" --config {}", path.display())
    }
}

/// Returns the introduction of the next commands. A URL is not written into the file, since it holds a password.
fn describe_url(target: &Target) -> String {
    if target.address.file_path().is_some() {
        return "Next:\n".to_owned();
    }
    match target.default_config_value.as_deref() {
        Some(value) => match value.strip_prefix("${").and_then(|name| name.strip_suffix('}')) {
            Some(name) => format!("It reads the database URL from {name}. Next:\n"),
            None => "The password is not in it, and is read from PGPASSWORD or ~/.pgpass. Next:\n".to_owned(),
        },
        None if environment::read_variable("DATABASE_URL").is_some() => {
            "It reads the database URL from DATABASE_URL. Next:\n".to_owned()
        }
        None => "It reads the database URL from DATABASE_URL. Next:\n  export DATABASE_URL='postgres://…'\n"
            .to_owned(),
    }
}

/// Returns the public key of the private key in a file, which is created if it does not exist.
fn load_or_create_key(path: &Path) -> Result<Recipient, Failure> {
    if path.exists() {
        return Ok(Identity::read_file(path).map_err(ActionError::from)?.recipient());
    }
    let identity = Identity::create_file(path).map_err(ActionError::from)?;
    super::print_note(&format!(
        "created {}, the only key that opens the archive: move it to a safe place and keep it out of version control",
        path.display()
    ));
    Ok(identity.recipient())
}

fn write_config(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Failure::Usage(format!(
            "cannot write {}: {}; name another file with --output",
            path.display(),
            error.kind()
        ))
    })
}

/// Renders the detected layout for a person.
fn render_detection(detected: &DetectedLayout) -> String {
    let mut text = format!("Detected: {}.\n", detected.title);
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "{title}");
        }
        for line in lines {
            let _ = writeln!(text, "  - {}", sanitize_text(line));
        }
    };
    list("Why:", &detected.reasons);
    list("Notes:", &detected.notes);
    list("Logins that do not end with their rows:", &detected.other_logins);
    list("Ambiguous, these tables could be meant:", &detected.alternatives);
    if let Some(doubt) = &detected.doubt {
        list(
            "Not certain: nothing can be cleaned up or revoked until the file names the table.",
            &[doubt.to_string()],
        );
    }
    text.push('\n');
    text
}

//! `init`: recognise a database's sessions, say why, and write a configuration for it.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    config::{self, Target, file},
    environment,
    remediation::{ActError, keys},
    sanitize::printable,
};
use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    layout::{catalogue::Profile, source::ProfileSource},
    mapping::{Mapping, Revoke, TableName},
};

use super::{Failure, target::TargetArgs};

/// Recognise the sessions of a database, and write sessionwatch.toml for it
#[derive(Debug, clap::Args)]
#[command(mut_arg("url", |arg| arg.help(
    "Address (postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file) [default: $DATABASE_URL]"
)))]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// The target's name in the file
    #[arg(long, default_value = "main")]
    name: String,
    /// Where the file is written; - for standard output
    #[arg(long, short, default_value = config::FILE, value_name = "FILE")]
    output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.exists() {
        return Err(Failure::Usage(format!(
            "{} is there already: name another file with --output, or write over it with --force",
            args.output.display()
        )));
    }
    let (config, target) = args.target.choose_one()?;
    let (file, said) = super::block_on(super::with_open(&config, &target, async |opened| {
        Ok((file(&args.name, &target, opened, &config.catalogue), said(opened)))
    }))?;
    // What was found is for the person; the file may go to standard output.
    let _ = sessionwatch_app::output::stderr().write_all(said.as_bytes());
    if to_stdout {
        super::print(&file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (recipient, made) = identity(&args.output)?;
    let file = sealed_to(&file, &recipient);
    write(&args.output, &file, args.force).map_err(|_| {
        Failure::Usage(format!("cannot write {}: name another place with --output", args.output.display()))
    })?;
    if let Some(key) = made {
        super::complain_of(&format!(
            "made {}, which alone opens the archives of what is removed: move it to a safe place, and keep it",
            key.display()
        ));
    }
    let next = if target.address.file().is_some() {
        "Next:\n"
    } else if environment::variable("DATABASE_URL").is_none() {
        "The address is not in the file: it takes it from DATABASE_URL. Next:\n  export DATABASE_URL='postgres://…'\n"
    } else {
        "The address is not in the file: it takes it from DATABASE_URL. Next:\n"
    };
    let file = args.output.display();
    let named =
        if args.output == Path::new(config::FILE) { String::new() } else { format!(" --config {file}") };
    super::print(&format!(
        "Wrote {file}. {next}  sessionwatch check{named}\n  sessionwatch doctor{named}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// To whom archives are sealed: the identity beside the file, which is made if there is none.
fn identity(output: &Path) -> Result<(Recipient, Option<PathBuf>), Failure> {
    let key = output.with_file_name(keys::IDENTITY);
    if key.exists() {
        return Ok((Identity::read(&key).map_err(ActError::from)?.recipient(), None));
    }
    Ok((Identity::create(&key).map_err(ActError::from)?.recipient(), Some(key)))
}

/// The configuration, with the recipient of archives in it.
fn sealed_to(file: &str, recipient: &Recipient) -> String {
    let line = |line: &str| {
        if line == "# [actions]" {
            "[actions]\n".into()
        } else if line.starts_with("# archive_recipient = ") {
            format!("archive_recipient = \"{recipient}\"\n")
        } else {
            format!("{line}\n")
        }
    };
    file.lines().map(line).collect()
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    options.open(path)?.write_all(text.as_bytes())
}

/// What was found, for the person.
fn said(opened: &ConnectedTarget) -> String {
    let mut text = format!("Recognised: {}.\n", opened.layout.candidate.title);
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "{title}");
        }
        for line in lines {
            let _ = writeln!(text, "  - {}", printable(line));
        }
    };
    list("Why:", &opened.layout.candidate.why);
    list("To know:", &opened.layout.candidate.notes);
    list("Log-ins that do not end with their rows:", &opened.layout.candidate.elsewhere);
    let others: Vec<String> = opened.layout.others.iter().map(|other| other.why.join("; ")).collect();
    list("Ambiguous, this could be meant instead:", &others);
    if let Some(doubt) = &opened.layout.doubt {
        list(
            "Not certain, and nothing is cleaned up or revoked before the file names the table:",
            &[doubt.to_string()],
        );
    }
    text.push('\n');
    text
}

/// The configuration of one target, and every check, commented out.
fn file(name: &str, target: &Target, opened: &ConnectedTarget, catalogue: &[Profile]) -> String {
    let mapping = &opened.layout.candidate.mapping;
    let mut text =
        String::from("# Configuration of sessionwatch: `sessionwatch config example` shows every key.\n");
    for why in &opened.layout.candidate.why {
        let _ = writeln!(text, "#\n# Recognised: {}.", printable(why));
    }
    for note in &opened.layout.candidate.notes {
        let _ = writeln!(text, "# To know: {}.", printable(note));
    }
    let url = target.address.file().map_or_else(
        || "${DATABASE_URL}".to_owned(),
        |path| {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("sqlite:{}", full.display())
        },
    );
    let _ = write!(text, "\n[[target]]\nname = {}\nurl = {}\n", quoted(name), quoted(&url));
    // A profile says it all, unless the database is not quite as the profile has it. In any case it says what is to be known
    // of the framework.
    let known = catalogue.iter().any(|profile| profile.name == mapping.profile);
    if known {
        let _ = writeln!(text, "profile = {}", quoted(&mapping.profile));
    }
    if let ProfileSource::Table { table, .. } = &target.storage {
        let _ = writeln!(text, "sessions = {}", quoted(&table.to_string()));
    }
    text.push_str(&chosen_by_hand(opened));
    let by_profile = known
        && (opened.layout.doubt.is_some() || !opened.layout.decoder_replaced)
        && !matches!(target.storage, ProfileSource::Explicit(_));
    if by_profile {
        text.push_str(
            "\n# What the profile comes to here; it goes before what the profile says if you remove the marks.\n",
        );
    }
    let mark = if by_profile { "# " } else { "" };
    for line in mapping_lines(mapping) {
        let _ = writeln!(text, "{mark}{line}");
    }
    let checks = file::example();
    if let Some((_, checks)) = checks.split_once("\n# Tokens on more than one row.\n") {
        let _ = write!(text, "\n# Tokens on more than one row.\n{checks}");
    }
    text
}

/// The tables that may be meant, for a person to choose: the file does not do that by itself.
fn chosen_by_hand(opened: &ConnectedTarget) -> String {
    let Some(doubt) = &opened.layout.doubt else { return String::new() };
    let mut text = format!(
        "# Not certain: {}.\n# Nothing is cleaned up or revoked before one of these lines is chosen, by removing its mark.\n",
        printable(&doubt.reason)
    );
    for [profile, sessions] in doubt.alternatives() {
        let other = profile != format!("profile = {}", quoted(&opened.layout.candidate.mapping.profile));
        let with = if other { format!("  # with {profile}") } else { String::new() };
        let _ = writeln!(text, "# {sessions}{with}");
    }
    text
}

fn mapping_lines(mapping: &Mapping) -> Vec<String> {
    let text = |key: &str, value: Option<&str>| value.map(|value| format!("{key} = {}", quoted(value)));
    let table = |name: &TableName| match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    };
    let users = mapping.users.as_ref();
    let display = users.filter(|users| !users.display.is_empty()).map(|users| {
        let shown: Vec<String> = users.display.iter().map(|column| quoted(column)).collect();
        format!("display = [{}]", shown.join(", "))
    });
    let flag = if let Revoke::Flag { column, value } = &mapping.revoke {
        Some((column.as_str(), value.as_str()))
    } else {
        None
    };
    let lines = [
        Some("[target.mapping]".to_owned()),
        text("sessions", Some(&table(&mapping.sessions))),
        text("token", Some(&mapping.token)),
        text("token_prefix", mapping.token_prefix.as_deref()),
        text("expires", Some(&mapping.expires.column)),
        text("decoder", Some(mapping.expires.decoder.name())),
        text("id", mapping.id.as_deref()),
        text("user", mapping.user.as_deref()),
        text("created", mapping.created.as_ref().map(|created| created.column.as_str())),
        text("created_decoder", mapping.created.as_ref().map(|created| created.decoder.name())),
        text("ip", mapping.ip.as_deref()),
        text("agent", mapping.agent.as_deref()),
        text("users", users.map(|users| table(&users.table)).as_deref()),
        text("users_key", users.map(|users| users.key.as_str())),
        display,
        text("accounts", mapping.accounts.as_ref().map(table).as_deref()),
        match &mapping.revoke {
            Revoke::Delete => None,
            Revoke::Expire => text("revoke", Some("expire")),
            Revoke::Flag { .. } => text("revoke", Some("flag")),
        },
        text("revoke_column", flag.map(|(column, _)| column)),
        text("revoke_value", flag.map(|(_, value)| value)),
        mapping.max_lifetime_s.map(|seconds| format!("lifetime_days = {}", (seconds / 86_400).max(1))),
    ];
    lines.into_iter().flatten().collect()
}

/// A TOML string on one line: what JSON escapes reads the same there, but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

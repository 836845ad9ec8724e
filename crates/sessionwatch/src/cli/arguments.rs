//! Parses the arguments of the process. A database URL with a password is only accepted where a URL belongs: elsewhere
//! it would end up in the audit log, a note or a file name.

use std::{io::Write as _, process::ExitCode};

use clap::{Arg, ArgMatches, Command, FromArgMatches as _, ValueEnum as _};
use credentials;
use sessionwatch_app::{environment, output};

use super::{Cli, examples, print_error, values::ColorChoice};

/// IDs of the arguments that accept a database URL.
const ADDRESS_ARGUMENTS: [&str; 4] = ["url", "target_option", "write_url", "store"];
/// `sql TARGET`: the check before the target may be left out.
const SQL_COMMAND: &str = "sql";
const USAGE_EXIT_CODE: u8 = 2;

/// Parses the arguments.
///
/// # Errors
///
/// Returns the exit code, after help or an error was printed.
pub(super) fn parse_arguments() -> Result<Cli, ExitCode> {
    let given = std::env::args_os().skip(1).map(|given| given.to_string_lossy().into_owned());
    // First of all, so that even an error in the arguments is printed masked.
    credentials::register_secrets(given.chain(environment::list_addresses()));
    let command = examples::build_command();
    let matches = command.clone().try_get_matches().map_err(|error| print_clap_error(&error))?;
    if let Some(argument) = find_misplaced_address(&command, &matches) {
        let message =
            format!("{argument} does not accept a database URL; the value you passed contains a password");
        print_error(&message, Some("pass the URL as TARGET, or set `url` of a target in sessionwatch.toml"));
        return Err(ExitCode::from(USAGE_EXIT_CODE));
    }
    Cli::from_arg_matches(&matches).map_err(|error| print_clap_error(&error))
}

/// Prints help, or the error in the arguments.
fn print_clap_error(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let is_help = !error.use_stderr();
    let is_terminal = if is_help { output::is_stdout_terminal() } else { output::is_stderr_terminal() };
    // The arguments are not parsed here, as they may be invalid.
    find_color_choice(std::env::args()).set();
    let is_colored = super::is_colored(is_terminal);
    let text = if is_colored { text.ansi().to_string() } else { text.to_string() };
    // With the stream closed there is nowhere to report to.
    let mut stderr = output::masked_stderr();
    let _ = if is_help {
        super::print_text(&text)
    } else {
        stderr.write_all(text.as_bytes()).map_err(Into::into)
    };
    u8::try_from(error.exit_code()).map_or(ExitCode::from(USAGE_EXIT_CODE), ExitCode::from)
}

/// Returns the choice of `--color`, as far as it can be read.
fn find_color_choice(arguments: impl Iterator<Item = String>) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "--color" => arguments.peek().cloned(),
            other => other.strip_prefix("--color=").map(str::to_owned),
        };
        let named = value.and_then(|value| ColorChoice::from_str(&value, true).ok());
        choice = named.unwrap_or(choice);
    }
    choice
}

/// Finds an argument that holds a URL with a password and accepts none; returns it as help writes it.
fn find_misplaced_address(command: &Command, matches: &ArgMatches) -> Option<String> {
    let takes_none = |argument: &&Arg| {
        let id = argument.get_id().as_str();
        !(ADDRESS_ARGUMENTS.contains(&id) || command.get_name() == SQL_COMMAND && id == "name")
    };
    let holds_one = |argument: &&Arg| {
        let values = matches.try_get_raw(argument.get_id().as_str()).ok().flatten();
        values.is_some_and(|mut values| {
            values.any(|value| credentials::contains_credential(&value.to_string_lossy()))
        })
    };
    // Named first: the argument where the address was typed is what the user has to change.
    let here = command.get_arguments().filter(takes_none).find(holds_one).map(render_argument);
    here.or_else(|| {
        let (name, matches) = matches.subcommand()?;
        find_misplaced_address(command.find_subcommand(name)?, matches)
    })
}

/// Renders an argument as help writes it.
fn render_argument(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("`--{long}`"),
        None => {
            let names = argument.get_value_names().map(<[_]>::to_vec).unwrap_or_default();
            let name =
                names.first().map_or_else(|| argument.get_id().as_str().to_uppercase(), ToString::to_string);
            format!("`{name}`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_found_among_faulty_arguments() {
        let choice = |given: &[&str]| find_color_choice(given.iter().map(|text| (*text).to_owned()));
        assert_eq!(choice(&["check", "--color", "never", "--nonsense"]), ColorChoice::Never);
        assert_eq!(choice(&["--color=always"]), ColorChoice::Always);
        assert_eq!(choice(&["--color"]), ColorChoice::Auto);
    }

    #[test]
    fn urls_with_passwords_are_accepted_only_where_urls_belong() {
        const URL: &str = "postgres://a:hunter2@h/d";
        let found = |arguments: &[&str]| {
            let command = examples::build_command();
            let given = ["sessionwatch"].iter().chain(arguments);
            find_misplaced_address(&command, &command.clone().try_get_matches_from(given).unwrap())
        };
        for allowed in
            [&["check", URL][..], &["sql", URL], &["sql", URL, "x"], &["apply", "p-1", "--write-url", URL]]
        {
            let parsed =
                examples::build_command().try_get_matches_from(["sessionwatch"].iter().chain(allowed));
            assert!(parsed.is_err() || found(allowed).is_none(), "{allowed:?}");
        }
        assert_eq!(found(&["check", "--only", URL]).as_deref(), Some("`--only`"));
        assert_eq!(found(&["backup", URL]).as_deref(), Some("`FILE`"));
        assert_eq!(found(&["revoke", "user", URL]).as_deref(), Some("`USER`"));
        assert_eq!(found(&["logs", "scan", "x", URL]).as_deref(), Some("`FILE`"));
    }
}

//! The program understands the commands in packaging files and documentation.

use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use sessionwatch::cli::Cli;

/// Words of a shell command, up to a redirection or another command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (vec![], String::new(), None);
    for character in line.chars().chain([' ']) {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => word.push(character),
            ('#', None) if word.is_empty() => break,
            ('|' | '>' | '<' | ';' | '&' | '`', None) => {
                words.push(std::mem::take(&mut word));
                break;
            }
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Texts before a command at the beginning of a line, in a shell, a workflow or a unit.
const BEGINNINGS: [&str; 5] = ["ExecStart=/usr/bin/", "- run: ", "run: ", "sudo ", ""];

/// Commands of the program in a text: at the beginning of lines, in documents only of shell blocks, and in backquotes.
fn commands(text: &str, is_document: bool) -> Vec<Vec<String>> {
    let (mut commands, mut fence) = (vec![], None);
    for line in text.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language) };
            continue;
        }
        let begun = BEGINNINGS.iter().filter_map(|beginning| line.strip_prefix(beginning));
        let begun = begun.filter(|_| !is_document || fence == Some("sh"));
        let quoted = line.split('`').skip(1).step_by(2);
        commands.extend(begun.chain(quoted).filter(|text| text.starts_with("sessionwatch ")).map(words));
    }
    commands
}

/// Parses a command. The actor comes from the environment, which may not name one.
fn understood(command: &[String]) -> Result<(), clap::Error> {
    let parse = |more: &[&str]| {
        let more = more.iter().map(|&word| word.to_owned());
        Cli::try_parse_from(command.iter().cloned().chain(more)).map(drop)
    };
    match parse(&[]) {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => parse(&["--as", "ada"]),
        outcome => outcome,
    }
}

/// Returns whether these words are the name of a command, without arguments, as running text mentions it.
fn is_command_name(words: &[String]) -> bool {
    let mut root = Cli::command();
    root.build();
    let found = words.iter().skip(1).try_fold(&root, |command, word| command.find_subcommand(word));
    found.is_some()
}

/// Lists all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn commands_are_found_in_code_blocks_and_backquotes() {
    let said = |command: &[&str]| command.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let unit = "ExecStart=/usr/bin/sessionwatch serve --config /etc/a.toml\n  sessionwatch check \"$URL\" >> \"$OUT\"";
    let serve = said(&["sessionwatch", "serve", "--config", "/etc/a.toml"]);
    assert_eq!(commands(unit, false), [serve, said(&["sessionwatch", "check", "$URL"])]);
    let page = "sessionwatch is good:\n`sessionwatch man`\n```sh\nsessionwatch demo  # look\n```\n```text\n\
        sessionwatch says\n```";
    assert_eq!(commands(page, true), [said(&["sessionwatch", "man"]), said(&["sessionwatch", "demo"])]);
    assert!(understood(&said(&["sessionwatch", "check", "--formt", "json"])).is_err());
    assert!(is_command_name(&said(&["sessionwatch", "incident", "open"])));
    assert!(!is_command_name(&said(&["sessionwatch", "incident", "begin"])));
}

#[test]
fn every_documented_command_is_understood() {
    let (mut named, mut wrong) = (0, vec![]);
    let documents = files(&root().join("packaging")).into_iter().chain(files(&root().join("docs")));
    let picture =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "png" || extension == "webp");
    for path in documents.filter(|path| !picture(path)).chain([root().join("README.md")]) {
        let is_document = path.extension().is_some_and(|extension| extension == "md");
        let text = std::fs::read_to_string(&path).unwrap();
        for command in commands(&text, is_document) {
            named += 1;
            // Running text names commands in backquotes; code blocks and files must hold complete ones.
            let is_mentioned = is_document && text.contains(&format!("`{}`", command.join(" ")));
            if is_mentioned && is_command_name(&command) {
                continue;
            }
            if let Err(error) = understood(&command) {
                wrong.push(format!("{}: {}: {error}", path.display(), command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 50, "only {named} commands were found");
}

#[test]
fn the_container_runs_a_valid_command_as_an_unprivileged_user() {
    let file = std::fs::read_to_string(root().join("packaging/docker/Dockerfile")).unwrap();
    let list = |directive: &str| {
        let line = file.lines().find_map(|line| line.strip_prefix(directive)).unwrap();
        serde_json::from_str::<Vec<String>>(line).unwrap()
    };
    let command = [list("ENTRYPOINT "), list("CMD ")].concat();
    assert!(understood(&command).is_ok() && command[0].ends_with("/sessionwatch"), "{command:?}");
    let user = file.lines().rev().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let user: u32 = user.split(':').next().unwrap().parse().unwrap();
    assert_ne!(user, 0);
    assert!(file.lines().any(|line| line == "EXPOSE 9797"));
}

#[test]
fn the_container_serves_an_address_without_a_configuration_file() {
    let file = std::fs::read_to_string(root().join("packaging/docker/Dockerfile")).unwrap();
    let line = |directive: &str| file.lines().rev().find_map(|line| line.strip_prefix(directive)).unwrap();
    assert_eq!(line("WORKDIR "), line("VOLUME "), "the state store outlives the container");
    let arguments: Vec<String> = serde_json::from_str(line("CMD ")).unwrap();
    // Another port, since others may use that one.
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.replace("0.0.0.0:9797", "127.0.0.1:0")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (volume, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
    let mut command = testkit::program_command(&arguments);
    command.current_dir(volume.path()).env("DATABASE_URL", database.url("postgres"));
    let daemon = testkit::DaemonProcess::start_with_command(&mut command);
    testkit::wait_until("the first run", || daemon.get("/readyz").status == 200);
    assert!(volume.path().join("sessionwatch-state.db").exists());
    testkit::create_account(volume.path(), "ada", "admin");
    assert!(daemon.get("/login").body.contains("Password"), "the dashboard is open");
}

#[test]
fn packaging_files_and_documents_match_the_program() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let bodies = read("docs/api.md");
    assert!(
        bodies.contains("--json '{") && !bodies.contains(" -d '"),
        "a body is refused unless it says to be JSON"
    );
    let workflow = read("packaging/github-action/check.yml");
    assert!(workflow.contains("uses: actions/checkout@"), "the application has the configuration");
    let version = format!("uses: OWNER/sessionwatch@v{}", env!("CARGO_PKG_VERSION"));
    assert!(workflow.contains(&version), "{workflow}");
    assert!(!read("packaging/docker/Dockerfile").contains("no log-in"));
    let notifications = read("docs/notifications.md");
    let words: Vec<&str> = notifications.split_whitespace().collect();
    assert!(words.join(" ").contains("names, handles and email addresses"));
}

#[test]
fn the_unit_uses_notifications_and_a_sandbox() {
    let unit = std::fs::read_to_string(root().join("packaging/systemd/sessionwatch.service")).unwrap();
    for line in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=90",
        "DynamicUser=yes",
        "StateDirectory=sessionwatch",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "UMask=0077",
        "Restart=always",
    ] {
        assert!(unit.lines().any(|written| written == line), "{line} is missing");
    }
}

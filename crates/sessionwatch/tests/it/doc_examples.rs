//! Every example of the documentation is run: commands, configuration, SQL and JSON, in the order of their page. Sample
//! outputs are compared with the real ones.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use regex::Regex;
use testkit::{Database, HttpSink, MailEncryption, MailOptions, MailSink, PostgresServer, TestCertificates};

use self::changes::{ANOMALIES, CLEANUP, SUSPENDED};

mod changes;

/// Page whose sample data most pages use.
const AUTHJS: &str = "docs/getting-started/authjs-prisma.md";
/// Page with the other sample data.
const BETTER_AUTH: &str = "docs/getting-started/better-auth.md";
/// Tables that SQL on a page needs, besides the sample data.
const TABLES: [(&str, &str); 1] = [(
    "docs/profiles.md",
    "CREATE TABLE sessions (last_activity integer); CREATE TABLE session (sid text, expire timestamp, sess json);",
)];
/// Pages whose samples of output are compared with the real output.
const VERIFIED_OUTPUT: [&str; 11] = [
    "README.md",
    "docs/checks/active-sessions.md",
    "docs/checks/custom.md",
    "docs/checks/duplicate-tokens.md",
    "docs/checks/expired-backlog.md",
    "docs/checks/orphaned-sessions.md",
    "docs/checks/rapid-creation.md",
    "docs/checks/session-lifetime.md",
    "docs/checks/user-session-excess.md",
    AUTHJS,
    BETTER_AUTH,
];
/// Commands that report a result by their exit code. All others must succeed.
const COMMANDS_WITH_RESULTS: [&str; 7] =
    ["check", "serve", "doctor", "report checklist", "logs scan", "incident step", "incident close"];
/// Changes that examples need in order to run unattended, on the sample database.
const SUBSTITUTIONS: [(&str, &str); 14] = [
    (r"\s+# .*$", ""),
    (r" URL$", r#" "$$DATABASE_URL""#),
    (r"^(sessionwatch init .*)", "$1 --force"),
    (r"^sudo sessionwatch ", "sessionwatch "),
    (r"^cargo run --release -- ", "sessionwatch "),
    (r"^(sessionwatch (?:demo|serve))\b( --once)?", "$1 --once"),
    (r"^(sessionwatch incident drill .*)", "$1 --yes"),
    (r"^(sessionwatch logs follow)", "timeout --preserve-status --signal=INT 2 $1"),
    (r" /(?:etc/sessionwatch|backup)/", " "),
    (r"^(sessionwatch archive .*)\bp-[0-9a-f]{10}\b", "$1$$(find_plan $$archived)"),
    (r"\bp-[0-9a-f]{10}\b", "$$(find_plan)"),
    (r"\b498d075871f5\b", "$$(find_token)"),
    (r"'postgres://postgres:postgres@localhost:5432/shop'", r#""postgres://$$SERVER_LOGIN""#),
    (r"@localhost:5432/shop", "@$$SERVER_ADDRESS"),
];
/// Shell functions of all scripts.
const FUNCTIONS: &str = r#"
# Prints the plan that was applied, for commands about archives, or that was printed last.
find_plan() { echo "${1:-$(grep -oE '\bp-[0-9a-f]{10}\b' "$LOGS/out" | tail -1)}"; }
# Prints the id of the newest API token.
find_token() { sessionwatch tokens list | grep -oE '\b[0-9a-f]{12}\b' | tail -1; }
# Adds the lines that a file does not have yet below the line before them.
add_lines() {
  local line previous
  while IFS= read -r line; do
    grep -qxF -- "$line" sessionwatch.toml ||
      awk -v p="$previous" -v l="$line" '{print} $0 == p {print l}' sessionwatch.toml > changed &&
      if [ -e changed ]; then mv changed sessionwatch.toml; fi
    previous=$line
  done
}
"#;
/// Configuration of most pages, besides their target.
const MORE_CONFIGURATION: &str = r#"write_url = "${WRITE_URL}"
[[channel]]
name = "chat"
kind = "slack"
url = "${SLACK_WEBHOOK_URL}"
[[logs]]
name = "app"
file = "app.log"
"#;

/// A fenced block of a page.
struct Block {
    page: String,
    line: usize,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the paths of README.md and of all pages below docs, relative to the root.
fn pages() -> Vec<String> {
    let root = root().canonicalize().unwrap();
    let found = glob::glob(&format!("{}/docs/**/*.md", root.display())).unwrap();
    let relative = |path: PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    std::iter::once("README.md".to_owned()).chain(found.map(|path| relative(path.unwrap()))).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Returns the fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, bool) = (Vec::new(), false);
    for (index, line) in read(page).lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => {
                let (page, language) = (page.to_owned(), language.trim().to_owned());
                blocks.push(Block { page, line: index + 1, language, text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => writeln!(blocks.last_mut().unwrap().text, "{line}").unwrap(),
            (None, false) => {}
        }
    }
    assert!(!open, "{page}: a fenced block is not closed");
    blocks
}

fn blocks_in(language: &str) -> Vec<Block> {
    let all = pages().iter().flat_map(|page| blocks(page)).collect::<Vec<_>>();
    let found: Vec<Block> = all.into_iter().filter(|block| block.language == language).collect();
    assert!(!found.is_empty(), "no block in {language}");
    found
}

/// Splits a script into its commands, each with its line: continued lines and here-documents belong together.
fn commands(block: &Block) -> Vec<(usize, String)> {
    let heredoc = Regex::new(r"<<'?(\w+)'?").unwrap();
    let (mut commands, mut lines) = (Vec::new(), (block.line + 1..).zip(block.text.lines()));
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut text = line.to_owned();
        while text.ends_with('\\') {
            text.push('\n');
            text.push_str(lines.next().unwrap().1);
        }
        if let Some(end) = heredoc.captures(line).map(|found| found[1].to_owned()) {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != end);
            let body: String = body.map(|line| format!("\n{line}")).collect();
            write!(text, "{body}\n{end}").unwrap();
        }
        commands.push((number, text));
    }
    commands
}

/// Returns a command in the form in which it can be run here. `None` for other programs.
fn runnable(command: &str) -> Option<String> {
    static PATTERNS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        SUBSTITUTIONS.iter().map(|(pattern, with)| (Regex::new(pattern).unwrap(), *with)).collect()
    });
    let (first, rest) = command.split_once('\n').map_or((command, None), |(first, rest)| (first, Some(rest)));
    let mut text = first.to_owned();
    for (pattern, with) in patterns {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    let text = rest.map_or(text.clone(), |rest| format!("{text}\n{rest}"));
    let known = Regex::new(r"^(timeout .*)?(sessionwatch|psql|mkdir|export|unset|[A-Z_]+=)").unwrap();
    known.is_match(&text).then_some(text)
}

/// Servers that pages need, shared by all of them.
struct World {
    server: PostgresServer,
    chat: HttpSink,
    mail: MailSink,
}

impl World {
    fn start() -> Self {
        let mail = MailOptions { encryption: MailEncryption::None, require_login: false };
        Self {
            // The roles that the pages create belong to a whole server.
            server: PostgresServer::start(&[]).unwrap(),
            chat: HttpSink::start(&["200 OK"]).unwrap(),
            mail: MailSink::start(mail).unwrap(),
        }
    }

    /// Creates the database of a page.
    fn database(&self, page: &str) -> Database<'_> {
        let database = self.server.create_database(None).unwrap();
        let sql = match page {
            page if starts_empty(page) => return database,
            "docs/checks/custom.md" => [testkit::sample_databases::GUIDE_SCHEMA, SUSPENDED].concat(),
            "docs/cleanup.md" => [&sample_data(BETTER_AUTH), CLEANUP].concat(),
            _ => [&sample_data(AUTHJS), ANOMALIES].concat(),
        };
        database.psql(&sql).unwrap();
        database
    }
}

/// Returns the SQL of the sample data of a page.
fn sample_data(page: &str) -> String {
    let page = read(page);
    let (_, script) = page.split_once("<<'SQL'\n").unwrap();
    script.split_once("\nSQL\n").unwrap().0.to_owned()
}

/// Returns the commands that run before those of a page.
fn preparation(page: &str) -> &'static str {
    match page {
        page if starts_empty(page) => "",
        "README.md" => "sessionwatch demo --once > /dev/null\nexport DATABASE_URL=sessionwatch-demo.db",
        "docs/checks/custom.md" => "export DATABASE_URL=\"postgres://$SERVER_LOGIN\"\nsessionwatch check",
        page if page.starts_with("docs/checks/") => {
            "sessionwatch demo --once > /dev/null\nexport DATABASE_URL=sessionwatch-demo.db\nsessionwatch check"
        }
        "docs/cleanup.md" => {
            "export DATABASE_URL=\"postgres://$SERVER_LOGIN\"\n\
             sessionwatch cleanup expired \"$DATABASE_URL\" --apply --write-url \"$DATABASE_URL\"\n\
             archived=$(find_plan)"
        }
        _ => {
            "export DATABASE_URL=\"postgres://$SERVER_LOGIN\" WRITE_URL=\"postgres://$SERVER_LOGIN\"\n\
             sessionwatch accounts add ada --role admin\n\
             sessionwatch serve --once"
        }
    }
}

#[test]
fn every_command_runs() {
    let world = World::start();
    let mut failures = String::new();
    for page in pages() {
        failures.push_str(&run_page(&world, &page));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Runs the commands of a page and returns a text about those that fail, and about outputs that differ.
fn run_page(world: &World, page: &str) -> String {
    let blocks = blocks(page);
    let shell = blocks.iter().filter(|block| block.language == "sh").flat_map(commands);
    if !VERIFIED_OUTPUT.contains(&page)
        && shell.filter_map(|(_, command)| runnable(&command)).next().is_none()
    {
        return String::new();
    }
    let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(logs.path().join("in"), testkit::ACCOUNT_PASSWORD).unwrap();
    fs::write(logs.path().join("out"), "").unwrap();
    write_files(folder.path(), page, &blocks);
    let database = world.database(page);
    let script = Script::of(world, page, &blocks);
    let login = database.url("postgres").split_once("://").unwrap().1.to_owned();
    let program = testkit::program_command(&[]).get_program().to_owned();
    let programs = [Path::new(&program).parent().unwrap(), world.server.bin_folder()].map(Path::display);
    let status = Command::new("bash")
        .args(["-c", &script.text])
        .env_clear()
        .env("PATH", format!("{}:{}:/usr/bin:/bin", programs[0], programs[1]))
        .env("HOME", folder.path())
        .env("USER", "ada")
        .env("COLUMNS", "100")
        .env("LOGS", logs.path())
        .env("SERVER_ADDRESS", login.split_once('@').unwrap().1)
        .env("SERVER_LOGIN", &login)
        .env("SLACK_WEBHOOK_URL", world.chat.url())
        .current_dir(folder.path())
        .status();
    assert!(status.unwrap().success(), "{page}: the script ended early");
    let differences =
        if VERIFIED_OUTPUT.contains(&page) { compare(logs.path(), &blocks) } else { String::new() };
    script.failures(logs.path(), page) + &differences
}

/// Commands of a page, as a shell script.
struct Script {
    text: String,
    /// The line of each command in its page, 0 for preparations, and its text.
    commands: Vec<(usize, String)>,
}

impl Script {
    fn of(world: &World, page: &str, blocks: &[Block]) -> Self {
        let mut script = Self { text: FUNCTIONS.to_owned(), commands: vec![] };
        preparation(page).lines().for_each(|command| script.push(0, command));
        let shown = blocks.iter().map(|block| (block, block.language.as_str()));
        for (block, language) in shown {
            match language {
                "sh" => {
                    for (line, command) in commands(block) {
                        runnable(&command).into_iter().for_each(|command| script.push(line, &command));
                    }
                }
                "toml" if starts_empty(page) => script.edit(world, block),
                _ => {}
            }
        }
        script
    }

    fn push(&mut self, line: usize, command: &str) {
        let number = self.commands.len();
        self.commands.push((line, command.to_owned()));
        // Braces and not parentheses, so that variables and the folder are kept for the next command.
        let redirections = format!(r#">>"$LOGS/out" 2>"$LOGS/err.{number}" <"$LOGS/in""#);
        writeln!(self.text, "{{ {command}\n}} {redirections}\necho $? >\"$LOGS/rc.{number}\"").unwrap();
    }

    /// Edits the file that `init` wrote, as the page asks for.
    fn edit(&mut self, world: &World, block: &Block) {
        let mail = format!("smtp://localhost:{}", world.mail.port());
        let text = block.text.replace("smtps://watch:${SMTP_PASSWORD}@mail.example.org", &mail);
        if text.starts_with("[[target]]") {
            self.push(block.line, &format!("add_lines <<'EOF'\n{text}EOF"));
        } else if text.starts_with("[[channel]]") {
            self.push(block.line, &format!("cat >>sessionwatch.toml <<'EOF'\n{text}EOF"));
        }
    }

    /// Returns a text about the commands that failed.
    fn failures(&self, logs: &Path, page: &str) -> String {
        let mut failures = String::new();
        for (number, (line, command)) in self.commands.iter().enumerate() {
            let read = |kind: &str| fs::read_to_string(logs.join(format!("{kind}.{number}"))).unwrap();
            let (code, errors) = (read("rc"), read("err"));
            let reports = |name: &&str| command.starts_with(&format!("sessionwatch {name}"));
            let has_result = COMMANDS_WITH_RESULTS.iter().any(reports);
            if code.trim() != "0" && !(has_result && ["1", "3"].contains(&code.trim())) {
                writeln!(failures, "{page}:{line}: `{command}` ends with {}: {errors}", code.trim()).unwrap();
            }
        }
        failures
    }
}

/// Returns a text about sample outputs that no command printed.
fn compare(logs: &Path, blocks: &[Block]) -> String {
    let printed = normalize(&fs::read_to_string(logs.join("out")).unwrap());
    let mut differences = String::new();
    for block in blocks.iter().filter(|block| block.language == "text") {
        for part in normalize(&block.text).split("\n...\n").filter(|part| !printed.contains(part.trim())) {
            writeln!(differences, "{}:{}: not printed:\n{part}", block.page, block.line).unwrap();
        }
    }
    if !differences.is_empty() {
        writeln!(differences, "{}: printed:\n{printed}", blocks[0].page).unwrap();
    }
    differences
}

/// Returns whether the reader of a page begins in an empty folder, with an empty database.
fn starts_empty(page: &str) -> bool {
    page.starts_with("docs/getting-started/")
}

/// Writes the files that the commands of a page need.
fn write_files(folder: &Path, page: &str, blocks: &[Block]) {
    if starts_empty(page) {
        return;
    }
    // A busy machine would exceed the duration budget of check runs.
    let target = "[checks.slow-check-run]\nbudget_ms = 3600000\n\
                  [[target]]\nname = \"main\"\nurl = \"${DATABASE_URL}\"\n";
    let more = match (page, page.starts_with("docs/checks/")) {
        ("README.md", _) => String::new(),
        // A check is configured as its page shows.
        (_, true) => {
            let own = blocks.iter().filter(|block| block.language == "toml");
            own.map(|block| block.text.as_str()).collect()
        }
        _ => MORE_CONFIGURATION.to_owned(),
    };
    fs::write(folder.join("sessionwatch.toml"), format!("{target}{more}")).unwrap();
    let copy = format!("[serve]\nstore = \"sessionwatch-state.db\"\n{target}");
    fs::write(folder.join("copy.toml"), copy).unwrap();
    fs::create_dir(folder.join("old")).unwrap();
    let line = "[AUTH-ADAPTER] Session created { userId: 7 }\n";
    fs::write(folder.join("app.log"), line).unwrap();
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(line.as_bytes()).unwrap();
    fs::write(folder.join("old/app.log.1.gz"), packer.finish().unwrap()).unwrap();
}

/// Returns output without what changes from run to run, and with single spaces.
fn normalize(text: &str) -> String {
    static CHANGING: OnceLock<[(Regex, &str); 2]> = OnceLock::new();
    let changing = CHANGING.get_or_init(|| {
        [(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"), (r"\bp-[0-9a-f]{10}\b", "PLAN")]
            .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
    });
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut text: String = lines.map(|line| format!("{line}\n")).collect();
    for (pattern, with) in changing {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

#[test]
fn every_command_in_a_sentence_exists() {
    let spans = Regex::new(r"`(sessionwatch [^`]+)`").unwrap();
    let mut failures = String::new();
    for page in pages() {
        let text = read(&page).replace('\n', " ");
        for span in spans.captures_iter(&text) {
            // Optional parts are written in brackets, and alternatives with a bar.
            let command = span[1].replace(['[', ']'], "");
            let words: Vec<&str> = command.split('|').next().unwrap().split_whitespace().skip(1).collect();
            let help: &[&str] = if words == ["help"] { &[] } else { &["--help"] };
            let output = testkit::run_program(&[&words, help].concat());
            if output.exit_code != 0 {
                writeln!(failures, "{page}: `{}`: {}", &span[1], output.stderr).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_configuration_is_valid() {
    let variables = Regex::new(r"\$\{([A-Z_]+)\}").unwrap();
    let paths = Regex::new(r#"(= |\[)"(/[^"]+|company-ca\.pem)""#).unwrap();
    let mut failures = String::new();
    for block in blocks_in("toml") {
        let folder = tempfile::tempdir().unwrap();
        let certificates = TestCertificates::generate(folder.path()).unwrap();
        let inside = |path: &str| folder.path().join(path.trim_start_matches('/'));
        for path in paths.captures_iter(&block.text).map(|found| inside(&found[2])) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match path.file_name().unwrap().to_str().unwrap() {
                "fullchain.pem" => fs::copy(certificates.server_certificate(), &path).map(drop),
                "privkey.pem" => fs::copy(certificates.server_key(), &path).map(drop),
                "company-ca.pem" => fs::copy(certificates.authority(), &path).map(drop),
                name if name.ends_with("url") => fs::write(&path, "postgres://watch:secret@localhost/app\n"),
                _ => Ok(()),
            }
            .unwrap();
        }
        let text = paths.replace_all(&block.text, |found: &regex::Captures<'_>| {
            format!("{}\"{}\"", &found[1], inside(&found[2]).display())
        });
        let target =
            "[[target]]\nname = \"main\"\nurl = \"${DATABASE_URL}\"\nwrite_url = \"${DATABASE_URL}\"\n";
        let target = if text.contains("[[target]]") { "" } else { target };
        fs::write(folder.path().join("sessionwatch.toml"), format!("{target}{text}")).unwrap();
        let value = |name: &str| match name {
            "DATABASE_URL" | "WRITE_URL" => "postgres://watch:secret@localhost/app",
            name if name.ends_with("_URL") => "https://example.org/hook",
            _ => "0123456789abcdef0123456789abcdef",
        };
        let all = variables.captures_iter(&block.text).map(|found| found[1].to_owned());
        let names: Vec<String> = all.chain(["DATABASE_URL".to_owned()]).collect();
        let set: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value(name))).collect();
        let output = testkit::run_program_in(folder.path(), &set, &["config", "check"]);
        if output.exit_code != 0 {
            writeln!(failures, "{}:{}: {}{}", block.page, block.line, output.stdout, output.stderr).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_query_runs() {
    let database = testkit::empty_database();
    database.psql(&[&sample_data(AUTHJS), ANOMALIES].concat()).unwrap();
    for block in blocks_in("sql") {
        let tables = TABLES.iter().find(|(page, _)| *page == block.page).map_or("", |(_, tables)| tables);
        let run = database.psql(&format!("BEGIN; {tables}\n{}\nROLLBACK;", block.text));
        assert!(run.is_ok(), "{}:{}: {run:?}", block.page, block.line);
    }
}

#[test]
fn every_json_document_parses() {
    for block in blocks_in("json") {
        let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
        assert!(parsed.is_ok(), "{}:{}: {parsed:?}", block.page, block.line);
    }
}

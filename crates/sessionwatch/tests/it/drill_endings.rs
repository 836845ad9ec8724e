//! A drill leaves nothing behind, however it ends; leftovers of a killed drill are found.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    panic::AssertUnwindSafe,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use sessionwatch_app::{config::Config, incident::drill, remediation::ActionContext};
use sessionwatch_clock::Clock;
use sessionwatch_store::Store;
use testkit::{Database, PostgresServer, ProgramOutput, run_program_in};

/// Text of a drill's first question.
const FIRST_QUESTION: &str = "IDs of the users who share a token";

/// Ways to end a drill.
type Ending<'a> = (&'a str, &'a dyn Fn(&mut Rehearsal));

/// A drill at a terminal.
struct Rehearsal {
    child: Child,
    /// `None` once the terminal is closed.
    terminal: Option<File>,
    shown: String,
}

impl Rehearsal {
    /// Starts a drill in a folder, and waits for its first question.
    fn begin(folder: &Path, arguments: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, vec![]).unwrap();
        let end = || -> Stdio {
            let path = std::ffi::OsStr::from_bytes(name.as_bytes());
            OpenOptions::new().read(true).write(true).open(path).unwrap().into()
        };
        // `exec` keeps the process ID, and makes this the controlling terminal, which sends the signals.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_sessionwatch"))
            .args(["incident", "drill"])
            .args(arguments);
        command.env_clear().env("USER", "ada").env("PATH", "/usr/bin:/bin").current_dir(folder);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(command);
        let mut rehearsal = Self { child, terminal: Some(File::from(terminal)), shown: String::new() };
        rehearsal.shows(FIRST_QUESTION);
        rehearsal
    }

    /// Waits until the terminal shows a text.
    fn shows(&mut self, part: &str) {
        let mut buffer = [0; 4_096];
        while !self.shown.contains(part) {
            // The terminal closes when its program ends.
            let read = self.read(&mut buffer);
            assert!(read > 0, "no `{part}` in: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.terminal.as_mut().map_or(0, |terminal| terminal.read(buffer).unwrap_or(0))
    }

    fn types(&mut self, text: &str) {
        self.terminal.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end of the drill. Returns the exit code and the output.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut buffer = [0; 4_096];
        while let read @ 1.. = self.read(&mut buffer) {
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.shown))
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names in a folder, except files of the store.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains("drill")).collect();
    names.sort();
    names
}

/// Names of the databases of drills.
fn databases(server: &PostgresServer) -> String {
    let query = "SELECT datname FROM pg_database WHERE datname LIKE 'sessionwatch_drill%' ORDER BY 1";
    server.psql("postgres", query).unwrap()
}

/// An application on its own server, since other tests search for leftovers of drills.
fn application(server: &PostgresServer) -> Database<'_> {
    let database = server.create_database(None).unwrap();
    database.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
    database.psql("UPDATE users SET name = 'Ada Abara ' || id").unwrap();
    database
}

/// URL of a small application in a file.
pub(crate) fn sqlite(folder: &Path) -> String {
    let script = "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT);
        CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
          expires TEXT NOT NULL);
        INSERT INTO users VALUES ('u1', 'Ada Abara', 'ada@example.org'), ('u2', 'Bo', 'bo@example.org');
        INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z'),
          ('s2', 'token-number-two', 'u2', '2100-01-01T00:00:00.000Z');";
    let path = folder.join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(script).unwrap();
    format!("sqlite:{}", path.display())
}

#[test]
fn every_ending_leaves_nothing_of_a_drill_behind() {
    let server = PostgresServer::start(&[]).unwrap();
    let database = application(&server);
    let folder = tempfile::tempdir().unwrap();
    let (url, file) = (database.url("postgres"), sqlite(folder.path()));
    let endings: [Ending<'_>; 7] = [
        ("Ctrl-C", &|drill| drill.types("\u{3}")),
        ("end of input", &|drill| drill.types("\u{4}")),
        ("SIGTERM", &|drill| drill.signal("TERM")),
        ("SIGHUP", &|drill| drill.signal("HUP")),
        ("SIGQUIT", &|drill| drill.signal("QUIT")),
        // A wrong answer, then a signal at the same question.
        ("Ctrl-C after an answer", &|drill| {
            drill.types("nobody\n");
            drill.shows("Not these users.");
            drill.types("\u{3}");
        }),
        ("a closed terminal", &|drill| drop(drill.terminal.take())),
    ];
    for arguments in [&[url.as_str()][..], &[file.as_str()], &["--demo"]] {
        for (how, end) in &endings {
            let mut drill = Rehearsal::begin(folder.path(), arguments);
            assert!(!files(folder.path()).is_empty(), "{how}");
            end(&mut drill);
            let (code, shown) = drill.ended();
            assert!(matches!(code, Some(2 | 3)), "{how} {arguments:?}: {code:?} {shown}");
            assert_eq!((databases(&server), files(folder.path())), (String::new(), vec![]), "{how}: {shown}");
        }
    }
}

#[test]
fn completed_and_failed_drills_leave_nothing_behind() {
    let server = PostgresServer::start(&[]).unwrap();
    let (database, folder) = (application(&server), tempfile::tempdir().unwrap());
    let url = database.url("postgres");
    let scratch = |drill: &Rehearsal| {
        assert!(drill.shown.contains("sessionwatch_drill_"), "{}", drill.shown);
        databases(&server).trim().to_owned()
    };
    let sharing = "SELECT string_agg(\"userId\"::text, ',') FROM sessions WHERE \"sessionToken\" IN
        (SELECT \"sessionToken\" FROM sessions GROUP BY 1 HAVING count(*) > 1)";
    for fails in [false, true] {
        let mut drill = Rehearsal::begin(folder.path(), &[&url]);
        let name = scratch(&drill);
        let users = server.psql(&name, sharing).unwrap();
        if fails {
            server.psql(&name, "DROP TABLE sessions").unwrap();
        }
        drill.types(&format!("{}\n", users.trim()));
        if !fails {
            drill.shows("Type the target name (drill)");
            drill.types("drill\n");
            drill.shows("Done? Type yes");
            drill.types("yes\n");
        }
        let (code, shown) = drill.ended();
        assert_eq!(code, Some(if fails { 2 } else { 0 }), "{shown}");
        assert_eq!((databases(&server), files(folder.path())), (String::new(), vec![]), "{shown}");
    }
}

#[test]
fn a_panic_leaves_nothing_of_a_drill_behind() {
    let server = PostgresServer::start(&[]).unwrap();
    let (database, folder) = (application(&server), tempfile::tempdir().unwrap());
    for url in [database.url("postgres"), sqlite(folder.path())] {
        let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n");
        let text = if url.starts_with("sqlite") { text.replace("write_url", "# write_url") } else { text };
        let config = Config::parse(&folder.path().join("sessionwatch.toml"), &text).unwrap();
        let store = Store::open_in_memory().unwrap();
        let (target, clock) = (&config.targets[0], &Clock::System);
        let context = ActionContext { config: &config, target, store: &store, clock, actor: "ada" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rehearsed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let database = drill::prepare_drill(context, folder.path()).await.unwrap();
                assert!(!files(folder.path()).is_empty());
                database.run_and_remove(async |_| panic!("a bug")).await
            })
        }));
        assert_eq!(*rehearsed.unwrap_err().downcast::<&str>().unwrap(), "a bug");
        assert_eq!((databases(&server), files(folder.path())), (String::new(), vec![]), "{url}");
    }
}

#[test]
fn leftovers_of_a_killed_drill_contain_no_names_and_the_next_drill_removes_them() {
    let server = PostgresServer::start(&[]).unwrap();
    let (database, folder) = (application(&server), tempfile::tempdir().unwrap());
    let (url, file) = (database.url("postgres"), sqlite(folder.path()));
    let run = |arguments: &[&str]| run_program_in(folder.path(), &[("USER", "ada")], arguments);
    let kill = |address: &str| {
        let drill = Rehearsal::begin(folder.path(), &[address]);
        drill.signal("KILL");
        drill.ended();
    };
    kill(&url);
    let name = databases(&server).trim().to_owned();
    let columns =
        "SELECT string_agg(column_name, ' ') FROM information_schema.columns WHERE table_name = 'users'";
    assert_eq!(server.psql(&name, columns).unwrap(), "id\n");
    let examined = run(&["doctor", &url]);
    for part in [
        &format!("drill database `{name}`, created 2"),
        &format!("DROP DATABASE \"{name}\";"),
        "drill-files: ",
    ] {
        assert!(examined.stdout.contains(part), "{part}: {}", examined.stdout);
    }
    let next = run(&["incident", "drill", &url, "--yes"]);
    let is_noted = next.stderr.contains(&format!("note: removed drill database `{name}`, created 2"))
        && next.stderr.contains("note: removed leftovers of a killed drill: ");
    assert!(next.exit_code == 0 && is_noted, "{}{}", next.stdout, next.stderr);
    assert_eq!((databases(&server), files(folder.path())), (String::new(), vec![]));
    kill(&file);
    let left = files(folder.path());
    let copy = left.iter().find(|name| name.ends_with(".db") && !name.ends_with("-state.db")).unwrap();
    let copied = fs::read(folder.path().join(copy)).unwrap();
    let copied = String::from_utf8_lossy(&copied);
    assert!(!copied.contains("Ada Abara") && !copied.contains("@example.org"), "{copied}");
    assert!(
        run(&["doctor", &file])
            .stdout
            .contains(&format!("drill-files: leftover files of drills: {}", left[0]))
    );
    let next = run(&["incident", "drill", "--demo", "--yes"]);
    assert!(next.exit_code == 0 && next.stderr.contains(copy), "{}{}", next.stdout, next.stderr);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn leftovers_of_a_possibly_running_drill_are_named_and_not_removed() {
    let server = PostgresServer::start(&[]).unwrap();
    let (database, folder) = (application(&server), tempfile::tempdir().unwrap());
    let url = database.url("postgres");
    let run = |arguments: &[&str]| -> ProgramOutput {
        run_program_in(folder.path(), &[("USER", "ada")], arguments)
    };
    // A drill that is running here is neither named nor removed.
    let mut drill = Rehearsal::begin(folder.path(), &[&url]);
    let running = databases(&server);
    let next = run(&["incident", "drill", &url, "--yes"]);
    assert!(next.exit_code == 0 && next.stderr.is_empty(), "{}{}", next.stdout, next.stderr);
    assert_eq!(databases(&server), running);
    assert!(!run(&["doctor", &url]).stdout.contains("drill"), "it runs");
    drill.types("\u{3}");
    drill.ended();
    // Databases without the mark of a drill, and with similar names.
    for name in ["sessionwatch_drill_0123abcd", "sessionwatch_drill_of_mine"] {
        server.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
    }
    fs::write(folder.path().join("sessionwatch_drill_0123abcd.db"), "").unwrap();
    let next = run(&["incident", "drill", &url, "--yes"]);
    let is_noted = next
        .stderr
        .contains("if that drill is no longer running: DROP DATABASE \"sessionwatch_drill_0123abcd\";")
        && next.stderr.contains("rm sessionwatch_drill_0123abcd.db")
        && !next.stderr.contains("of_mine");
    assert!(next.exit_code == 0 && is_noted, "{}{}", next.stdout, next.stderr);
    assert_eq!(databases(&server), "sessionwatch_drill_0123abcd\nsessionwatch_drill_of_mine\n");
}

//! Child processes: their user, their port, and their end with the tests.

use std::{
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The real `psql` from a folder of programs, for the server at a socket folder and port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Psql<'a> {
    pub(crate) bin_folder: &'a Path,
    pub(crate) socket_folder: &'a Path,
    pub(crate) port: u16,
}

impl Psql<'_> {
    /// Runs SQL as superuser, and returns the unaligned output.
    pub(crate) fn run(self, database: &str, sql: &str) -> Result<String> {
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-f", "-"];
        let mut child = Command::new(self.bin_folder.join("psql"))
            .args(options)
            .args(["-d", database])
            .env("PGHOST", self.socket_folder)
            .env("PGPORT", self.port.to_string())
            .env("PGTZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        child.stdin.take().context("standard input is piped")?.write_all(sql.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

pub(crate) fn run_as(owner: Option<(u32, u32)>, program: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(if owner.is_some() { Path::new("setpriv") } else { program });
    if let Some((user, group)) = owner {
        command
            .args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"])
            .arg(program);
    }
    // A daemon that inherited a pipe would keep it open, so its output is discarded; it has a log file.
    let status = command
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if status.with_context(|| format!("cannot run `{}`", program.display()))?.success() {
        Ok(())
    } else {
        bail!("`{} {}` failed", program.display(), arguments.join(" "))
    }
}

/// Returns the user and group ID to run PostgreSQL as if this process is root, which PostgreSQL refuses to run as.
pub(crate) fn find_unprivileged_user() -> Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some((id(&["-u", name]).ok()?, id(&["-g", name]).ok()?)));
    Ok(Some(user.context("no unprivileged user to run PostgreSQL as: create `postgres` or `nobody`")?))
}

pub(crate) fn find_free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Starts a shell that stops the servers and removes the folder as soon as this process closes the pipe.
pub(crate) fn spawn_watchdog(folder: &Path, data: &Path) -> Result<Child> {
    // The kernel closes the pipe however this process ends, so a killed test leaves no servers behind.
    let script = "read -r _; for f in \"$2/postmaster.pid\" \"$1/pgbouncer.pid\"; \
        do [ -f \"$f\" ] && kill -QUIT \"$(head -n 1 \"$f\")\"; done; \
                  while [ -f \"$2/postmaster.pid\" ] && kill -0 \"$(head -n 1 \"$2/postmaster.pid\")\" 2>/dev/null; \
                  do sleep 0.1; done; rm -rf \"$1\"";
    // A session of its own: Ctrl-C in the terminal must not kill the watchdog before it has cleaned up.
    Command::new("setsid")
        .args(["sh", "-c", script, "watchdog"])
        .args([folder, data])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the watchdog")
}

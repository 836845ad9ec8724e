//! Setup of dashboard tests: a daemon that monitors the operator guide's tables.

use std::sync::{Condvar, Mutex, PoisonError};

use testkit::{DaemonProcess, Database};

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) daemon: DaemonProcess,
    /// Path of the setup link for the first account. `None` if an account exists.
    pub(crate) link: Option<String>,
}

impl Scene {
    /// Starts a daemon with these accounts, as name and role. Check runs are a minute apart; a test that needs one
    /// requests it.
    pub(crate) fn new(accounts: &[(&str, &str)]) -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nwrite_url = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
             [checks.slow-check-run]\nenabled = false\n\
             [[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n",
            database.url("postgres"),
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        for (name, role) in accounts {
            testkit::create_account(folder.path(), name, role);
        }
        let mut daemon = DaemonProcess::start(folder.path());
        let link = daemon.read_setup_path();
        Self { folder, database, daemon, link }
    }

    pub(crate) fn logged(&self, line: &str) {
        let headers = [("authorization", "Bearer a-token-for-lines")];
        assert_eq!(
            testkit::http::post(&self.daemon.address, "/ingest/logs", &headers, line.as_bytes()).status,
            200
        );
    }
}

/// Number of tests in a browser now. Browsers mostly compute, so there are at most as many as CPUs.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A slot for one running test, released on drop.
struct RunSlot;

impl RunSlot {
    fn wait() -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let (running, ended) = &RUNNING;
        let waiting = running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ended.wait_while(waiting, |running| *running >= most);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for RunSlot {
    fn drop(&mut self) {
        let (running, ended) = &RUNNING;
        *running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_one();
    }
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let _slot = RunSlot::wait();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

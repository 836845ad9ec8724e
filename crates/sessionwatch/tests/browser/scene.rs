//! What stories about the dashboard begin with: a watch of the guide's tables.

use std::sync::{Condvar, Mutex, PoisonError};

use testkit::{DaemonProcess, Database};

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) watch: DaemonProcess,
    /// The link for the first account; nothing where there is one.
    pub(crate) link: Option<String>,
}

impl Scene {
    /// A watch of the guide's tables. Looks are a minute apart, so a story that needs one asks for it.
    pub(crate) fn new(accounts: &[(&str, &str)]) -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nwrite_url = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n[checks.slow-check-run]\nenabled = false\n\
             [[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n",
            database.url("postgres"),
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        for (name, role) in accounts {
            testkit::create_account(folder.path(), name, role);
        }
        let mut watch = DaemonProcess::start(folder.path());
        let link = watch.read_setup_path();
        Self { folder, database, watch, link }
    }

    pub(crate) fn logged(&self, line: &str) {
        let headers = [("authorization", "Bearer a-token-for-lines")];
        assert_eq!(
            testkit::http::post(&self.watch.address, "/ingest/logs", &headers, line.as_bytes()).status,
            200
        );
    }
}

/// How many stories are in a browser now. They mostly compute, so that there are no more of them than processors.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// The turn of a story.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let (running, ended) = &RUNNING;
        let waiting = running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ended.wait_while(waiting, |running| *running >= most);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (running, ended) = &RUNNING;
        *running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_one();
    }
}

pub(crate) fn run<T>(story: impl Future<Output = T>) -> T {
    let _turn = Turn::wait();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

//! What stories about the dashboard begin with: a watch of the guide's tables.

use testkit::{Daemon, Database};

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) watch: Daemon,
    /// The link for the first account; nothing where there is one.
    pub(crate) link: Option<String>,
}

impl Scene {
    /// A watch of the guide's tables. Looks are a minute apart, so a story that needs one asks for it.
    pub(crate) fn new(accounts: &[(&str, &str)]) -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy());
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nact_url = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n[checks.slow-observation]\nenabled = false\n\
             [[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n",
            database.url("postgres"),
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        for (name, role) in accounts {
            testkit::add_account(folder.path(), name, role);
        }
        let mut watch = Daemon::start(folder.path());
        let link = watch.setup_path();
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

pub(crate) fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

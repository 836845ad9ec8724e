//! What stories about the dashboard begin with: a watch of the guide's tables.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use testbed::Database;

use crate::harness::{self, Watch};

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) watch: Watch,
    /// The link for the first account; nothing where there is one.
    pub(crate) link: Option<String>,
}

impl Scene {
    /// A watch of the guide's tables. Looks are a minute apart, so a story that needs one asks for it.
    pub(crate) fn new(accounts: &[(&str, &str)]) -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), harness::healthy());
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nact_url = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n[checks.slow-observation]\nenabled = false\n\
             [[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n",
            database.url("postgres"),
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        for (name, role) in accounts {
            harness::account(folder.path(), name, role);
        }
        let (watch, link) = start(folder.path());
        Self { folder, database, watch, link }
    }

    pub(crate) fn logged(&self, line: &str) {
        let headers = [("authorization", "Bearer a-token-for-lines")];
        assert_eq!(harness::post(&self.watch.address, "/ingest/logs", &headers, line.as_bytes()).0, 200);
    }
}

fn start(folder: &Path) -> (Watch, Option<String>) {
    let mut child = harness::command(&["serve"]).current_dir(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.split("http://").nth(1).unwrap().trim_end_matches("/metrics").to_owned();
    let link = lines.next().unwrap();
    let link = link.split("http://").nth(1).and_then(|link| link.split_once("/setup/"));
    let link = link.map(|(_, token)| format!("/setup/{token}"));
    (Watch { child, address }, link)
}

pub(crate) fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

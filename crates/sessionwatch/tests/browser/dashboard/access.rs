//! Access control of pages and forms.

use testkit::{ACCOUNT_PASSWORD, DaemonProcess};

use super::{cookie, form};
use crate::scene::Scene;

#[test]
fn viewers_cannot_change_anything_and_foreign_forms_are_rejected() {
    let scene = Scene::new(&[("vera", "viewer"), ("rob", "responder")]);
    let address = scene.daemon.address.clone();
    let get = |cookie: &str, path: &str| {
        testkit::http::get_with_headers(&address, path, &[("cookie", cookie)]).into_status_and_text()
    };
    let (vera, rob) = (cookie(&address, "vera"), cookie(&address, "rob"));
    let form = |cookie: &str| form(&address, cookie);
    let silence = |cookie: &str, form: &str, headers: &[(&str, &str)]| {
        let body = format!("form={form}&check=target-unreachable&note=x&minutes=60");
        let headers = [&[("cookie", cookie)], headers].concat();
        testkit::http::post(&address, "/silences", &headers, body.as_bytes()).status
    };
    assert_eq!(get(&vera, "/alerts").0, 200);
    assert_eq!(silence(&vera, &form(&vera), &[]), 403);
    assert_eq!(silence(&rob, "", &[]), 400);
    assert_eq!(silence(&rob, &form(&vera), &[]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[("sec-fetch-site", "cross-site")]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[("origin", "https://evil.example")]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[]), 303);
    assert_eq!(silence("sessionwatch=0", &form(&rob), &[]), 401);
    assert_eq!(get("", "/alerts").0, 303);
    for (path, status) in [
        ("/targets/%3Cscript%3E", 404),
        ("/targets/app/sessions?status=%27%22", 400),
        ("/targets/app/sessions?user=%27%3B+DROP+TABLE+sessions%3B--", 200),
        ("/targets/app/sessions?after=x&id=%27", 200),
        ("/targets/app/sessions?sort=user&after=1&id=s1", 200),
        ("/targets/app/sessions?sort=id&after=1&id=%00", 200),
        ("/targets/app/sessions?user=%00&token=%00", 200),
        ("/targets/app/users/%00", 200),
        ("/targets/app/sessions?sort=token", 400),
        ("/targets/app/users/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 200),
        ("/plans/nothing", 404),
        ("/incidents/nothing", 404),
        ("/audit?days=99999999999999999999", 200),
    ] {
        let (found, page) = get(&vera, path);
        assert_eq!(found, status, "{path}: {page}");
        assert!(!page.contains("<script>"), "{path}: {page}");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{path}: {page}");
    }
    assert!(scene.database.psql("SELECT count(*) FROM sessions").is_ok());
    // Password guessing is rate-limited.
    let guess = || testkit::http::post(&address, "/login", &[], b"name=rob&password=wrong").status;
    let statuses: Vec<u16> = (0..12).map(|_| guess()).collect();
    assert_eq!((statuses[0], statuses[9], statuses[10]), (401, 401, 429), "{statuses:?}");
    assert_eq!(scene.daemon.stop(), Some(0));
    // Neither tokens nor passwords are in the store.
    let bytes = std::fs::read(scene.folder.path().join("sessionwatch-state.db")).unwrap();
    let token = vera.split_once('=').unwrap().1;
    for secret in [token.as_bytes(), ACCOUNT_PASSWORD.as_bytes()] {
        assert!(memchr::memmem::find(&bytes, secret).is_none());
    }
}

#[test]
fn a_daemon_reachable_from_other_hosts_prints_no_setup_link() {
    let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"0.0.0.0:0\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let read_dashboard_line = || {
        let mut daemon = DaemonProcess::start(folder.path());
        let line = daemon.read_line();
        assert_eq!(daemon.stop(), Some(0));
        line
    };
    assert!(read_dashboard_line().contains("The dashboard is closed"));
    testkit::create_account(folder.path(), "ada", "admin");
    assert!(read_dashboard_line().contains("Dashboard: http://0.0.0.0:"));
}

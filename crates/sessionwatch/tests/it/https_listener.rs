//! The dashboard over TLS, and behind proxies.

use std::path::Path;

use reqwest::{Certificate, Client, StatusCode, redirect::Policy};
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::{ACCOUNT_PASSWORD, TestCertificates};

use crate::systemd::Logged;

/// A client that trusts a single CA.
pub(crate) fn client(authority: &Path) -> Client {
    // Another test may have installed a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pem = std::fs::read(authority).unwrap();
    let trusted = Certificate::from_pem(&pem).unwrap();
    Client::builder().tls_certs_only([trusted]).redirect(Policy::none()).build().unwrap()
}

#[test]
fn pages_are_served_over_tls_and_a_renewed_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let made = || {
        let kept = tempfile::tempdir().unwrap();
        let certificates = TestCertificates::generate(kept.path()).unwrap();
        std::fs::copy(certificates.server_certificate(), folder.path().join("server.pem")).unwrap();
        std::fs::copy(certificates.server_key(), folder.path().join("server.key")).unwrap();
        (client(&certificates.authority()), client(&certificates.untrusted_authority()))
    };
    let (known, stranger) = made();
    let _database = testkit::configure_healthy_target(
        folder.path(),
        "tls_certificate = \"server.pem\"\ntls_key = \"server.key\"\n",
    );
    testkit::create_account(folder.path(), "ada", "viewer");
    let logged = Logged::start(testkit::program_command(&["serve"]).current_dir(folder.path()));
    let port = logged.watch.address.rsplit(':').next().unwrap();
    let address = format!("https://localhost:{port}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let alive = |client: &Client, address: &str| {
        let answer = runtime.block_on(client.get(format!("{address}/healthz")).send());
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    };
    assert!(alive(&known, &address) && !alive(&stranger, &address));
    assert!(!alive(&known, &format!("http://localhost:{port}")));
    let body = format!("name=ada&password={}", ACCOUNT_PASSWORD.replace(' ', "+"));
    let entered = runtime.block_on(known.post(format!("{address}/login")).body(body).send()).unwrap();
    assert_eq!(entered.status(), StatusCode::SEE_OTHER);
    let header = |name: &str| entered.headers()[name].to_str().unwrap().to_owned();
    let cookie = header("set-cookie");
    assert!(cookie.starts_with("__Host-sessionwatch=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(header("strict-transport-security"), "max-age=31536000");
    let (renewed, _) = made();
    assert!(!alive(&renewed, &address));
    logged.watch.send_signal("HUP");
    testkit::wait_until("the new certificate is used", || alive(&renewed, &address));
    // An unreadable certificate changes nothing.
    std::fs::write(folder.path().join("server.key"), "nonsense").unwrap();
    logged.reload(1, "cannot reload the TLS certificate");
    assert!(alive(&renewed, &address));
    assert_eq!(logged.watch.stop(), Some(0));
    let said = testkit::run_program_in(folder.path(), &[], &["serve"]);
    assert!(said.exit_code != 0 && said.stderr.contains("cannot load TLS certificate"), "{}", said.stderr);
}

#[test]
fn limits_and_audit_log_use_the_address_that_trusted_proxies_report() {
    for (trusted, expected) in [("[]", "127.0.0.1"), ("[\"127.0.0.0/8\"]", "203.0.113.7")] {
        let folder = tempfile::tempdir().unwrap();
        let _database =
            testkit::configure_healthy_target(folder.path(), &format!("trusted_proxies = {trusted}\n"));
        testkit::create_account(folder.path(), "ada", "viewer");
        let watch = testkit::DaemonProcess::start(folder.path());
        let headers = [("x-forwarded-for", "6.6.6.6, 203.0.113.7")];
        assert_eq!(watch.post("/login", &headers, "name=eve&password=wrong").status, 401);
        assert_eq!(watch.stop(), Some(0));
        let store = Store::open_existing(&StoreLocation::File(folder.path().join("sessionwatch-state.db")))
            .unwrap()
            .unwrap();
        let trail = store.read(|db| audit::list_audit_entries_before(db, None, 1)).unwrap();
        assert_eq!(trail[0].detail, format!("{{\"ip\":\"{expected}\"}}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(
        folder.path(),
        "trusted_proxies = [\"everybody\"]\ntls_key = \"k\"\n",
    );
    let said = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
    for part in ["`everybody` is not an IP address or a network", "must be set together"] {
        assert!(said.stderr.contains(part) || said.stdout.contains(part), "{}{}", said.stdout, said.stderr);
    }
}

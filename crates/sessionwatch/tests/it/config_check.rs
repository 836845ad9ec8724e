//! `config check` finds everything that `serve` would reject, and nothing else.

use std::fs;

use testkit::TestCertificates;

const TARGET: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n";
const SERVE: &str = "[serve]\nlisten = \"127.0.0.1:0\"\n";
const HOOK: &str = "[[channel]]\nname = \"hook\"\nkind = \"webhook\"\n";
const URL: &str = "url = \"https://hook.example/x\"\n";

/// A folder with the files that configurations refer to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("none.pem", "no certificate");
    write("bad.pem", "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n");
    write("none.key", "no identity");
    fs::create_dir(folder.path().join("folder")).unwrap();
    folder
}

/// An invalid configuration, and the expected messages.
type Faulty = Vec<(String, &'static str)>;

fn serve(more: &str) -> String {
    format!("{TARGET}{SERVE}{more}")
}

fn faulty_channels() -> Faulty {
    let channel = |more: &str| serve(&format!("{HOOK}{more}"));
    let kind =
        |kind: &str, more: &str| serve(&format!("[[channel]]\nname = \"c\"\nkind = \"{kind}\"\n{more}"));
    let mail = "url = \"smtp://[mail\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]\n";
    vec![
        (
            channel(&format!("{URL}secret = \"${{UNSET}}\"\n")),
            ": channel.secret: environment variable UNSET is not set",
        ),
        (channel("url_file = \"no.txt\"\n"), "cannot read"),
        (channel("url = \"ftp://hook.example\"\n"), "must start with https://"),
        (channel("url = \"https://\"\n"), "channel `hook`: `url` or `secret`"),
        (channel("url = \"https://hook example/\"\n"), "channel `hook`: `url` or `secret`"),
        (channel(&format!("{URL}ca_file = \"no.pem\"\n")), ": channel.ca_file: cannot read"),
        (channel(&format!("{URL}ca_file = \"none.pem\"\n")), "none.pem contains no PEM certificate"),
        (channel(&format!("{URL}ca_file = \"bad.pem\"\n")), "channel `hook`: cannot set up TLS"),
        (channel(&format!("{URL}template = \"{{{{ nobody\"\n")), "must be a Jinja template"),
        (channel(&format!("{URL}template = \"{{{{ nobody }}}}\"\n")), "must be a Jinja template"),
        (
            kind("ntfy", "url = \"https://n.example/t\"\nsecret = \"a\\nb\"\n"),
            "channel `c`: `url` or `secret`",
        ),
        (kind("email", mail), "channel `c`: `url` or `secret`"),
        (serve("[[route]]\nchannels = [\"nobody\"]\n"), "unknown channel `nobody`"),
        (serve("[report]\nchannels = [\"nobody\"]\n"), "unknown channel `nobody`"),
    ]
}

fn faulty_daemons() -> Faulty {
    let openid = |more: &str| {
        serve(&format!(
            "public_url = \"https://watch.example\"\n[oidc]\nissuer = \"https://id.example\"\nclient_id = \"x\"\n\
             admins = [\"a\"]\n{more}"
        ))
    };
    let authority = "postgres://u:p@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=no.pem";
    vec![
        (format!("{TARGET}[serve]\nlisten = \"localhost\"\n"), "expected IP address and port"),
        (serve("public_url = \"watch.example\"\n"), "serve.public_url: must start with https://"),
        (serve("tls_certificate = \"no.pem\"\ntls_key = \"no.key\"\n"), "cannot load TLS certificate"),
        (serve("tls_certificate = \"bad.pem\"\ntls_key = \"none.key\"\n"), "cannot load TLS certificate"),
        (serve("tls_certificate = \"server.pem\"\ntls_key = \"other.key\"\n"), "cannot load TLS certificate"),
        (serve("store = \"${UNSET}\"\n"), ": serve.store: environment variable UNSET is not set"),
        (serve("store_file = \"no.txt\"\n"), ": serve.store_file: cannot read"),
        (serve("store = \"no/state.db\"\n"), "serve.store: cannot open the store"),
        (serve("store = \"folder\"\n"), "serve.store: cannot open the store"),
        (serve("store = \"mysql://a/b\"\n"), "must be a file path"),
        (
            serve(&format!("store = \"{authority}\"\n")),
            "serve.store: cannot set up TLS: cannot load certificates from the file in `sslrootcert`",
        ),
        (
            openid("client_secret = \"${UNSET}\"\n"),
            ": oidc.client_secret: environment variable UNSET is not set",
        ),
        (openid("ca_file = \"bad.pem\"\n"), "oidc: "),
        (openid("ca_file = \"no.pem\"\n"), ": oidc.ca_file: cannot read"),
        (openid("").replace("https://id.example", "https://id example"), "oidc: `issuer` is not a URL"),
        (SERVE.to_owned(), "no target is configured"),
    ]
}

fn faulty_targets() -> Faulty {
    let target =
        |url: &str, more: &str| format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\n{more}{SERVE}");
    let logs = |more: &str| serve(&format!("[[logs]]\nname = \"web\"\n{more}"));
    let server = "postgres://u:p@127.0.0.1:1/d";
    let cleanup = "[target.cleanup]\ngrace = 86400\nexpired = true\n";
    let identity = "[actions]\narchive_identity = \"none.key\"\n";
    vec![
        (target("${UNSET}", ""), "environment variable UNSET is not set"),
        (target("mysql://a/b", ""), "not supported yet"),
        (
            target(server, &format!("write_url = \"${{UNSET}}\"\n{cleanup}")),
            "environment variable UNSET is not set",
        ),
        (target(server, "replica_url = \"${UNSET}\"\n"), "environment variable UNSET is not set"),
        (
            target(&format!("{server}?sslmode=verify-ca&sslrootcert=none.pem"), ""),
            "target `app`: url: cannot set up TLS: cannot load certificates from the file in `sslrootcert`",
        ),
        (target(server, "cron = \"whenever\"\n"), "minute, hour, day of month"),
        (target(server, "profile = \"nobodys\"\n"), "unknown profile `nobodys`"),
        (target(server, cleanup), "cleanup requires `write_url`"),
        (format!("{TARGET}{cleanup}{SERVE}{identity}"), "cannot read an identity from"),
        (serve("[actions]\narchive_recipient = \"somebody\"\n"), "`somebody` is not an age recipient"),
        (format!("profiles = [\"no.toml\"]\n{}", serve("")), "cannot read profile"),
        (
            serve("[[maintenance_window]]\ncron = \"0 0 31 2 *\"\nduration = \"1h\"\n"),
            "maintenance_window.cron: never matches a date",
        ),
        (
            logs("kind = \"http\"\nsecret = \"${UNSET}\"\n"),
            ": logs.secret: environment variable UNSET is not set",
        ),
        (logs("kind = \"http\"\nsecret = \"short\"\n"), "must have at least 16 characters"),
        (logs("kind = \"syslog\"\nlisten = \"here\"\n"), "expected IP address and port"),
        (logs("kind = \"file\"\n"), "requires the key `file`"),
    ]
}

#[test]
fn config_check_and_serve_reject_the_same_configurations() {
    let folder = folder();
    TestCertificates::generate(folder.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = TestCertificates::generate(other.path()).unwrap().server_key();
    fs::copy(other, folder.path().join("other.key")).unwrap();
    for (text, expected) in [faulty_channels(), faulty_daemons(), faulty_targets()].concat() {
        fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
        let checked = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
        let refused = testkit::start_expecting_refusal(folder.path());
        assert!(
            checked.exit_code == 2 && checked.stderr.contains(expected),
            "{text}\n{}{}",
            checked.stdout,
            checked.stderr
        );
        assert!(refused.exit_code == 2 && refused.stderr.contains(expected), "{text}\n{}", refused.stderr);
        assert_eq!(checked.stderr, refused.stderr, "{text}");
    }
    let sound = [
        format!("{TARGET}{SERVE}"),
        format!("{TARGET}{SERVE}tls_certificate = \"server.pem\"\ntls_key = \"server.key\"\n"),
        format!("{TARGET}{SERVE}{HOOK}{URL}"),
        // Nothing is connected to, and files that are created on demand need not exist.
        format!(
            "{TARGET}{SERVE}{HOOK}url = \"http://127.0.0.1:1/\"\n[[logs]]\nname = \"web\"\nfile = \"no.log\"\n"
        ),
    ];
    for text in sound {
        fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
        let checked = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
        assert_eq!(checked.exit_code, 0, "{text}\n{}", checked.stderr);
        assert_eq!(testkit::start_expecting_refusal(folder.path()).exit_code, -1, "{text}");
    }
}

#[test]
fn config_check_creates_nothing_and_lists_all_problems() {
    let folder = folder();
    let text = format!(
        "{TARGET}{SERVE}tls_certificate = \"no.pem\"\ntls_key = \"no.key\"\n{HOOK}{URL}secret = \"${{UNSET}}\"\n\
         [[channel]]\nname = \"other\"\nkind = \"webhook\"\nurl = \"https://\"\n"
    );
    let all = ["cannot load TLS certificate", "UNSET is not set", "channel `other`: `url` or `secret`"];
    for (more, also, count) in [
        ("", vec![], "3 problems"),
        ("[[route]]\nchannels = [\"x\"]\n", vec!["unknown channel `x`"], "4 problems"),
    ] {
        fs::write(folder.path().join("sessionwatch.toml"), format!("{text}{more}")).unwrap();
        let said = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
        assert!(said.exit_code == 2 && said.stderr.contains(count), "{}", said.stderr);
        for part in all.into_iter().chain(also) {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
    }
    assert!(!folder.path().join("sessionwatch-state.db").exists());
}

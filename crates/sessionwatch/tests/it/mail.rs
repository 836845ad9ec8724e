//! Email over real SMTP: encryption, login, the text of a mail, and rejected recipients.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use testkit::{
    HttpSink, MailEncryption, MailOptions, MailSink, ProgramOutput, ReceivedMail, ReceivedRequest,
    TestCertificates,
};

use crate::{
    channels::{body, channel, configuration, leak, target},
    fastforward::{MINUTE, Watch, monday},
};

const ADDRESSES: &str = "from = \"sessionwatch <watch@example.org>\"\nto = [\"ops@example.org\"]\n";

/// Output of `notifications test` for an email channel with this URL and more keys.
fn tried(url: &str, more: &str) -> ProgramOutput {
    let folder = tempfile::tempdir().unwrap();
    let text = channel("mail", "email", url, &format!("{ADDRESSES}{more}"));
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::run_program_in(folder.path(), &[], &["notifications", "test", "mail"])
}

/// A part of a mail: its content type and its decoded text.
fn parts(mail: &ReceivedMail) -> Vec<(String, String)> {
    let (_, boundary) = mail.data.split_once("boundary=\"").unwrap();
    let boundary = format!("--{}", boundary.split('"').next().unwrap());
    let parts = mail.data.split(&boundary).skip(1).filter(|part| !part.starts_with("--"));
    let part = |part: &str| {
        let (headers, text) = part.trim_start().split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let line = headers.lines().find(|line| line.to_lowercase().starts_with(name));
            line.map(|line| line.split_once(": ").unwrap().1.to_owned()).unwrap_or_default()
        };
        let text = match header("content-transfer-encoding").as_str() {
            "base64" => String::from_utf8(STANDARD.decode(text.replace("\r\n", "")).unwrap()).unwrap(),
            "quoted-printable" => plain(text),
            _ => text.to_owned(),
        };
        (header("content-type"), text.replace("\r\n", "\n"))
    };
    parts.map(part).collect()
}

/// Decodes quoted-printable text.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let joined = text.replace("=\r\n", "");
    let mut pieces = joined.split('=');
    bytes.extend(pieces.next().unwrap_or_default().bytes());
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn mail_is_sent_over_starttls_over_tls_and_in_plain_text_to_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = TestCertificates::generate(folder.path()).unwrap();
    let authority = format!("ca_file = {:?}\n", certificates.authority());
    for (encryption, scheme, more, secure) in [
        (MailEncryption::StartTls(&certificates), "smtp", authority.as_str(), true),
        (MailEncryption::Tls(&certificates), "smtps", &authority, true),
        (MailEncryption::None, "smtp", "", false),
    ] {
        let sink = MailSink::start(MailOptions { encryption, require_login: true }).unwrap();
        let url = |password: &str| format!("{scheme}://watch:{password}@localhost:{}", sink.port());
        let said = tried(&url("hunter2"), more);
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
        let mail = &sink.wait_for_mails(1)[0];
        assert_eq!((mail.over_tls, mail.login_user.as_deref()), (secure, Some("watch")));
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("watch@example.org", &["ops@example.org".to_owned()][..])
        );
        let wrong = tried(&url("hunter3"), more);
        assert!(
            wrong.exit_code == 3 && wrong.stderr.contains("the channel returned status 535: check `secret`"),
            "{}",
            wrong.stderr
        );
        assert!(!wrong.stderr.contains("hunter") && sink.received_mails().len() == 1, "{}", wrong.stderr);
    }
}

#[test]
fn no_mail_is_sent_to_an_untrusted_server_or_with_less_security_than_configured() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = TestCertificates::generate(folder.path()).unwrap();
    let stranger = format!("ca_file = {:?}\n", certificates.untrusted_authority());
    let start = |encryption| MailSink::start(MailOptions { encryption, ..MailOptions::default() }).unwrap();
    let sinks =
        [MailEncryption::StartTls(&certificates), MailEncryption::Tls(&certificates), MailEncryption::None]
            .map(start);
    let [starttls, tls, plain] = [0, 1, 2].map(|number| format!("localhost:{}", sinks[number].port()));
    let (untrusted, unprotected) =
        ("certificate is not trusted", "does not support the TLS mode or authentication method");
    for (url, more, code, part) in [
        (format!("smtp://{starttls}?tls=required"), "", 3, untrusted),
        (format!("smtp://{starttls}"), stranger.as_str(), 3, untrusted),
        (format!("smtps://{tls}"), "", 3, untrusted),
        (format!("smtps://{tls}"), &stranger, 3, untrusted),
        (format!("smtp://{plain}?tls=required"), "", 3, unprotected),
        (format!("smtps://{plain}"), "", 3, unprotected),
        (format!("smtp://{starttls}"), "", 3, "returned status 530"),
        (format!("smtp://{plain}?tls=sometimes"), "", 3, "is malformed"),
        (format!("smtp://{plain}"), "ca_file = \"sessionwatch.toml\"", 2, "contains no PEM certificate"),
        (format!("smtp://{plain}"), "ca_file = \"missing.pem\"", 2, "cannot read"),
    ] {
        let said = tried(&url, more);
        assert_eq!(said.exit_code, code, "{url}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{url}: {}", said.stderr);
    }
    assert!(sinks.iter().all(|sink| sink.received_mails().is_empty()));
}

#[test]
fn each_recipient_gets_one_mail_in_plain_text_and_html() {
    let database = testkit::healthy_database();
    let sink = MailSink::start(MailOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let more = "from = \"watch@example.org\"\nto = [\"ada@example.org\", \"Grace <grace@example.org>\"]\n\
                [[route]]\nchannels = [\"mail\"]\nchecks = [\"duplicate-tokens\"]";
    let url = format!("smtp://localhost:{}", sink.port());
    let text =
        [target("<b>Büro</b>\\n\\rBcc: eve@example.org", &database), channel("mail", "email", &url, more)];
    let text = configuration(&text).replace("\\\\", "\\");
    let mut watch = Watch::start(folder.path(), &text, monday());
    leak(&database, true);
    watch.to(monday() + MINUTE);
    watch.delivered();
    let mails = sink.wait_for_mails(2);
    let to: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    assert_eq!((mails.len(), to), (2, vec!["ada@example.org", "grace@example.org"]));
    let headers = mails[0].data.split_once("\r\n\r\n").unwrap().0;
    assert!(!headers.contains("\nBcc") && headers.contains("\nMIME-Version: 1.0"), "{headers}");
    let [plain, html] = &parts(&mails[0])[..] else { panic!("{}", mails[0].data) };
    assert!(
        plain.0.starts_with("text/plain; charset=utf-8") && html.0.starts_with("text/html; charset=utf-8")
    );
    assert!(plain.1.starts_with("1 duplicate token, ") && plain.1.contains("\n→ "), "{}", plain.1);
    assert!(
        html.1.contains("&lt;b&gt;Büro&lt;/b&gt;\u{fffd}\u{fffd}Bcc: eve") && !html.1.contains("<b>"),
        "{}",
        html.1
    );
    let id = |mail: &ReceivedMail| {
        mail.data.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned()
    };
    assert!(id(&mails[0]).ends_with("@example.org>") && id(&mails[0]) != id(&mails[1]), "{}", id(&mails[0]));
    assert!(watch.stop());
}

#[test]
fn rejected_recipients_delay_no_other_and_fail_in_the_end() {
    let database = testkit::healthy_database();
    let (mails, hook) = (MailSink::start(MailOptions::default()).unwrap(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let more = "from = \"watch@example.org\"\nto = [\"nobody@example.org\", \"ada@example.org\", \"busy@example.org\", \
                \"noone@example.org\", \"grace@example.org\"]\n\
                [[route]]\nchannels = [\"mail\", \"hook\"]\nchecks = [\"duplicate-tokens\", \"channel-failing\"]";
    let text = configuration(&[
        target("app", &database),
        channel("hook", "webhook", &hook.url(), ""),
        channel("mail", "email", &format!("smtp://localhost:{}", mails.port()), more),
    ]);
    let text = text.replace("\"1m\"", "\"12h\"");
    std::fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
    let mut watch = Watch::start(folder.path(), &text, monday());
    leak(&database, true);
    let mut at = monday() + 720 * MINUTE;
    watch.to(at);
    // Working recipients are notified before any retry.
    assert_eq!(mails.wait_for_mails(2).len(), 2);
    at = watch.exhausted("mail", at);
    assert!(at.duration_since(monday()) > (12 + 18) * 60 * MINUTE, "attempts of more than 18 hours");
    let to: Vec<String> = mails.received_mails().iter().map(|mail| mail.to.join(" ")).collect();
    assert_eq!(to, ["ada@example.org", "grace@example.org", "busy@example.org"]);
    // The alert was not acknowledged, so a reminder was sent every four hours.
    let list_notices = |received: &[ReceivedRequest]| -> Vec<String> {
        let line = |message: serde_json::Value| {
            format!("{} {} {}", message["target"], message["check"], message["notice"])
        };
        let lines = received.iter().map(|received| line(body(received)).replace('"', ""));
        lines.filter(|line| !line.ends_with("reminder")).collect()
    };
    let before = hook.received_requests();
    assert_eq!(list_notices(&before), ["app duplicate-tokens firing", "mail channel-failing firing"]);
    assert!(before[1].body.contains("@example.org: the channel returned status 550"), "{}", before[1].body);
    let dead = testkit::run_program_in(folder.path(), &[], &["notifications", "failed"]).stdout;
    for part in ["nobody@example.org", "noone@example.org", "the channel returned status 550"] {
        assert!(dead.contains(part), "{dead}");
    }
    assert!(!dead.contains("ada@") && !dead.contains("busy@"), "{dead}");
    leak(&database, false);
    watch.to(at + 720 * MINUTE);
    let mut after = list_notices(&hook.wait_for_requests(before.len() + 2)[before.len()..]);
    after.sort();
    assert_eq!(after, ["app duplicate-tokens resolved", "mail channel-failing resolved"]);
    assert!(watch.stop());
}

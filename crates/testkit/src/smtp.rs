//! An SMTP server that records the messages it accepts. The name of a recipient decides whether it is accepted.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpStream,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use self::session::{SessionEnd, SmtpSession};
use crate::{TestCertificates, inbox::Inbox, tcp_server::TcpServer};

mod session;

/// Encryption of connections to a mail sink.
#[derive(Clone, Copy, Debug, Default)]
pub enum MailEncryption<'a> {
    /// No encryption, and no STARTTLS offered.
    #[default]
    None,
    /// STARTTLS, required before most commands.
    StartTls(&'a TestCertificates),
    /// TLS from the first byte.
    Tls(&'a TestCertificates),
}

/// Options of a mail sink.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailOptions<'a> {
    /// Encryption of connections.
    pub encryption: MailEncryption<'a>,
    /// Requires a login, as `watch` with the password `hunter2`.
    pub require_login: bool,
}

/// An accepted message.
#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// Sender of the envelope.
    pub from: String,
    /// Accepted recipients of the envelope.
    pub to: Vec<String>,
    /// Headers and body, with lines ending in `\r\n`.
    pub data: String,
    /// `true` if the message was sent over TLS.
    pub over_tls: bool,
    /// User that the sender logged in as.
    pub login_user: Option<String>,
}

/// An SMTP server for tests. Dropping the value stops it.
///
/// Recipients whose name begins with `no` are rejected permanently, those whose name begins with `busy` only the first
/// time each.
#[derive(Debug)]
pub struct MailSink {
    server: TcpServer,
    shared: Arc<MailSinkState>,
}

#[derive(Debug)]
struct MailSinkState {
    mails: Inbox<ReceivedMail>,
    /// Recipients that have got their temporary rejection.
    deferred_recipients: Mutex<BTreeSet<String>>,
    require_login: bool,
    tls: TlsMode,
}

#[derive(Debug)]
enum TlsMode {
    None,
    OnRequest(Arc<ServerConfig>),
    Always(Arc<ServerConfig>),
}

impl MailSink {
    /// Starts a mail sink on a free port.
    ///
    /// # Errors
    ///
    /// Fails if the sink cannot listen on a port, or the certificates are unusable.
    pub fn start(options: MailOptions<'_>) -> Result<Self> {
        let tls = match options.encryption {
            MailEncryption::None => TlsMode::None,
            MailEncryption::StartTls(certificates) => TlsMode::OnRequest(tls_server_config(certificates)?),
            MailEncryption::Tls(certificates) => TlsMode::Always(tls_server_config(certificates)?),
        };
        let shared = Arc::new(MailSinkState {
            mails: Inbox::new(),
            deferred_recipients: Mutex::default(),
            require_login: options.require_login,
            tls,
        });
        let serving = Arc::clone(&shared);
        let server = TcpServer::start(0, move |stream| serve_connection(&serving, stream))?;
        Ok(Self { server, shared })
    }

    /// Port that the sink listens on, at 127.0.0.1. Its certificate is for `localhost`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns all messages that have been accepted so far.
    #[must_use]
    pub fn received_mails(&self) -> Vec<ReceivedMail> {
        self.shared.mails.to_vec()
    }

    /// Waits until `count` messages have been accepted, for two minutes at most, and returns all that have.
    #[must_use]
    pub fn wait_for_mails(&self, count: usize) -> Vec<ReceivedMail> {
        self.shared.mails.wait_for_count(count)
    }
}

fn tls_server_config(certificates: &TestCertificates) -> Result<Arc<ServerConfig>> {
    let chain =
        CertificateDer::pem_file_iter(certificates.server_certificate())?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(certificates.server_key())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn serve_connection(shared: &MailSinkState, mut stream: &TcpStream) -> Result<()> {
    let greeting = "220 testkit ESMTP\r\n";
    match &shared.tls {
        TlsMode::Always(config) => {
            let mut secure = accept_tls(config, stream)?;
            secure.write_all(greeting.as_bytes())?;
            run_tls_session(shared, secure)
        }
        TlsMode::None => {
            stream.write_all(greeting.as_bytes())?;
            SmtpSession::new(shared).run(&mut stream).map(drop)
        }
        TlsMode::OnRequest(config) => {
            stream.write_all(greeting.as_bytes())?;
            match SmtpSession::new(shared).with_starttls_offered().run(&mut stream)? {
                SessionEnd::Quit => Ok(()),
                SessionEnd::StartTls => run_tls_session(shared, accept_tls(config, stream)?),
            }
        }
    }
}

fn accept_tls<'a>(
    config: &Arc<ServerConfig>,
    stream: &'a TcpStream,
) -> Result<StreamOwned<ServerConnection, &'a TcpStream>> {
    Ok(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream))
}

fn run_tls_session(
    shared: &MailSinkState,
    mut stream: StreamOwned<ServerConnection, &TcpStream>,
) -> Result<()> {
    SmtpSession::new(shared).with_tls_active().run(&mut stream)?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read, Write},
        path::Path,
        time::Duration,
    };

    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tempfile::TempDir;

    use super::*;

    const BEGIN: [(&str, &str); 2] = [("EHLO here", "250"), ("MAIL FROM:<a@here> BODY=8BITMIME", "250")];
    /// Login as `\0watch\0hunter2`.
    const LOGIN: &str = "AUTH PLAIN AHdhdGNoAGh1bnRlcjI=";
    /// Credentials `\0watch\0hunter3`.
    const WRONG_LOGIN: &str = "AHdhdGNoAGh1bnRlcjM=";

    /// A client that sends single lines.
    struct Client<S>(BufReader<S>);

    impl Client<TcpStream> {
        fn connect(sink: &MailSink) -> Self {
            let stream = TcpStream::connect(("127.0.0.1", sink.port())).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            Self(BufReader::new(stream))
        }

        fn encrypt(self, authority: &Path) -> Client<StreamOwned<ClientConnection, TcpStream>> {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = "localhost".try_into().unwrap();
            let connection = ClientConnection::new(Arc::new(config), name).unwrap();
            Client(BufReader::new(StreamOwned::new(connection, self.0.into_inner())))
        }
    }

    impl<S: Read + Write> Client<S> {
        /// Reads the next reply, with all its lines.
        fn read_reply(&mut self) -> String {
            let mut answer = String::new();
            loop {
                let begin = answer.len();
                assert!(self.0.read_line(&mut answer).unwrap() > 0, "the connection ended after {answer:?}");
                if answer.as_bytes().get(begin + 3) == Some(&b' ') {
                    return answer;
                }
            }
        }

        fn send(&mut self, line: &str) -> String {
            self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
            self.read_reply()
        }

        /// Sends lines, and asserts the beginning of the reply to each.
        fn talk(&mut self, lines: &[(&str, &str)]) {
            for (line, expected) in lines {
                let answer = self.send(line);
                assert!(answer.starts_with(expected), "{line}: {answer}");
            }
        }
    }

    fn plain(require_login: bool) -> MailSink {
        MailSink::start(MailOptions { encryption: MailEncryption::None, require_login }).unwrap()
    }

    #[test]
    fn records_accepted_messages_with_leading_dots_removed() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        assert!(client.read_reply().starts_with("220 "));
        assert!(!client.send("EHLO here").contains("STARTTLS"));
        client.talk(&BEGIN);
        client.talk(&[
            ("RCPT TO:<b@there>", "250"),
            ("rcpt to:<c@there> NOTIFY=NEVER", "250"),
            ("DATA", "354"),
        ]);
        client.talk(&[("Subject: Grüße\r\n\r\n..dot\r\nend\r\n.", "250"), ("NOOP", "250"), ("QUIT", "221")]);
        assert_eq!(client.0.read(&mut [0; 1]).unwrap(), 0, "the connection ends");
        let [mail] = &sink.wait_for_mails(1)[..] else { panic!("{:?}", sink.received_mails()) };
        assert_eq!(
            (mail.from.as_str(), &mail.to[..]),
            ("a@here", &["b@there".to_owned(), "c@there".to_owned()][..])
        );
        assert_eq!(mail.data, "Subject: Grüße\r\n\r\n.dot\r\nend\r\n");
        assert!(!mail.over_tls && mail.login_user.is_none());
    }

    #[test]
    fn rejects_recipients_by_name() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        client.read_reply();
        client.talk(&BEGIN);
        client.talk(&[("RCPT TO:<nobody@there>", "550"), ("RCPT TO:<busy@there>", "451"), ("DATA", "503")]);
        assert!(sink.received_mails().is_empty());
        client.talk(&[
            ("RCPT TO:<busy@there>", "250"),
            ("RCPT TO:<busy2@there>", "451"),
            ("RCPT TO:<nobody@there>", "550"),
        ]);
        client.talk(&[("DATA", "354"), ("x\r\n.", "250")]);
        assert_eq!(sink.wait_for_mails(1)[0].to, ["busy@there"]);
    }

    #[test]
    fn enforces_the_order_of_commands() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        client.read_reply();
        client.talk(&[("RCPT TO:<b@there>", "503"), ("DATA", "503"), ("STARTTLS", "502"), ("VRFY b", "502")]);
        client.talk(&BEGIN);
        client.talk(&[
            ("MAIL FROM:<a@here>", "503"),
            ("RCPT TO:b@there", "501"),
            ("RCPT", "501"),
            ("RSET", "250"),
        ]);
        client.talk(&[("RCPT TO:<b@there>", "503"), ("MAIL a@here", "501"), ("MAIL FROM:<>", "250")]);
    }

    #[test]
    fn accepts_logins_with_the_correct_password_only() {
        let sink = plain(true);
        let mut client = Client::connect(&sink);
        client.read_reply();
        assert!(client.send("EHLO here").contains("AUTH PLAIN LOGIN"));
        client.talk(&[
            ("MAIL FROM:<a@here>", "530"),
            ("AUTH PLAIN", "334 "),
            (WRONG_LOGIN, "535"),
            ("MAIL FROM:<a@here>", "530"),
        ]);
        client.talk(&[("AUTH PLAIN %", "501"), ("AUTH CRAM-MD5", "504"), (LOGIN, "235"), (LOGIN, "503")]);
        client.talk(&[
            ("MAIL FROM:<a@here>", "250"),
            ("RCPT TO:<b@there>", "250"),
            ("DATA", "354"),
            (".", "250"),
        ]);
        assert_eq!(sink.wait_for_mails(1)[0].login_user.as_deref(), Some("watch"));
        let mut client = Client::connect(&sink);
        client.read_reply();
        // AUTH LOGIN asks for user and password separately: `watch`, then `hunter3` or `hunter2`.
        client.talk(&[
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("d2F0Y2g=", "334 UGFzc3dvcmQ6"),
            ("aHVudGVyMw==", "535"),
        ]);
        client.talk(&[("AUTH LOGIN d2F0Y2g=", "334 UGFzc3dvcmQ6"), ("aHVudGVyMg==", "235")]);
        client.talk(&[("MAIL FROM:<a@here>", "250")]);
    }

    #[test]
    fn requires_starttls_if_it_is_offered() {
        let folder = TempDir::new().unwrap();
        let certificates = TestCertificates::generate(folder.path()).unwrap();
        let encryption = MailEncryption::StartTls(&certificates);
        let sink = MailSink::start(MailOptions { encryption, ..MailOptions::default() }).unwrap();
        let mut client = Client::connect(&sink);
        client.read_reply();
        let offer = client.send("EHLO here");
        assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
        client.talk(&[("MAIL FROM:<a@here>", "530"), (LOGIN, "530"), ("STARTTLS", "220")]);
        let mut client = client.encrypt(&certificates.authority());
        let offer = client.send("EHLO here");
        assert!(!offer.contains("STARTTLS") && offer.contains("AUTH"), "{offer}");
        client.talk(&[(LOGIN, "235"), ("MAIL FROM:<a@here>", "250"), ("RCPT TO:<b@there>", "250")]);
        client.talk(&[("DATA", "354"), ("x\r\n.", "250"), ("QUIT", "221")]);
        let mail = &sink.wait_for_mails(1)[0];
        assert!(
            mail.over_tls && mail.login_user.as_deref() == Some("watch") && mail.data == "x\r\n",
            "{mail:?}"
        );
    }

    #[test]
    fn uses_tls_from_the_first_byte_if_configured() {
        let folder = TempDir::new().unwrap();
        let certificates = TestCertificates::generate(folder.path()).unwrap();
        let encryption = MailEncryption::Tls(&certificates);
        let sink = MailSink::start(MailOptions { encryption, ..MailOptions::default() }).unwrap();
        let mut client = Client::connect(&sink).encrypt(&certificates.authority());
        assert!(client.read_reply().starts_with("220 "));
        client.talk(&BEGIN);
        client.talk(&[("RCPT TO:<b@there>", "250"), ("DATA", "354"), ("x\r\n.", "250"), ("QUIT", "221")]);
        assert_eq!(client.0.read(&mut [0; 1]).unwrap(), 0, "TLS is closed cleanly");
        assert!(sink.wait_for_mails(1)[0].over_tls);
        let mut distrustful = Client::connect(&sink).encrypt(&certificates.untrusted_authority());
        let refused = distrustful.0.read_line(&mut String::new()).unwrap_err().to_string();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
}

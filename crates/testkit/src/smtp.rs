//! A mail sink: an SMTP server that keeps the messages it accepts. Whom it accepts depends on who they are for.

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

/// How connections to a mail sink are encrypted.
#[derive(Clone, Copy, Debug, Default)]
pub enum MailEncryption<'a> {
    /// They are not, nor is it on offer.
    #[default]
    None,
    /// After STARTTLS, without which hardly anything is allowed.
    StartTls(&'a TestCertificates),
    /// From the first byte.
    Tls(&'a TestCertificates),
}

/// What a mail sink is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailOptions<'a> {
    /// How its connections are encrypted.
    pub encryption: MailEncryption<'a>,
    /// Whether it takes mail only from who has logged in, as `watch` with the password `hunter2`.
    pub require_login: bool,
}

/// A message that was accepted.
#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope that were accepted.
    pub to: Vec<String>,
    /// Headers and body, lines ending in `\r\n`.
    pub data: String,
    /// Whether it came over TLS.
    pub over_tls: bool,
    /// Who had logged in to send it.
    pub login_user: Option<String>,
}

/// An SMTP server for tests. It ends with this value.
///
/// Recipients whose name begins with `no` are refused for good, those whose name begins with `busy` only once each.
#[derive(Debug)]
pub struct MailSink {
    server: TcpServer,
    shared: Arc<MailSinkState>,
}

#[derive(Debug)]
struct MailSinkState {
    mails: Inbox<ReceivedMail>,
    /// Recipients that were put off before.
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
    /// Starts one.
    ///
    /// # Errors
    ///
    /// If it cannot listen, or has no use for the certificates.
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

    /// The port it listens at, of 127.0.0.1. Its certificate is for `localhost`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// All messages that have been accepted so far.
    #[must_use]
    pub fn received_mails(&self) -> Vec<ReceivedMail> {
        self.shared.mails.to_vec()
    }

    /// Waits until so many messages have been accepted, for two minutes at most: all that have.
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
    /// With `\0watch\0hunter2`.
    const LOGIN: &str = "AUTH PLAIN AHdhdGNoAGh1bnRlcjI=";
    /// `\0watch\0hunter3`.
    const WRONG_LOGIN: &str = "AHdhdGNoAGh1bnRlcjM=";

    /// A client, as by hand.
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
        /// The next answer, whole.
        fn hear(&mut self) -> String {
            let mut answer = String::new();
            loop {
                let begin = answer.len();
                assert!(self.0.read_line(&mut answer).unwrap() > 0, "the connection ended after {answer:?}");
                if answer.as_bytes().get(begin + 3) == Some(&b' ') {
                    return answer;
                }
            }
        }

        fn say(&mut self, line: &str) -> String {
            self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
            self.hear()
        }

        /// Says those lines, each of which gets an answer that begins like that.
        fn talk(&mut self, lines: &[(&str, &str)]) {
            for (line, expected) in lines {
                let answer = self.say(line);
                assert!(answer.starts_with(expected), "{line}: {answer}");
            }
        }
    }

    fn plain(insist_on_login: bool) -> MailSink {
        MailSink::start(MailOptions { encryption: MailEncryption::None, require_login: insist_on_login })
            .unwrap()
    }

    #[test]
    fn keeps_what_it_accepts_as_it_was_meant() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        assert!(client.hear().starts_with("220 "));
        assert!(!client.say("EHLO here").contains("STARTTLS"));
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
    fn refuses_recipients_by_their_names() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        client.hear();
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
    fn insists_on_the_order_of_commands() {
        let sink = plain(false);
        let mut client = Client::connect(&sink);
        client.hear();
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
    fn lets_in_who_knows_the_password() {
        let sink = plain(true);
        let mut client = Client::connect(&sink);
        client.hear();
        assert!(client.say("EHLO here").contains("AUTH PLAIN LOGIN"));
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
        client.hear();
        // The questions and answers of the older way: `watch`, then `hunter3` or `hunter2`.
        client.talk(&[
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("d2F0Y2g=", "334 UGFzc3dvcmQ6"),
            ("aHVudGVyMw==", "535"),
        ]);
        client.talk(&[("AUTH LOGIN d2F0Y2g=", "334 UGFzc3dvcmQ6"), ("aHVudGVyMg==", "235")]);
        client.talk(&[("MAIL FROM:<a@here>", "250")]);
    }

    #[test]
    fn takes_mail_only_after_starttls_where_it_is_on_offer() {
        let folder = TempDir::new().unwrap();
        let certificates = TestCertificates::generate(folder.path()).unwrap();
        let encryption = MailEncryption::StartTls(&certificates);
        let sink = MailSink::start(MailOptions { encryption, ..MailOptions::default() }).unwrap();
        let mut client = Client::connect(&sink);
        client.hear();
        let offer = client.say("EHLO here");
        assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
        client.talk(&[("MAIL FROM:<a@here>", "530"), (LOGIN, "530"), ("STARTTLS", "220")]);
        let mut client = client.encrypt(&certificates.authority());
        let offer = client.say("EHLO here");
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
    fn speaks_tls_from_the_first_byte_to_who_trusts_it() {
        let folder = TempDir::new().unwrap();
        let certificates = TestCertificates::generate(folder.path()).unwrap();
        let encryption = MailEncryption::Tls(&certificates);
        let sink = MailSink::start(MailOptions { encryption, ..MailOptions::default() }).unwrap();
        let mut client = Client::connect(&sink).encrypt(&certificates.authority());
        assert!(client.hear().starts_with("220 "));
        client.talk(&BEGIN);
        client.talk(&[("RCPT TO:<b@there>", "250"), ("DATA", "354"), ("x\r\n.", "250"), ("QUIT", "221")]);
        assert_eq!(client.0.read(&mut [0; 1]).unwrap(), 0, "TLS ends in good order");
        assert!(sink.wait_for_mails(1)[0].over_tls);
        let mut distrustful = Client::connect(&sink).encrypt(&certificates.untrusted_authority());
        let refused = distrustful.0.read_line(&mut String::new()).unwrap_err().to_string();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
}

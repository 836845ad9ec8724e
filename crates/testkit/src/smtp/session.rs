//! The SMTP dialog over one connection to a mail sink.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    sync::PoisonError,
};

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{MailSinkState, ReceivedMail};

const LOGIN_USER: &str = "watch";
const LOGIN_PASSWORD: &str = "hunter2";

/// Reason for the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    Quit,
    /// The client starts a new session over TLS.
    StartTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionTls {
    Absent,
    Offered,
    Used,
}

/// State of an SMTP session.
#[derive(Debug)]
pub(super) struct SmtpSession<'a> {
    shared: &'a MailSinkState,
    tls: SessionTls,
    login: Option<String>,
    /// Envelope of the message in progress.
    envelope: Option<MailEnvelope>,
}

#[derive(Debug)]
struct MailEnvelope {
    from: String,
    to: Vec<String>,
}

/// A connection, line by line.
struct LineStream<S>(BufReader<S>);

impl<'a> SmtpSession<'a> {
    /// Creates a session without TLS.
    pub(super) fn new(shared: &'a MailSinkState) -> Self {
        Self { shared, tls: SessionTls::Absent, login: None, envelope: None }
    }

    /// Offers STARTTLS, and requires it before most commands.
    pub(super) fn with_starttls_offered(self) -> Self {
        Self { tls: SessionTls::Offered, ..self }
    }

    /// Marks the connection as encrypted.
    pub(super) fn with_tls_active(self) -> Self {
        Self { tls: SessionTls::Used, ..self }
    }

    /// Handles commands until the session ends. Input that is buffered after STARTTLS is discarded, as RFC 3207
    /// requires.
    pub(super) fn run(mut self, stream: &mut (impl Read + Write)) -> Result<SessionEnd> {
        let mut wire = LineStream(BufReader::new(stream));
        loop {
            let line = wire.read_line()?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let reply = match verb.to_uppercase().as_str() {
                "QUIT" => {
                    wire.write_line("221 2.0.0 bye")?;
                    return Ok(SessionEnd::Quit);
                }
                "STARTTLS" if self.tls == SessionTls::Offered => {
                    wire.write_line("220 2.0.0 go ahead")?;
                    return Ok(SessionEnd::StartTls);
                }
                "EHLO" => self.handle_ehlo(),
                "HELO" => "250 testkit",
                "NOOP" => "250 2.0.0 OK",
                "RSET" => {
                    self.envelope = None;
                    "250 2.0.0 OK"
                }
                _ if self.tls == SessionTls::Offered => "530 5.7.0 issue STARTTLS first",
                "AUTH" => self.handle_auth(&mut wire, rest)?,
                "MAIL" => self.handle_mail(rest),
                "RCPT" => self.handle_rcpt(rest),
                "DATA" => self.handle_data(&mut wire)?,
                _ => "502 5.5.1 no such command",
            };
            wire.write_line(reply)?;
        }
    }

    fn handle_ehlo(&mut self) -> &'static str {
        self.envelope = None;
        match self.tls {
            SessionTls::Offered => "250-testkit\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 STARTTLS",
            SessionTls::Absent | SessionTls::Used => {
                "250-testkit\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN"
            }
        }
    }

    fn handle_auth(&mut self, wire: &mut LineStream<impl Read + Write>, rest: &str) -> Result<&'static str> {
        if self.login.is_some() || self.envelope.is_some() {
            return Ok("503 5.5.1 already logged in, or inside a transaction");
        }
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut ask = |question: &str, known: &str| -> Result<Option<String>> {
            if known.is_empty() {
                wire.write_line(&format!("334 {}", STANDARD.encode(question)))?;
                return Ok(decode_base64(&wire.read_line()?));
            }
            Ok(decode_base64(known))
        };
        let given = match mechanism.to_uppercase().as_str() {
            "PLAIN" => ask("", initial)?.and_then(|given| {
                let mut parts = given.split('\0').skip(1).map(str::to_owned);
                parts.next().zip(parts.next())
            }),
            "LOGIN" => {
                let user = ask("Username:", initial)?;
                user.zip(ask("Password:", "")?)
            }
            _ => return Ok("504 5.5.4 unknown mechanism"),
        };
        Ok(match given {
            None => "501 5.5.2 cannot decode credentials",
            Some((user, password)) if user == LOGIN_USER && password == LOGIN_PASSWORD => {
                self.login = Some(user);
                "235 2.7.0 welcome"
            }
            Some(_) => "535 5.7.8 wrong user or password",
        })
    }

    fn handle_mail(&mut self, rest: &str) -> &'static str {
        if self.shared.require_login && self.login.is_none() {
            return "530 5.7.0 log in first";
        }
        if self.envelope.is_some() {
            return "503 5.5.1 nested MAIL command";
        }
        let Some(from) = parse_address_after("FROM:", rest) else { return "501 5.5.4 missing sender" };
        self.envelope = Some(MailEnvelope { from, to: vec![] });
        "250 2.1.0 OK"
    }

    fn handle_rcpt(&mut self, rest: &str) -> &'static str {
        let Some(envelope) = &mut self.envelope else { return "503 5.5.1 issue MAIL first" };
        let Some(to) = parse_address_after("TO:", rest).filter(|to| !to.is_empty()) else {
            return "501 5.5.4 missing recipient";
        };
        if to.starts_with("no") {
            return "550 5.1.1 no such mailbox";
        }
        let mut deferred = self.shared.deferred_recipients.lock().unwrap_or_else(PoisonError::into_inner);
        if to.starts_with("busy") && deferred.insert(to.clone()) {
            return "451 4.2.0 mailbox busy, try again later";
        }
        envelope.to.push(to);
        "250 2.1.5 OK"
    }

    fn handle_data(&mut self, wire: &mut LineStream<impl Read + Write>) -> Result<&'static str> {
        let Some(MailEnvelope { from, to }) = self.envelope.take_if(|envelope| !envelope.to.is_empty())
        else {
            return Ok("503 5.5.1 no valid recipients");
        };
        wire.write_line("354 end with a dot")?;
        let mut data = String::new();
        loop {
            let line = wire.read_line()?;
            if line == "." {
                break;
            }
            // Dot stuffing: the client adds a dot to lines that begin with one, so that they do not end the message.
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
        let over_tls = self.tls == SessionTls::Used;
        self.shared.mails.push(ReceivedMail { from, to, data, over_tls, login_user: self.login.clone() });
        Ok("250 2.0.0 accepted")
    }
}

impl<S: Read + Write> LineStream<S> {
    /// Reads the next line, without its ending.
    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\r\n"), "the line does not end with CR LF");
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn write_line(&mut self, line: &str) -> Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        Ok(stream.flush()?)
    }
}

/// Parses the address in angle brackets after a keyword. ESMTP parameters after the address are ignored.
fn parse_address_after(word: &str, rest: &str) -> Option<String> {
    let (start, rest) = rest.split_at_checked(word.len())?;
    let (address, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    start.eq_ignore_ascii_case(word).then(|| address.to_owned())
}

fn decode_base64(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

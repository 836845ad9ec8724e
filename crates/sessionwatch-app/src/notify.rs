//! Telling people and programs: what is told, and one file a channel.

mod alertmanager;
pub mod channel;
mod discord;
mod email;
mod kinds;
mod ntfy;
mod pagerduty;
pub(crate) mod queue;
mod slack;
mod teams;
mod telegram;
pub mod template;
mod webhook;

mod retry_after;

use std::{error::Error, io, time::Duration};

use reqwest::{Client, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_core::instant::Instant;
use sha2::{Digest as _, Sha256};

pub use self::{channel::Channel, email::Email, kinds::Kind};
use crate::{sanitize::printable, secret::Secret};

/// How long a channel may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Alerts that are named in one message; of more it says how many.
const NAMED: usize = 20;
/// The longest title, and of many alerts the longest line and name of a target.
const TITLE: usize = 250;
const LINE: usize = 200;
const NAME: usize = 80;
/// The longest line of an alert that is told by itself.
const SUMMARY: usize = 2_000;

/// What is told of one alert, as it lies in the outbox and as a webhook sends it. The shape is a contract: `docs/channels.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The version of the shape.
    pub schema: u32,
    /// The same for every attempt.
    pub key: String,
    /// `firing`, `repeated`, `resolved`, `test` or `report`.
    pub notice: String,
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// The check's severity.
    pub severity: String,
    /// What is wrong, in one sentence; of a report, its title.
    pub summary: String,
    /// When it began to fire.
    pub since: Option<String>,
    /// When the look was taken that is told of.
    pub at: String,
    /// Value, threshold, action and evidence.
    pub finding: Option<Value>,
    /// It may have arrived already.
    #[serde(default)]
    pub again: bool,
    /// The text of a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Messages that are told together: of one check and notice, and at least one.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The first of them.
    pub first: &'a Message,
    /// All of them.
    pub messages: &'a [Message],
    /// The text for people; the usual one, or by the channel's template.
    pub text: String,
}

/// A request to make of a channel.
#[derive(Clone, Debug, Default)]
struct Post {
    url: Secret,
    headers: Vec<(&'static str, Secret)>,
    body: Secret,
}

/// Why a message was not delivered. Holds nothing of the channel's address, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The configuration names no such channel any more.
    #[error("there is no channel of that name")]
    NoChannel,
    /// Nobody is there.
    #[error("the channel cannot be reached")]
    Unreachable,
    /// Nobody answered in time: it may have arrived.
    #[error("the channel did not answer")]
    NoAnswer,
    /// The channel refused.
    #[error("the channel answered {status}{}", meaning(*status))]
    Refused {
        /// The status of HTTP or SMTP.
        status: u16,
        /// Microseconds that it asks to wait.
        retry_after: Option<i64>,
    },
    /// The message in the outbox is damaged.
    #[error("the message cannot be read")]
    Damaged,
    /// TLS could not be set up, or the file of certificate authorities is none.
    #[error("TLS cannot be set up for it: is ca_file a PEM file of certificates?")]
    Tls,
    /// Nobody who is trusted vouches for it.
    #[error("its certificate is not trusted: name the authority that signed it as ca_file")]
    Untrusted,
    /// It speaks in the clear, or offers no log-in.
    #[error("it does not offer the TLS or the log-in that its url asks for")]
    Unprotected,
    /// No request can be made of what is configured.
    #[error("its url or secret is not of a form that can be used")]
    Malformed,
    /// The template of the channel does not fit.
    #[error("its template fails: {0}")]
    Template(String),
}

impl Failure {
    /// Microseconds that the channel asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<i64> {
        if let Self::Refused { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Whether the message may have arrived all the same.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        *self == Self::NoAnswer
    }

    /// Whether it is about that one message or recipient, so that others may well be taken.
    #[must_use]
    pub fn is_about_one(&self) -> bool {
        match self {
            Self::Damaged | Self::Template(_) => true,
            // Of HTTP: bad request, too large, cannot be processed; of SMTP: about a mailbox or a message.
            Self::Refused { status, retry_after: None } => {
                [400, 413, 422, 450, 451, 452, 550, 551, 552, 553, 554, 556].contains(status)
            }
            _ => false,
        }
    }
}

impl Message {
    /// What happened, in a word or two.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.notice.as_str() {
            "resolved" => "Resolved",
            "repeated" => "Still failing",
            "test" => "Test",
            "report" => "Report",
            _ => "Failing",
        }
    }

    /// Whether it is over, or was never bad.
    fn is_good(&self) -> bool {
        ["resolved", "test", "report"].contains(&self.notice.as_str())
    }

    fn action(&self) -> Option<&str> {
        let action = self.finding.as_ref().and_then(|finding| finding["action"].as_str());
        action.filter(|action| !action.is_empty())
    }
}

impl Told<'_> {
    /// One line that says it.
    #[must_use]
    pub fn title(&self) -> String {
        let Message { notice, check, severity, target, summary, .. } = self.first;
        if notice == "report" {
            return shortened(&printable(summary), TITLE);
        }
        let word = self.first.word();
        match self.messages.len() {
            1 => shortened(&printable(&format!("{word}: {check} ({severity}) on {target}")), TITLE),
            count => {
                shortened(&printable(&format!("{word}: {check} ({severity}) on {count} targets")), TITLE)
            }
        }
    }

    /// The usual text: what is wrong, for whom, since when, what to do.
    fn usual(messages: &[Message]) -> String {
        let mut lines = Vec::new();
        let several = messages.len() > 1;
        let longest = if several { LINE } else { SUMMARY };
        for message in messages.iter().take(NAMED) {
            let of = if several { format!("{}: ", shortened(&message.target, NAME)) } else { String::new() };
            lines.push(match &message.text {
                Some(report) => format!("{}{report}", printable(&of)),
                None => printable(&format!("{of}{}", shortened(&message.summary, longest))),
            });
        }
        if messages.len() > NAMED {
            lines.push(format!("… and {} more", messages.len() - NAMED));
        }
        let first = messages.first();
        let action = first.and_then(Message::action);
        lines.extend(action.map(|action| format!("→ {}", printable(&shortened(action, SUMMARY)))));
        if !several {
            lines.extend(first.and_then(|first| first.since.as_ref()).map(|since| {
                let at = crate::clock::parsed(since);
                format!("since {}", at.map_or_else(|| since.clone(), crate::clock::readable))
            }));
        }
        if messages.iter().any(|message| message.again) {
            lines.push("(this may have been told already)".to_owned());
        }
        lines.join("\n")
    }
}

/// What speaks to one channel.
pub enum Sender {
    /// Over HTTP.
    Http(Client),
    /// Over SMTP.
    Mail(Box<email::Transport>),
}

impl Sender {
    /// What speaks to that channel.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up.
    pub fn new(channel: &Channel) -> Result<Self, Failure> {
        // It fails only where one is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if matches!(channel.kind, Kind::Email(_)) {
            return Ok(Self::Mail(Box::new(email::transport(channel)?)));
        }
        let redirects = reqwest::redirect::Policy::none();
        let mut client = Client::builder().timeout(PATIENCE).redirect(redirects).user_agent("sessionwatch");
        // Where nobody takes the connection, nothing can have arrived.
        client = client.connect_timeout(PATIENCE / 2);
        if let Some(pem) = &channel.authorities {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| Failure::Tls)?;
            client = client.tls_certs_merge(authorities);
        }
        client.build().map(Self::Http).map_err(|_| Failure::Tls)
    }

    /// Makes sure that a message can be written for the channel, without sending it.
    ///
    /// # Errors
    ///
    /// If it cannot be: the URL, the secret, an address or the template does not fit.
    pub fn fits(&self, channel: &Channel) -> Result<(), Failure> {
        let now = Instant::MIN;
        let messages = [marked(now)];
        let text = match &channel.template {
            Some(template) => template.render(&messages).map_err(Failure::Template)?,
            None => Told::usual(&messages),
        };
        let told = Told { first: &messages[0], messages: &messages, text };
        match self {
            Self::Http(client) => {
                let written = request(client, channel.kind.post(channel, &told, now)?).build();
                written.map(drop).map_err(|_| Failure::Malformed)
            }
            Self::Mail(_) => match &channel.kind {
                Kind::Email(email) => {
                    email.to.iter().try_for_each(|to| email::mail(email, &told, to).map(drop))
                }
                _ => Err(Failure::NoChannel),
            },
        }
    }

    /// Delivers messages that are told together.
    ///
    /// # Errors
    ///
    /// If the channel does not accept them.
    pub async fn deliver(
        &self,
        channel: &Channel,
        messages: &[Message],
        recipient: Option<&str>,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(first) = messages.first() else { return Ok(()) };
        let text = match &channel.template {
            Some(template) => template.render(messages).map_err(Failure::Template)?,
            None => Told::usual(messages),
        };
        let told = Told { first, messages, text };
        match self {
            Self::Http(client) => send(client, channel.kind.post(channel, &told, now)?, now).await,
            Self::Mail(transport) => match &channel.kind {
                Kind::Email(email) => transport.send(email, &told, recipient).await,
                _ => Err(Failure::NoChannel),
            },
        }
    }
}

/// Sends a message over a channel that says that it is a test: what was wrong, if something was.
pub async fn trial(channel: &Channel, now: Instant) -> Vec<String> {
    send_past_outbox(channel, &marked(now), now).await
}

/// Sends a message over a channel at once, and only once: what was wrong, if something was.
pub(crate) async fn send_past_outbox(channel: &Channel, message: &Message, now: Instant) -> Vec<String> {
    let mut problems = vec![];
    for recipient in channel.recipients() {
        let messages = std::slice::from_ref(message);
        let sent = async { Sender::new(channel)?.deliver(channel, messages, recipient, now).await };
        problems.extend(sent.await.err().map(|why| match recipient {
            Some(recipient) => format!("{why}, for {recipient}"),
            None => why.to_string(),
        }));
    }
    problems
}

/// A message that says that it is a test.
fn marked(now: Instant) -> Message {
    Message {
        schema: 1,
        key: format!("test/{}", now.micros()),
        notice: "test".into(),
        target: "test".into(),
        check: "test".into(),
        severity: "low".into(),
        summary: "This is a test of sessionwatch: nothing is wrong.".into(),
        since: None,
        at: crate::clock::rfc3339(now),
        finding: None,
        again: false,
        text: None,
    }
}

fn request(client: &Client, post: Post) -> reqwest::RequestBuilder {
    // Without the charset, some count two bytes for each character.
    let mut request =
        client.post(post.url.expose()).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    for (name, value) in post.headers {
        request = request.header(name, value.expose());
    }
    request.body(post.body.expose().to_owned())
}

async fn send(client: &Client, post: Post, now: Instant) -> Result<(), Failure> {
    let request = request(client, post);
    let unsent = |error: reqwest::Error| match tls_failure(&error) {
        Some(failure) => failure,
        None if error.is_builder() => Failure::Malformed,
        None if error.is_connect() => Failure::Unreachable,
        None => Failure::NoAnswer,
    };
    // What it answers besides is not read, however long it is.
    let answer = request.send().await.map_err(unsent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let asked = answer.headers().get(header::RETRY_AFTER).filter(|_| waits);
    let retry_after = asked.and_then(|value| retry_after::read(value.to_str().ok()?, now));
    Err(Failure::Refused { status: answer.status().as_u16(), retry_after })
}

/// What is wrong with TLS, if that is what an error comes of.
fn tls_failure(error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Failure::Untrusted),
            Some(_) => return Some(Failure::Unprotected),
            None => {}
        }
        // An I/O error is not the source of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// What to look at after an answer.
fn meaning(status: u16) -> &'static str {
    match status {
        300..=399 => ": it sends elsewhere, where nothing is sent",
        401 | 403 | 407 | 535 => ": is its secret, or the log-in in its url, right?",
        404 | 410 => ": is its url right?",
        _ => "",
    }
}

/// The start of a text, where a channel takes no more than that. Services count in units of UTF-16.
fn shortened(text: &str, most: usize) -> String {
    let mut left = most.saturating_sub(1);
    if text.encode_utf16().count() <= most {
        return text.to_owned();
    }
    let fits = |letter: &char| {
        let rest = left.checked_sub(letter.len_utf16());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// A name that is no longer than that, and no other's: the start of a long one and a hash of all of it.
pub(crate) fn distinct(name: &str, most: usize) -> String {
    const HASH: usize = 17;
    if name.encode_utf16().count() <= most {
        return name.to_owned();
    }
    let start = shortened(name, most.saturating_sub(HASH) + 1);
    format!("{}~{}", start.trim_end_matches('…'), &const_hex::encode(Sha256::digest(name))[..HASH - 1])
}

/// The body with as much of a text as fits into so many bytes.
fn fitting(text: &str, most: usize, body: impl Fn(&str) -> String) -> String {
    let mut length = text.encode_utf16().count().min(most);
    loop {
        let body = body(&shortened(text, length));
        if body.len() <= most || length == 0 {
            return body;
        }
        length = length * 3 / 4;
    }
}

/// The text with a backslash before each of these letters, which are marks of Markdown.
fn unmarked(text: &str, marks: &str) -> String {
    let mark = |letter: char| marks.contains(letter).then_some('\\');
    text.chars().flat_map(|letter| mark(letter).into_iter().chain([letter])).collect()
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::{template::Template, *};

    pub(crate) fn message(target: &str) -> Message {
        Message {
            schema: 1,
            key: "app/x/firing/1".into(),
            notice: "firing".into(),
            target: target.into(),
            check: "duplicate-tokens".into(),
            severity: "critical".into(),
            summary: "2 tokens & <more>".into(),
            since: Some("2026-01-01T00:00:00.000000Z".into()),
            at: "2026-01-01T00:00:00.000000Z".into(),
            finding: Some(json!({ "action": "end <them>", "value": 2 })),
            again: false,
            text: None,
        }
    }

    /// A channel of a kind that has been given what it needs.
    pub(crate) fn channel(kind: &str, url: &str) -> Channel {
        let own = match kind {
            "telegram" => "secret = \"key\"\nchat = \"-1\"",
            "pagerduty" | "ntfy" | "webhook" => "secret = \"key\"",
            "email" => "from = \"watch@example.org\"\nto = [\"ops@example.org\"]",
            _ => "",
        };
        let text = format!("[[channel]]\nname = \"c\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{own}\n");
        let config = crate::config::Config::parse(std::path::Path::new("x.toml"), &text).unwrap();
        config.serve.channels[0].clone()
    }

    pub(crate) fn email() -> Email {
        let Kind::Email(email) = channel("email", "smtp://localhost").kind else { unreachable!() };
        email
    }

    /// The request for these messages, and its body.
    pub(crate) fn posted(kind: &str, url: &str, messages: &[Message]) -> (String, Value) {
        let told = Told { first: &messages[0], messages, text: Told::usual(messages) };
        let channel = channel(kind, url);
        let post = channel.kind.post(&channel, &told, Instant::MIN).unwrap();
        (post.url.expose().to_owned(), serde_json::from_str(post.body.expose()).unwrap())
    }

    #[test]
    fn many_targets_are_told_of_in_one_message_of_bounded_length() {
        let messages: Vec<Message> = (0..10_000).map(|number| message(&format!("t{number}"))).collect();
        let told = Told { first: &messages[0], messages: &messages, text: Told::usual(&messages) };
        assert_eq!(told.title(), "Failing: duplicate-tokens (critical) on 10000 targets");
        assert!(
            told.text.contains("t19: 2 tokens") && told.text.contains("… and 9980 more"),
            "{}",
            told.text
        );
        let one = Told::usual(&messages[..1]);
        assert_eq!(one, "2 tokens & <more>\n→ end <them>\nsince 2026-01-01 00:00:00 UTC");
    }

    /// A message as an attacker would have it: long, of markup, control characters and line breaks.
    fn hostile() -> Message {
        let evil = "<!here> @everyone [x](http://evil) </h2>*_`|\r\nBcc: eve@example.org\0\u{1b}[31m \"🦀";
        Message {
            summary: evil.repeat(100_000 / evil.len() + 1),
            finding: Some(json!({ "action": evil.repeat(1_000), "evidence": evil.repeat(10_000) })),
            ..message(&evil.repeat(10_000 / evil.len() + 1))
        }
    }

    #[test]
    fn nothing_is_longer_than_a_service_takes() {
        let units = |text: &Value| text.as_str().unwrap().encode_utf16().count();
        let report = Message { notice: "report".into(), text: Some("line\n".repeat(20_000)), ..hostile() };
        for messages in [vec![hostile()], vec![hostile(); 1_000], vec![report]] {
            let body = |kind| posted(kind, "https://x/topic", &messages).1;
            assert!(units(&body("slack")["text"]) <= 40_000);
            let embed = &body("discord")["embeds"][0];
            assert!(units(&embed["title"]) <= 256 && units(&embed["description"]) <= 4_096);
            let card = body("teams");
            assert!(card.to_string().encode_utf16().count() * 2 <= 28 * 1_024);
            assert!(units(&body("telegram")["text"]) <= 4_096);
            let event = body("pagerduty");
            assert!(event.to_string().len() <= 512 * 1_024);
            assert!(units(&event["dedup_key"]) <= 255 && units(&event["payload"]["summary"]) <= 1_024);
            assert!(body("ntfy").to_string().len() <= 4_096);
            assert!(units(&body("alertmanager")[0]["labels"]["target"]) <= 1_024);
        }
    }

    #[test]
    fn no_name_adds_a_line_or_a_mark() {
        let written = Template::parse("{{ target }}|{{ summary }}|{{ messages[0].target }}").unwrap();
        for text in [Told::usual(&[hostile()]), written.render(&[hostile()]).unwrap()] {
            assert!(!text.contains(['\r', '\0', '\u{1b}']), "{}", &text[..300]);
            assert!(text.lines().count() <= 3);
        }
        let messages = [hostile()];
        let body = |kind| posted(kind, "https://x/topic", &messages).1;
        let slack = body("slack")["text"].as_str().unwrap().to_owned();
        assert!(!slack.contains(['<', '>']) && slack.lines().count() == 4, "{}", &slack[..300]);
        let card = body("teams");
        let blocks = card["attachments"][0]["content"]["body"].as_array().unwrap();
        assert_eq!(blocks.len(), 4);
        let discord = body("discord").to_string();
        assert!(![card.to_string(), discord.clone()].iter().any(|text| text.contains("[x](")));
        assert!(!discord.contains("<!here>"), "{}", &discord[..300]);
        assert!(body("telegram").get("parse_mode").is_none());
    }

    #[test]
    fn texts_are_shortened_as_services_count() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(shortened("🦀🦀🦀", 5), "🦀🦀…");
        assert_eq!(shortened("🦀🦀🦀", 6), "🦀🦀🦀");
        let [one, other] = ["a", "b"].map(|end| distinct(&format!("{}{end}", "n".repeat(300)), 255));
        assert!(one != other && one.len() == 255 && one.starts_with("nnn"), "{one}");
        assert_eq!(fitting("äää", 8, |text| format!("<{text}>")), "<äää>");
        assert!(fitting(&"ä".repeat(1_000), 100, |text| format!("<{text}>")).len() <= 100);
    }
}

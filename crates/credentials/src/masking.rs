//! Masks credentials in all output of the process.
//!
//! Two methods are combined. Arguments of the process are registered, and an argument with a password is masked up to
//! its last `@` wherever it appears. All other text is masked by pattern: addresses with a password, keyed values
//! such as `password=`, and secret paths of webhooks. When in doubt, more is masked.

use std::{
    borrow::Cow,
    sync::{LazyLock, OnceLock},
};

use regex::{Captures, Regex};

/// Replacement for a credential.
pub const MASK_PLACEHOLDER: &str = "***";
/// Hint for a password that makes an address ambiguous.
pub const PERCENT_ENCODING_HINT: &str =
    "`@`, `/`, `?` and `#` in a user name or password must be percent-encoded (`@` as %40)";

/// Separator after the scheme of an address: plain, escaped in JSON, or percent-encoded.
static SCHEME_SEPARATOR_REGEX: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"://|:\\/\\/|%3[Aa]%2[Ff]%2[Ff]").ok());
/// Values with a secret key in connection strings and query strings.
static KEYED_SECRET_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let free = r"[A-Z0-9_.-]*(?:password|passwd|passphrase|pwd|client_?secret|api_?key)";
    let query = r"[?&][A-Z0-9_.-]*(?:secret|token|signature|sig|auth|key|code)";
    let value = r#"(?:\\?'(?:[^'\\]|\\.|'')*'?|[^\s&"]+)"#;
    Regex::new(&format!(r"(?i)(?P<before>(?:{free}|{query})(?:=|%3D))(?P<value>{value})")).ok()
});
/// Passwords in a key-value connection string, where spaces may surround the equals sign.
static DSN_PASSWORD_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let value = r#"(?:'(?:[^'\\]|\\.|'')*'?|"[^"]*"?|\S+)"#;
    Regex::new(&format!(
        r"(?i)(?P<before>[A-Z0-9_.-]*(?:password|passwd|passphrase|pwd)\s*=\s*)(?P<value>{value})"
    ))
    .ok()
});
/// Address without a scheme or with a misspelled one. User IDs may look similar, but have no port.
static SCHEMELESS_URL_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^(?:(?:postgres|postgresql|mysql|mariadb|redis)[:/]\S*|[^\s:]+:\S*)@[^\s@/]*:[0-9]+(?:/|$)",
    )
    .ok()
});
/// Webhooks whose path is the secret.
static WEBHOOK_URL_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let paths = concat!(
        r"hooks\.slack\.com/[a-z]+/|/api/(?:v[0-9]+/)?webhooks/[0-9]+/|api\.telegram\.org/bot[0-9]+:|",
        r"webhook\.office\.com/|logic\.azure\.com(?::[0-9]+)?/workflows/",
    );
    Regex::new(&format!(r#"(?i)(?P<before>{paths})(?P<value>[^\s"'<>]+)"#)).ok()
});

/// Printed form of a registered secret, and its masked form.
#[derive(Debug)]
struct KnownSecret {
    needle: String,
    masked: String,
}

/// Registered secrets, longest first, so that a secret is masked before any part of it.
static KNOWN_SECRETS: OnceLock<Vec<KnownSecret>> = OnceLock::new();

/// Registers arguments and addresses given to this process, so that none is printed with its password.
pub fn register_secrets(given: impl IntoIterator<Item = String>) {
    let mut known: Vec<KnownSecret> = given.into_iter().flat_map(|text| secret_forms(&text)).collect();
    known.sort_by_key(|known| std::cmp::Reverse(known.needle.len()));
    // Only the first call counts, because the arguments of a process do not change.
    let _ = KNOWN_SECRETS.set(known);
}

/// Returns all printed forms of an argument and of the secret in it.
fn secret_forms(given: &str) -> Vec<KnownSecret> {
    let Some((masked, secret)) = mask_argument(given) else { return vec![] };
    let mut known = Vec::new();
    let mut add = |needle: &str, masked: &str| {
        let json = serde_json::Value::from(needle).to_string();
        let debug = format!("{needle:?}");
        for needle in [needle, json.trim_matches('"'), debug.trim_matches('"')] {
            known.push(KnownSecret { needle: needle.to_owned(), masked: masked.to_owned() });
        }
    };
    add(given, &masked);
    if let Some((_, value)) = given.split_once('=').filter(|(flag, _)| flag.starts_with('-'))
        && let Some((masked, _)) = mask_argument(value)
    {
        add(value, &masked);
    }
    let decoded = percent_encoding::percent_decode_str(&secret).decode_utf8_lossy().into_owned();
    let pieces = secret.split(['@', '/', '?', '#', ',', ';', '&', '=']);
    let pieces = pieces.chain([secret.as_str(), decoded.as_str()]);
    // A password that equals the user name is left out, or the name would be masked everywhere.
    for piece in pieces.filter(|piece| is_distinctive(piece) && !masked.contains(piece)) {
        add(piece, MASK_PLACEHOLDER);
    }
    known
}

/// Returns whether a text is long and varied enough to occur only as a secret.
fn is_distinctive(text: &str) -> bool {
    let kinds = [
        text.contains(|letter: char| letter.is_ascii_lowercase()),
        text.contains(|letter: char| letter.is_ascii_uppercase()),
        text.contains(|letter: char| letter.is_ascii_digit()),
        text.contains(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-' | '.')),
    ];
    text.chars().count() >= 8 && kinds.into_iter().filter(|kind| *kind).count() >= 2
}

/// Returns an argument with its credentials masked, and the secret; `None` if it has none.
fn mask_argument(given: &str) -> Option<(String, String)> {
    if let Some(head) = SCHEME_SEPARATOR_REGEX.as_ref().and_then(|head| head.find(given)) {
        let address = &given[head.end()..];
        if let Some(at) = address.rfind('@') {
            let (info, host) = (&address[..at], &address[at + 1..]);
            let (user, secret) = info.split_once(':').map_or((None, info), |(user, rest)| (Some(user), rest));
            if user.is_none()
                && is_plain_user_name(info)
                && is_database_scheme(scheme_before(given, head.start()))
            {
                return mask_by_shape(given);
            }
            let user =
                user.filter(|user| is_plain_user_name(user)).map_or(String::new(), |user| format!("{user}:"));
            let masked =
                format!("{}{user}{MASK_PLACEHOLDER}@{}", &given[..head.end()], mask_credentials(host));
            return Some((masked, secret.to_owned()));
        }
        return mask_by_shape(given);
    }
    // `USER:PASSWORD@HOST:PORT/DATABASE` with a missing or misspelled scheme.
    if let (Some(colon), Some(at)) = (given.find(':'), given.rfind('@'))
        && colon < at
        && !given.contains(char::is_whitespace)
        && given[at..].contains(['/', ':'])
    {
        let masked = format!("{}:{MASK_PLACEHOLDER}{}", &given[..colon], &given[at..]);
        return Some((masked, given[colon + 1..at].to_owned()));
    }
    mask_by_shape(given)
}

/// Masks an argument by pattern alone.
fn mask_by_shape(given: &str) -> Option<(String, String)> {
    if given.contains(char::is_whitespace)
        && given.contains("host")
        && let Some(spaced) = DSN_PASSWORD_REGEX.as_ref()
        && let Some(found) = spaced.captures(given)
    {
        let secret = found.name("value").map_or("", |value| value.as_str()).trim_matches('\'').to_owned();
        return Some((
            spaced.replace_all(given, format!("${{before}}{MASK_PLACEHOLDER}")).into_owned(),
            secret,
        ));
    }
    match mask_credentials(given) {
        Cow::Owned(masked) => Some((masked, String::new())),
        Cow::Borrowed(_) => None,
    }
}

/// Returns whether a text contains an address with a password, even with a misspelled scheme.
#[must_use]
pub fn contains_credential(text: &str) -> bool {
    let is_match = |expression: &LazyLock<Option<Regex>>| {
        expression.as_ref().is_some_and(|expression| expression.is_match(text))
    };
    (is_match(&SCHEME_SEPARATOR_REGEX) || is_match(&SCHEMELESS_URL_REGEX) || is_match(&DSN_PASSWORD_REGEX))
        && mask_argument(text).is_some()
}

/// Returns the text with all credentials masked.
#[must_use]
pub fn mask_credentials(text: &str) -> Cow<'_, str> {
    let text = apply_step(Cow::Borrowed(text), mask_known_secrets);
    let text = apply_step(text, mask_addresses);
    let text = apply_step(text, |text| mask_regex_matches(text, &KEYED_SECRET_REGEX));
    apply_step(text, |text| mask_regex_matches(text, &WEBHOOK_URL_REGEX))
}

/// Applies a step that returns `None` if it changes nothing.
fn apply_step<'a>(text: Cow<'a, str>, step: impl Fn(&str) -> Option<String>) -> Cow<'a, str> {
    step(&text).map_or(text, Cow::Owned)
}

fn mask_known_secrets(text: &str) -> Option<String> {
    let mut masked: Option<String> = None;
    for known in KNOWN_SECRETS.get()? {
        let present = masked.as_deref().unwrap_or(text);
        if present.contains(&known.needle) {
            masked = Some(present.replace(&known.needle, &known.masked));
        }
    }
    masked
}

fn mask_regex_matches(text: &str, expression: &LazyLock<Option<Regex>>) -> Option<String> {
    let replaced = expression.as_ref()?.replace_all(text, |found: &Captures<'_>| {
        let group = |name: &str| found.name(name).map_or("", |part| part.as_str());
        let value = if is_placeholder(group("value")) { group("value") } else { MASK_PLACEHOLDER };
        format!("{}{value}", group("before"))
    });
    if let Cow::Owned(replaced) = replaced { (replaced != text).then_some(replaced) } else { None }
}

fn mask_addresses(text: &str) -> Option<String> {
    let head = SCHEME_SEPARATOR_REGEX.as_ref()?;
    let (mut masked, mut done) = (String::new(), 0);
    while let Some(found) = head.find_at(text, done) {
        let run = take_address(&text[found.end()..]);
        masked.push_str(&text[done..found.end()]);
        let (kept, rest) =
            mask_after_scheme(scheme_before(text, found.start()), run, found.as_str().starts_with('%'));
        masked.push_str(&kept);
        done = found.end() + run.len() - rest;
    }
    masked.push_str(&text[done..]);
    (masked != text).then_some(masked)
}

/// Returns the longest prefix that may belong to an address: up to whitespace or an unescaped quote.
fn take_address(text: &str) -> &str {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter.is_whitespace() || letter.is_control() || letter == '"' && !escaped {
            return &text[..at];
        }
        escaped = letter == '\\' && !escaped;
    }
    text
}

fn scheme_before(text: &str, end: usize) -> &str {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    let length = text.as_bytes()[..end].iter().rev().take_while(|byte| is_part(byte)).count();
    &text[end - length..end]
}

/// Masks the part of an address after its scheme. Returns the masked text, and the number of bytes at the end of
/// `run` that are still to be scanned.
fn mask_after_scheme<'a>(scheme: &str, run: &'a str, is_encoded: bool) -> (Cow<'a, str>, usize) {
    let first = run.find('@').or_else(|| if is_encoded { run.find("%40") } else { None });
    let Some(first) = first else { return (mask_authority(scheme, run), 0) };
    let shown = &run[..first];
    if shown == MASK_PLACEHOLDER
        || shown.split_once(':').is_some_and(|(_, password)| is_placeholder(password))
    {
        return (Cow::Borrowed(&run[..=first]), run.len() - first - 1);
    }
    // The password may contain an `@` itself, so everything up to the last one is masked.
    let end = run.rfind('@').or_else(|| run.rfind("%40")).unwrap_or(first);
    let (info, host) = run.split_at(end);
    let colon = info.find(':').or_else(|| info.find("%3A")).or_else(|| info.find("%3a"));
    let Some(colon) = colon else {
        let is_path = info.contains('/') && !is_database_scheme(scheme);
        if is_path || is_plain_user_name(info) && is_database_scheme(scheme) {
            return (Cow::Borrowed(run), 0);
        }
        return (Cow::Owned(format!("{MASK_PLACEHOLDER}{host}")), 0);
    };
    let sign = if info[colon..].starts_with(':') { 1 } else { 3 };
    let user = if is_plain_user_name(&info[..colon]) { &info[..colon + sign] } else { "" };
    (Cow::Owned(format!("{user}{MASK_PLACEHOLDER}{host}")), 0)
}

/// Masks the port part of a database address without `@`, if it is no port.
fn mask_authority<'a>(scheme: &str, run: &'a str) -> Cow<'a, str> {
    // Such an address may have lost its host, which leaves the password in place of the port.
    let authority = run.split(['/', '?', '#']).next().unwrap_or(run);
    let authority = authority.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let is_host = |host: &str| {
        let port = host.rsplit_once(']').map_or(host, |(_, after)| after);
        let port = port.split_once(':').map_or("", |(_, port)| port);
        // Numbers and `PORT` are ports; anything else in that place may be a password.
        port == "PORT" || port.bytes().all(|byte| byte.is_ascii_digit())
    };
    match authority.find(':') {
        Some(colon) if is_database_scheme(scheme) && !authority.split(',').all(is_host) => {
            Cow::Owned(format!("{}:{MASK_PLACEHOLDER}", &run[..colon]))
        }
        _ => Cow::Borrowed(run),
    }
}

fn is_database_scheme(scheme: &str) -> bool {
    let known = ["postgres", "postgresql", "mysql", "mariadb", "redis", "rediss", "valkey", "mongodb"];
    known.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Returns whether a user name is plain enough to be shown.
fn is_plain_user_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+' | b'~');
    !text.is_empty() && text.bytes().all(is_part)
}

/// Returns whether a text stands for a secret in documentation, or is a variable in a configuration.
fn is_placeholder(text: &str) -> bool {
    text == MASK_PLACEHOLDER
        || text == "PASSWORD"
        || text == "…"
        || text.starts_with("${") && text.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_masked() {
        for (text, expected) in [
            ("to postgres://app:hunter2@db/x now", "to postgres://app:***@db/x now"),
            ("postgres://app:p@ss/w:rd@127.0.0.1:5432/app", "postgres://app:***@127.0.0.1:5432/app"),
            ("`postgres://app:se?cret@h:1/a#b@c/d`", "`postgres://app:***@c/d`"),
            ("postgres://app:se#cr`et'x@h", "postgres://app:***@h"),
            ("postgres://hunter2/x?y@h/d", "postgres://***@h/d"),
            ("postgres://app:hunter2", "postgres://app:***"),
            ("postgres://app:hunter2/db?sslmode=require", "postgres://app:***"),
            (
                r#"{"target":"postgres://a:x\"y@h/d","n":"a@b"}"#,
                r#"{"target":"postgres://a:***@h/d","n":"a@b"}"#,
            ),
            (r"postgres:\/\/a:secret@h\/d", r"postgres:\/\/a:***@h\/d"),
            ("u=postgres%3A%2F%2Fapp%3Ahunter2secret%40db", "u=postgres%3A%2F%2Fapp%3A***%40db"),
            ("https://token@example.com/x", "https://***@example.com/x"),
            ("redis://:hunter2@h:6379/0", "redis://***@h:6379/0"),
            ("amqp://a:b@c and smtp://d:e@f", "amqp://a:***@c and smtp://d:***@f"),
            ("host=h password=hunter2 dbname=x", "host=h password=*** dbname=x"),
            ("host=h password='hun ter2' dbname=x", "host=h password=*** dbname=x"),
            ("postgres://h/d?user=u&password=hunter2&x=y", "postgres://h/d?user=u&password=***&x=y"),
            ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
            (
                "https://x.example/send?sig=abc123&api-version=1",
                "https://x.example/send?sig=***&api-version=1",
            ),
            ("https://hooks.slack.com/services/T0/B0/x", "https://hooks.slack.com/services/***"),
            ("https://discord.com/api/webhooks/12/tok-en", "https://discord.com/api/webhooks/12/***"),
            ("https://api.telegram.org/bot12:AAE/sendMessage", "https://api.telegram.org/bot12:***"),
        ] {
            assert_eq!(mask_credentials(text), expected, "{text}");
        }
    }

    #[test]
    fn text_without_credentials_is_unchanged() {
        for text in [
            "postgres://USER:PASSWORD@HOST:PORT/DATABASE or postgres://HOST:PORT/DATABASE",
            "postgres://watch:***@127.0.0.1:5432/app,duplicate-tokens,a@b.example",
            "postgres://watch@db/app and postgres://[::1]:5433/db and postgres://h1:1,h2:2/db",
            "url = \"smtp://watch:${SMTP_PASSWORD}@mail.example.org:587\"",
            "see https://medium.example/@name/page, and mail ops@example.com",
            "http://127.0.0.1:9090/metrics",
            "ada@example.com has 3 sessions: a=b, token f47ac10b…, user oidc:ada@example.com",
            "secret = \"${HOOK_SECRET}\" token='abc' WHERE \"sessionToken\"=x key=value code=7",
        ] {
            assert_eq!(mask_credentials(text), text);
        }
    }

    #[test]
    fn an_argument_is_masked_up_to_its_last_at_sign() {
        let masked = |text| mask_argument(text).map(|(masked, _)| masked);
        for (text, expected) in [
            ("postgres://a:b c\"d`e'@x y@h/d", "postgres://a:***@h/d"),
            ("--only=postgres://a:b c@h/d", "--only=postgres://a:***@h/d"),
            ("app:hun/ter2@db.example.com/app", "app:***@db.example.com/app"),
            ("postgres:/app:hunter2@db:5432", "postgres:***@db:5432"),
            ("host=h password = 'hun ter2' user=x", "host=h password = *** user=x"),
        ] {
            assert_eq!(masked(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["main", "oidc:ada@example.com", "call bob: bob@example.com/x", "a@b", "postgres://a@h/d"]
        {
            assert_eq!(masked(text), None, "{text}");
        }
        assert!(
            contains_credential("app:hun/ter2@db.example.com:5432/app")
                && contains_credential("host=h password=x")
        );
        assert!(
            !contains_credential("oidc:ada@corp.example/7")
                && !contains_credential("main")
                && !contains_credential("postgres://a@h/d")
        );
        let pieces: Vec<String> =
            secret_forms("postgres://a:Se?cret-77@h/d").into_iter().map(|known| known.needle).collect();
        assert!(pieces.contains(&"Se?cret-77".into()), "{pieces:?}");
        // The password of a role is often its name.
        for named in ["postgres://Watch_1:Watch_1@h/d", "postgres://a:session-watch@h/d"] {
            assert!(secret_forms(named).iter().all(|known| known.needle.contains("://")), "{named}");
        }
    }

    #[test]
    fn every_expression_compiles() {
        assert!(
            [
                &SCHEME_SEPARATOR_REGEX,
                &KEYED_SECRET_REGEX,
                &DSN_PASSWORD_REGEX,
                &SCHEMELESS_URL_REGEX,
                &WEBHOOK_URL_REGEX
            ]
            .iter()
            .all(|expression| expression.is_some())
        );
    }
}

#[cfg(test)]
mod hostile_tests;

//! Who is there: accounts, log-ins, the set-up link, and whether a request comes from a page of ours.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use ipnet::IpNet;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use sessionwatch_core::instant::{DAY, HOUR, Instant, SECOND};
use sha2::{Digest as _, Sha256};

use super::{
    Refusal,
    attempts::{Applicant, Attempts, network_of},
    layout, openid,
    passwords::{self, Passwords},
    read, write,
};
use crate::{
    credentials::mask,
    daemon::{Event, Shared},
    secret::Secret,
    store::{
        accounts::{self, Account, Login, Role},
        audit,
    },
};

/// How long a log-in holds at most, and without being used, in microseconds.
const LONGEST: i64 = 7 * DAY;
const IDLE: i64 = 12 * HOUR;
/// How long one holds at most that a provider of identities vouches for: then it is asked again, also about the role.
pub(super) const EXTERNAL: i64 = 12 * HOUR;
/// How often it is noted that a log-in is used.
const NOTED: i64 = 60 * SECOND;
/// How long a form may take to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(10);
/// Fields of forms that hold passwords.
const PASSWORDS: [&str; 2] = ["password", "new"];

/// Who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The account.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// The hash of the log-in.
    pub(crate) login: String,
    /// What forms carry to show that they are ours.
    pub(crate) form: Secret,
}

/// What the dashboard keeps in memory: the set-up link while nobody has an account, and attempts to log in.
#[derive(Debug, Default)]
pub struct Setup {
    link: Mutex<Option<Link>>,
    pub(super) attempts: Attempts,
    pub(super) passwords: Passwords,
    /// What is known of the provider of identities.
    pub(super) openid: openid::provider::Cache,
}

impl Setup {
    /// A new link for the first account; its token.
    pub fn offer(&self, now: Instant) -> String {
        let token = random();
        let link = Link { hash: hash(&token), offered_at: now };
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        token
    }

    /// When the link of that token was offered; `None` if it is not on offer.
    fn offered_at(&self, token: &str) -> Option<Instant> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| link.hash == hash(token)).map(|link| link.offered_at)
    }

    /// Takes the offer back, since it holds once: when it was made. `None` if it is not on offer.
    fn withdraw(&self, token: &str) -> Option<Instant> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.take_if(|link| link.hash == hash(token)).map(|link| link.offered_at)
    }
}

/// The link by which the first account is made.
#[derive(Debug)]
struct Link {
    /// The SHA-256 of its token.
    hash: String,
    offered_at: Instant,
}

/// A name that nobody guesses: 256 bits.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    // It fails only where the system has no random numbers; then nobody may log in.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random numbers");
        std::process::abort();
    }
    hex(&bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn hash(token: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(token))
}

/// Whether the dashboard is reached by TLS, as the configuration says.
pub(crate) fn is_secure(shared: &Shared) -> bool {
    let config = shared.config();
    config.serve.tls.is_some()
        || config.serve.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
}

/// The name of the cookie. The prefix makes browsers keep it to this host and to TLS.
fn cookie_name(shared: &Shared) -> &'static str {
    if is_secure(shared) { "__Host-sessionwatch" } else { "sessionwatch" }
}

pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

pub(super) fn set_cookie(shared: &Shared, name: &str, (value, seconds): (&str, i64)) -> String {
    let secure = if is_secure(shared) { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

/// From where a request comes: what proxies say that are trusted, and else who connected.
pub(crate) fn client(shared: &Shared, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
    forwarded(&shared.config().serve.trusted_proxies, headers, peer.ip())
}

/// The last address of `X-Forwarded-For` that is not one of ours: everything before it could be made up.
fn forwarded(trusted: &[IpNet], headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer.to_canonical();
    for hop in hops.into_iter().rev() {
        if !is_trusted(&client) {
            break;
        }
        let ip = hop.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
        let Some(ip) = ip else { break };
        client = ip.to_canonical();
    }
    client
}

/// Who sends a request, if their log-in still holds.
pub(super) async fn person(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Option<Person>, Refusal> {
    let Some(token) =
        cookie(headers, cookie_name(shared)).filter(|token| token.len() == 64).map(str::to_owned)
    else {
        return Ok(None);
    };
    let (key, now) = (hash(&token), shared.clock.now());
    let found = read(shared, move |db| accounts::login_of(db, &key)).await?;
    let Some((login, account)) = found.filter(|(login, _)| login.is_valid(now)) else { return Ok(None) };
    if now.since(login.seen_at) >= NOTED {
        let (key, ends_at) = (login.hash.clone(), end(longest(&account), login.created_at, now));
        write(shared, move |db| accounts::seen(db, &key, (now, ends_at))).await?;
    }
    let form = hash(format!("form {token}"));
    Ok(Some(Person { name: account.name, role: account.role, login: login.hash, form: form.into() }))
}

/// When a log-in ends that is used for the last time.
fn end(longest: i64, created_at: Instant, seen_at: Instant) -> Instant {
    created_at.plus(longest).min(seen_at.plus(IDLE))
}

/// How long a log-in of an account holds at most.
fn longest(account: &Account) -> i64 {
    if account.subject.is_empty() { LONGEST } else { EXTERNAL }
}

/// Whether a request that changes something comes from a page of ours, as browsers say.
pub(super) fn is_ours(shared: &Shared, request: &Request) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers say at least where they come from; programs say nothing, and have no form.
    let Some(origin) = text("origin") else { return true };
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let public = shared.config().serve.public_url.clone().unwrap_or_default();
    // By HTTP/2 the host is part of the address.
    let asked = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    Some(host) == asked || origin == public.trim_end_matches('/')
}

/// To the page where one logs in, and then back.
pub(super) fn to_login(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/", |path| path.as_str());
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    Redirect::to(&format!("/login?next={next}")).into_response()
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or(Refusal::LoggedOut)
    }
}

/// The fields of a form that is ours.
pub(crate) struct Fields(BTreeMap<String, String>);

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A value may be a password.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Fields {
    /// A field; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    async fn of(request: Request) -> Result<Self, Refusal> {
        let body = axum::body::to_bytes(request.into_body(), super::LARGEST);
        let body = tokio::time::timeout(FORM_PATIENCE, body).await;
        let body = body.map_err(|_| Refusal::Bad("The form did not arrive in time.".into()))?;
        let body = body.map_err(|_| Refusal::Bad("The form is too large.".into()))?;
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let decoded = |text: &[u8]| {
            let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_encoding::percent_decode(&spaced).decode_utf8_lossy().into_owned()
        };
        let fields = pairs.map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (decoded(&pair[..end]), decoded(pair.get(end + 1..).unwrap_or_default()));
            // Text is kept and shown to others; a password is neither.
            let value = if PASSWORDS.contains(&name.as_str()) { value } else { mask(&value).into_owned() };
            (name, value)
        });
        Ok(Self(fields.collect()))
    }
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let person = request.extensions().get::<Person>().cloned().ok_or(Refusal::LoggedOut)?;
        let fields = Self::of(request).await?;
        if fields.text("form") != person.form.expose() {
            let why = "The form is of an earlier log-in, or not one of ours.".to_owned();
            return Err(Refusal::Bad(why));
        }
        Ok(fields)
    }
}

/// The hash of a password, if it is a good one; or what is wrong with it.
///
/// # Errors
///
/// If it is too short or too long.
pub fn hashed(password: &str) -> Result<Secret, String> {
    passwords::hashed(password)
}

/// Where to go on to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Onward {
    #[serde(default)]
    next: String,
}

impl Onward {
    pub(super) fn of(next: String) -> Self {
        Self { next }
    }

    /// A page of ours.
    pub(super) fn path(&self) -> &str {
        if is_own_path(&self.next) { &self.next } else { "/" }
    }
}

/// Returns `true` if a browser that is sent to that text stays on this host. Browsers drop tabs and line breaks from an
/// address, and read a backslash as a slash; of other control characters no header can be made.
pub(super) fn is_own_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_plain)
}

pub(super) async fn form(State(shared): State<Arc<Shared>>, Query(onward): Query<Onward>) -> super::Page {
    let none = read(&shared, |db| Ok(accounts::list(db)?.is_empty())).await?;
    let none = none && shared.config().openid.is_none();
    Ok(login_form(&shared, None, (onward.path(), none)))
}

fn login_form(shared: &Shared, problem: Option<&str>, (next, none): (&str, bool)) -> Markup {
    let body = html! {
        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
        @if none {
            p.empty {
                "Nobody has an account yet. " code { "sessionwatch serve" }
                " printed a link when it started, by which the first one is made; "
                code { "sessionwatch accounts add NAME" } " does it on the command line."
            }
        }
        form.stack method="post" action="/login" {
            input type="hidden" name="next" value=(next);
            label { "Name" input name="name" autocomplete="username" required autofocus; }
            label {
                "Password"
                input type="password" name="password" autocomplete="current-password" required;
            }
            button { "Log in" }
        }
        @if let Some(openid) = &shared.config().openid {
            p.links { a href={ "/openid/login?next=" (layout::part(next)) } { "Log in with " (openid.label) } }
        }
    };
    layout::bare("Log in", &body)
}

pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Refusal> {
    let (agent, from) = (agent(request.headers()), client(&shared, request.headers(), peer));
    let fields = Fields::of(request).await?;
    // A longer name is nobody's, and would only fill the record.
    let name: String = fields.text("name").chars().take(64).collect();
    let password = fields.0.get("password").cloned().unwrap_or_default();
    let (now, network) = (shared.clock.now(), network_of(from));
    let from = from.to_string();
    let _place = shared.setup.passwords.place(network)?;
    let wanted = (name.clone(), network.to_string());
    let (account, is_known) = read(&shared, move |db| {
        let is_known = accounts::is_known_network(db, &wanted.0, &wanted.1)?;
        Ok((accounts::get(db, &wanted.0)?, is_known))
    })
    .await?;
    let applicant = Applicant { account: &name, network, is_known };
    let attempt = shared.setup.attempts.log_in(&applicant, now).ok_or(Refusal::TooMany)?;
    // Whoever has no password takes as long as nobody.
    let hashed = account.as_ref().map(|account| account.password.clone()).unwrap_or_default();
    let right = match shared.setup.passwords.verify(password.into(), hashed).await {
        Ok(right) => right,
        Err(refusal) => {
            attempt.take_back();
            return Err(refusal);
        }
    };
    let onward = Onward { next: fields.text("next").to_owned() };
    let Some(account) = account.filter(|_| right) else {
        let detail = json!({ "address": from }).to_string();
        write(&shared, move |db| audit::add(db, (&name, "login-failed"), &detail, now)).await?;
        let page = login_form(&shared, Some("The name or the password is wrong."), (onward.path(), false));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    attempt.take_back();
    let cookie = begin(&shared, (account.name, LONGEST), (from, agent)).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(onward.path())).into_response())
}

pub(super) fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.chars().take(200).collect()
}

/// Begins a log-in under a new token: the cookie. What has passed its time ends.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    (account, longest): (String, i64),
    (address, agent): (String, String),
) -> Result<String, Refusal> {
    let (token, now) = (random(), shared.clock.now());
    let (hash, ends_at) = (hash(&token), end(longest, now, now));
    let network = address.parse().ok().map(|address| network_of(address).to_string());
    let login = Login { hash, account, created_at: now, seen_at: now, ends_at, address, agent };
    write(shared, move |db| {
        accounts::expire(db, now)?;
        accounts::begin(db, &login)?;
        if let Some(network) = &network {
            accounts::note_network(db, (&login.account, network), now)?;
        }
        let detail = json!({ "address": login.address }).to_string();
        audit::add(db, (&login.account, "login"), &detail, now)
    })
    .await?;
    Ok(set_cookie(shared, cookie_name(shared), (&token, longest / SECOND)))
}

pub(super) async fn logout(
    State(shared): State<Arc<Shared>>,
    person: Person,
    _fields: Fields,
) -> Result<Response, Refusal> {
    let now = shared.clock.now();
    write(&shared, move |db| {
        if accounts::end(db, &person.name, &person.login)? {
            audit::add(db, (&person.name, "logout"), "{}", now)?;
        }
        Ok(())
    })
    .await?;
    shared.happened(Event::LoginsEnded);
    let gone = set_cookie(&shared, cookie_name(&shared), ("", 0));
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response())
}

pub(super) async fn setup_form(State(shared): State<Arc<Shared>>, Path(token): Path<String>) -> super::Page {
    if !is_link(&shared, &token).await? {
        return Err(used());
    }
    let body = html! {
        p { "This is the first account, with the role admin. The link holds once." }
        form.stack method="post" action={ "/setup/" (token) } {
            label { "Name" input name="name" autocomplete="username" required autofocus pattern="[A-Za-z0-9._@+\\-]{1,64}"; }
            label {
                "Password (at least " (passwords::MIN_PASSWORD_LENGTH) " characters; a sentence is a good one)"
                input type="password" name="password" autocomplete="new-password" required minlength=(passwords::MIN_PASSWORD_LENGTH);
            }
            button { "Make the account" }
        }
    };
    Ok(layout::bare("Set up", &body))
}

/// Returns `true` while a link makes the first account: it is the one that was printed, and nobody has had an account since.
async fn is_link(shared: &Arc<Shared>, token: &str) -> Result<bool, Refusal> {
    let Some(offered_at) = shared.setup.offered_at(token) else { return Ok(false) };
    read(shared, move |db| accounts::was_any(db, offered_at)).await.map(|was_any| !was_any)
}

fn used() -> Refusal {
    Refusal::NotFound("This link was used, or is of an earlier start: there is a new one at the next start while nobody has an account.".into())
}

pub(super) async fn set_up(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    if !is_link(&shared, &token).await? {
        return Err(used());
    }
    let (agent, from) = (agent(request.headers()), client(&shared, request.headers(), peer));
    let fields = Fields::of(request).await?;
    let account = made(&shared, &fields, Role::Admin).await?;
    let (name, now) = (account.name.clone(), shared.clock.now());
    let offered_at = shared.setup.withdraw(&token).ok_or_else(used)?;
    let is_first = write(&shared, move |db| {
        // Another process may have made one meanwhile.
        let is_first = !accounts::was_any(db, offered_at)?;
        if is_first {
            add(db, &account, (&account.name, now))?;
        }
        Ok(is_first)
    });
    if !is_first.await? {
        return Err(used());
    }
    let cookie = begin(&shared, (name, LONGEST), (from.to_string(), agent)).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

/// An account as a form says it.
pub(super) async fn made(shared: &Shared, fields: &Fields, role: Role) -> Result<Account, Refusal> {
    let password = fields.0.get("password").cloned().unwrap_or_default();
    of(shared, (fields.text("name").to_owned(), password), role).await
}

/// An account of a name and a password.
pub(super) async fn of(
    shared: &Shared,
    (name, password): (String, String),
    role: Role,
) -> Result<Account, Refusal> {
    if !is_name(&name) {
        return Err(Refusal::Bad("A name has up to 64 letters, digits, and . _ @ + -".into()));
    }
    let password = shared.setup.passwords.hash(password.into()).await?;
    Ok(Account { name, role, password, subject: String::new(), created_at: shared.clock.now() })
}

/// Whether something can be the name of an account.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | '+' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// Keeps an account, and notes who made it.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(
    db: crate::store::db::Db<'_>,
    account: &Account,
    (by, now): (&str, Instant),
) -> Result<(), crate::store::StoreError> {
    accounts::put(db, account)?;
    let detail = json!({ "account": account.name, "role": account.role.name() }).to_string();
    audit::add(db, (by, "account-added"), &detail, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_only_to_pages_of_ours() {
        let to = |next: &str| Onward { next: next.to_owned() }.path().to_owned();
        assert_eq!(to("/alerts?x=1"), "/alerts?x=1");
        for evil in ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:x"] {
            assert_eq!(to(evil), "/", "{evil}");
        }
        for control in
            (0..=0x20_u8).chain([0x7f]).map(char::from).chain(['\u{85}', '\u{a0}', '\u{2028}', '\\'])
        {
            for evil in [
                format!("/{control}/evil.example"),
                format!("{control}//evil.example"),
                format!("/a{control}b"),
            ] {
                assert_eq!(to(&evil), "/", "{evil:?}");
            }
        }
    }

    #[test]
    fn an_address_is_believed_as_far_as_proxies_are_trusted() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into();
        let from = |peer: &str, said: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", said.parse().unwrap());
            forwarded(&trusted, &headers, peer.parse().unwrap()).to_string()
        };
        assert_eq!(from("10.0.0.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(from("::ffff:10.0.0.1", "203.0.113.7:4711"), "203.0.113.7");
        assert_eq!(from("::1", "6.6.6.6, 203.0.113.7, 10.2.3.4"), "203.0.113.7");
        // Whoever is not trusted can say what they like.
        assert_eq!(from("203.0.113.9", "127.0.0.1"), "203.0.113.9");
        assert_eq!(from("10.0.0.1", "203.0.113.7, nonsense"), "10.0.0.1");
        assert_eq!(from("10.0.0.1", "10.0.0.2"), "10.0.0.2");
    }

    #[test]
    fn a_link_holds_once_and_only_the_right_one() {
        let (setup, at) = (Setup::default(), Instant::from_micros(SECOND));
        let first = setup.offer(at.unwrap());
        assert!(setup.offered_at(&first) == at && setup.offered_at("x").is_none());
        assert!(setup.withdraw("x").is_none() && setup.withdraw(&first) == at);
        assert!(setup.withdraw(&first).is_none());
    }
}

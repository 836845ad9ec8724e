//! Logging in by a provider of identities (OpenID Connect): there and back. Everything that has to be known on the way
//! back is in a cookie of the browser that asked, so that any watch can take the answer.

pub mod provider;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;

use self::provider::{Claims, Doubt, Pending, claim};
use super::{
    Refusal,
    access::{self, Onward},
    attempts::network_of,
    write,
};
use crate::{
    config::openid::OpenId,
    daemon::Shared,
    secret::Secret,
    store::{
        accounts::{self, Account, Role},
        audit,
    },
};

/// How long one may take to log in at the provider, in seconds.
const PATIENCE: i64 = 600;

impl From<Doubt> for Refusal {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Away(why) => Self::Away(format!("Nobody can be logged in by the provider now: {why}.")),
            Doubt::Unbelievable(why) => Self::Bad(format!("Nobody is logged in: {why}.")),
        }
    }
}

/// The provider that is configured.
fn configured(shared: &Shared) -> Result<OpenId, Refusal> {
    let found = shared.config().openid.clone();
    found.ok_or_else(|| {
        Refusal::NotFound("No provider of identities is configured: log in with a password.".into())
    })
}

/// Where the provider sends people back to.
fn back(shared: &Shared) -> String {
    let public = shared.config().serve.public_url.clone().unwrap_or_default();
    format!("{}/openid/callback", public.trim_end_matches('/'))
}

fn cookie_name(shared: &Shared) -> &'static str {
    if access::is_secure(shared) { "__Host-sessionwatch-openid" } else { "sessionwatch-openid" }
}

pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    Query(onward): Query<Onward>,
) -> Result<Response, Refusal> {
    let config = configured(&shared)?;
    let provider = shared.setup.openid.provider(&config).await?;
    let [state, nonce, verifier] = [(); 3].map(|()| access::random());
    let pending = Pending { state, nonce, verifier, next: onward.path().chars().take(500).collect() };
    let kept = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&pending).unwrap_or_default());
    let cookie = access::set_cookie(&shared, cookie_name(&shared), (&kept, PATIENCE));
    let to = provider.question(&pending, &back(&shared));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response())
}

/// What the provider sends people back with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    code: String,
    state: String,
    error: String,
    iss: Option<String>,
}

pub(super) async fn callback(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(sent): Query<Sent>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let config = configured(&shared)?;
    let now = shared.clock.now();
    let from = access::client(&shared, &headers, peer);
    let attempt = shared.setup.attempts.log_in_by_provider(network_of(from), now).ok_or(Refusal::TooMany)?;
    let from = from.to_string();
    let outcome = arrived(&shared, &config, (&sent, &headers)).await;
    let (name, next) = match outcome {
        Ok(found) => found,
        Err(refusal) => {
            // That the provider is away is nobody's fault.
            if matches!(refusal, Refusal::Away(_) | Refusal::Store(_)) {
                attempt.take_back();
            }
            let why = refusal.clone().parts().1;
            let detail = json!({ "address": from, "by": config.issuer, "why": why }).to_string();
            write(&shared, move |db| audit::add(db, ("somebody", "login-failed"), &detail, now)).await?;
            return Err(refusal);
        }
    };
    attempt.take_back();
    let agent = access::agent(&headers);
    let cookie = access::begin(&shared, (name, access::EXTERNAL), (from, agent)).await?;
    let gone = access::set_cookie(&shared, cookie_name(&shared), ("", 0));
    let cookies = AppendHeaders([(header::SET_COOKIE, cookie), (header::SET_COOKIE, gone)]);
    Ok((cookies, Redirect::to(&next)).into_response())
}

/// The account of who came back from the provider, and where they go on to.
async fn arrived(
    shared: &Arc<Shared>,
    config: &OpenId,
    (sent, headers): (&Sent, &HeaderMap),
) -> Result<(String, String), Refusal> {
    let kept =
        access::cookie(headers, cookie_name(shared)).and_then(|kept| URL_SAFE_NO_PAD.decode(kept).ok());
    let pending: Option<Pending> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
    let foreign =
        || Refusal::Bad("This log-in was not begun in this browser, or took too long: begin anew.".into());
    let pending = pending.filter(|pending| pending.state == sent.state && !sent.state.is_empty());
    let pending = pending.ok_or_else(foreign)?;
    let provider = shared.setup.openid.provider(config).await?;
    if !provider.is_of(sent.iss.as_deref()) {
        return Err(Doubt::Unbelievable("the answer is of another provider").into());
    }
    if !sent.error.is_empty() {
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
        let error: String = sent.error.chars().filter(plain).take(60).collect();
        return Err(Refusal::Bad(format!("The provider says: {error}.")));
    }
    let now = shared.clock.now();
    let claims = provider.identify((&sent.code, &back(shared)), &pending, now).await?;
    let name = keep(shared, account(config, &claims, now)?, provider::role(config, &claims)).await?;
    Ok((name, Onward::of(pending.next).path().to_owned()))
}

/// The account that claims are of, with the least role.
fn account(
    config: &OpenId,
    claims: &Claims,
    now: sessionwatch_core::instant::Instant,
) -> Result<Account, Refusal> {
    let text = |name: &str| claim(claims, name).and_then(serde_json::Value::as_str);
    let subject = text("sub").filter(|subject| !subject.is_empty());
    let subject = subject.ok_or_else(|| Refusal::Bad("The provider does not say who that is.".into()))?;
    let name = text(&config.name_claim).filter(|name| access::is_name(name));
    let name = name.ok_or_else(|| {
        let claim = &config.name_claim;
        Refusal::Bad(format!("The claim `{claim}` holds no name of up to 64 letters, digits, and . _ @ + -"))
    })?;
    let unsure = claims.get("email_verified") == Some(&serde_json::Value::Bool(false));
    if config.name_claim == "email" && unsure {
        return Err(Refusal::Bad("The provider has not verified that address.".into()));
    }
    let subject = format!("{} {subject}", config.issuer);
    let (name, password) = (name.to_owned(), Secret::default());
    Ok(Account { name, role: Role::Viewer, password, subject, created_at: now })
}

/// What the store says to an account that a provider vouches for.
enum Kept {
    As(String),
    Taken,
    NoRole,
}

/// Makes the account of who logged in, or gives it the role that the provider says: its name. Whoever has no role any more
/// has no account any more.
async fn keep(shared: &Arc<Shared>, account: Account, role: Option<Role>) -> Result<String, Refusal> {
    let now = shared.clock.now();
    let kept = write(shared, move |db| {
        let known = accounts::of_subject(db, &account.subject)?;
        let Some(role) = role else {
            if let Some(known) = known {
                let detail =
                    json!({ "account": known.name, "why": "the provider gives no role" }).to_string();
                accounts::remove(db, &known.name)?;
                audit::add(db, (&known.name, "account-removed"), &detail, now)?;
            }
            return Ok(Kept::NoRole);
        };
        if known.is_none() && accounts::get(db, &account.name)?.is_some() {
            return Ok(Kept::Taken);
        }
        let before = known.as_ref().map(|known| known.role);
        // Whoever is called otherwise now stays who they were.
        let account = Account { role, ..known.unwrap_or_else(|| account.clone()) };
        if before != Some(role) {
            access::add(db, &account, (&account.name, now))?;
        }
        Ok(Kept::As(account.name))
    });
    match kept.await? {
        Kept::As(name) => Ok(name),
        Kept::NoRole => Err(Refusal::Forbidden),
        Kept::Taken => Err(Refusal::Conflict(
            "There is an account of that name already, which belongs to somebody else or has a password: an admin can remove it.".into(),
        )),
    }
}

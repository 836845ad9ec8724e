//! Tokens of programs: made, shown once, and ended.

use axum::{extract::State, response::Redirect};
use maud::{Markup, html};
use serde_json::json;
use sessionwatch_core::instant::{DAY, Instant};
use std::sync::Arc;

use super::{
    Page, Refusal,
    access::{self, Fields, Person},
    layout, write,
};
use crate::{
    daemon::Shared,
    secret::Secret,
    store::{
        StoreError,
        accounts::{self, Role},
        audit,
        db::Db,
        tokens::{self, Scope, Token},
    },
};

/// The most days for which a token holds, and the usual number.
pub const LONGEST: u32 = 366;
/// For how many days a token usually holds.
pub const USUAL: u32 = 90;
/// What every token begins with, so that one that leaked is recognised.
const PREFIX: &str = "swt_";

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The account that it acts for.
    pub account: String,
    /// What it is called.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// For how many days it holds.
    pub days: u32,
}

/// A new token, and what nobody is told again.
#[must_use]
pub fn made(wish: Wish, now: Instant) -> (Token, Secret) {
    let secret = format!("{PREFIX}{}", access::random());
    let hash = access::hash(&secret);
    let Wish { account, label, mut scopes, days } = wish;
    scopes.sort_unstable();
    scopes.dedup();
    let (id, expires_at) = (hash[..12].to_owned(), now.plus(i64::from(days) * DAY));
    (Token { id, hash, account, label, scopes, created_at: now, expires_at, seen_at: None }, secret.into())
}

/// What came of a token that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Added,
    /// There is no such account.
    NoAccount,
    /// The role of the account, which is too low for this scope. A token that held nothing now would hold more once the role is raised.
    BeyondRole(Role, Scope),
}

/// Keeps a token, and notes who made it, unless its account is missing or may do less than its scopes.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(db: Db<'_>, token: &Token, (by, now): (&str, Instant)) -> Result<Outcome, StoreError> {
    let Some(account) = accounts::get(db, &token.account)? else { return Ok(Outcome::NoAccount) };
    if let Some(scope) = token.scopes.iter().find(|scope| scope.role() > account.role) {
        return Ok(Outcome::BeyondRole(account.role, *scope));
    }
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
    let detail =
        json!({ "token": token.id, "account": token.account, "label": token.label, "scopes": scopes });
    tokens::add(db, token)?;
    audit::add(db, (by, "token-added"), &detail.to_string(), now)?;
    Ok(Outcome::Added)
}

/// Ends a token of an account, or of anybody: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn remove(
    db: Db<'_>,
    (account, id): (Option<&str>, &str),
    (by, now): (&str, Instant),
) -> Result<bool, StoreError> {
    if !tokens::remove(db, account, id)? {
        return Ok(false);
    }
    audit::add(db, (by, "token-removed"), &json!({ "token": id }).to_string(), now)?;
    Ok(true)
}

/// Whether something can be what a token is called.
#[must_use]
pub fn is_label(label: &str) -> bool {
    (1..=64).contains(&label.chars().count()) && !label.contains(char::is_control) && label.trim() == label
}

/// Makes a token: what is known of it, and itself.
pub(super) async fn make(shared: &Arc<Shared>, wish: Wish, by: String) -> Result<(Token, Secret), Refusal> {
    let now = shared.clock.now();
    let (token, secret) = made(wish, now);
    let kept = token.clone();
    match write(shared, move |db| add(db, &kept, (&by, now))).await? {
        Outcome::Added => Ok((token, secret)),
        Outcome::NoAccount => Err(Refusal::NotFound("There is no such account.".into())),
        Outcome::BeyondRole(..) => Err(Refusal::Forbidden),
    }
}

/// Ends one of an account's tokens.
pub(super) async fn end(
    shared: &Arc<Shared>,
    (account, id): (String, String),
    by: String,
) -> Result<(), Refusal> {
    let now = shared.clock.now();
    if write(shared, move |db| remove(db, (Some(&account), &id), (&by, now))).await? {
        Ok(())
    } else {
        Err(Refusal::NotFound("There is no such token, or it was removed already.".into()))
    }
}

/// One's own tokens.
pub(super) fn section(person: &Person, all: &[Token], now: Instant) -> Markup {
    let scopes = |token: &Token| token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    html! {
        section aria-labelledby="tokens" {
            h2 id="tokens" { "Your tokens for programs" }
            @if all.is_empty() { p.empty { "A program that asks " code { "/api/v1" } " carries a token. It acts in your name, and may do no more than you." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "name" } th scope="col" { "for" } th scope="col" { "used last" } th scope="col" { "ends" } th scope="col" { "" } } }
                    tbody { @for token in all { tr {
                        td { (layout::said(&token.label)) } td { (scopes(token)) }
                        td { @if let Some(at) = token.seen_at { (layout::when(at, now)) } @else { "never" } }
                        td { @if token.expires_at <= now { "has ended" } @else { (crate::clock::readable(token.expires_at)) } }
                        td { form.inline method="post" action="/settings/tokens/remove" { (layout::form_field(person)) input type="hidden" name="token" value=(token.id); button.quiet { "Remove" } } }
                    } } }
                } }
            }
            form.filter method="post" action="/settings/tokens" {
                (layout::form_field(person))
                label { "Name" input name="label" required maxlength="64" autocomplete="off"; }
                fieldset {
                    legend { "What it is for" }
                    @for scope in Scope::ALL.into_iter().filter(|scope| scope.role() <= person.role) {
                        label.check { input type="checkbox" name=(scope.name()) value="yes" checked[scope == Scope::Read]; " " (scope.name()) }
                    }
                }
                label { "Days that it holds" input name="days" type="number" min="1" max=(LONGEST) value=(USUAL); }
                button { "Make a token" }
            }
            p.dim { "The addresses are described at " a href="/api/v1/openapi.json" { "/api/v1/openapi.json" } "." }
        }
    }
}

pub(super) async fn make_one(State(shared): State<Arc<Shared>>, person: Person, fields: Fields) -> Page {
    let label = fields.text("label").to_owned();
    if !is_label(&label) {
        return Err(Refusal::Bad("A token has a name of up to 64 characters.".into()));
    }
    let days = fields.text("days").parse().ok().filter(|days| (1..=LONGEST).contains(days));
    let days = days.ok_or_else(|| Refusal::Bad(format!("A token holds for 1 to {LONGEST} days.")))?;
    let scopes: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| !fields.text(scope.name()).is_empty()).collect();
    if scopes.is_empty() {
        return Err(Refusal::Bad("Say what the token is for.".into()));
    }
    if scopes.iter().any(|scope| scope.role() > person.role) {
        return Err(Refusal::Forbidden);
    }
    let wish = Wish { account: person.name.clone(), label, scopes, days };
    let (token, secret) = make(&shared, wish, person.name.clone()).await?;
    let body = html! {
        p { "This is the token “" (layout::said(&token.label)) "”. It is shown once, now:" }
        pre.draft tabindex="0" { (secret.expose()) }
        p { "Programs send it as " code { "Authorization: Bearer " (PREFIX) "…" } ", and can do what you may until " (crate::clock::readable(token.expires_at)) "." }
        p { a href="/settings" { "Back" } }
    };
    Ok(layout::page(&person, ("A new token", "/settings"), false, &body))
}

pub(super) async fn remove_one(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let of = (person.name.clone(), fields.text("token").to_owned());
    end(&shared, of, person.name).await?;
    Ok(Redirect::to("/settings"))
}

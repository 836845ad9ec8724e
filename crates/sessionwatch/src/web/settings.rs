//! Settings: one's own account and log-ins, accounts, channels, and the configuration as it is used.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde_json::json;

use super::{
    Page, Refusal,
    access::{self, Fields, Person},
    layout, read, tokens, write,
};
use crate::{
    daemon::{Event, Shared},
    notify,
    store::{
        accounts::{self, Account, Login, Role},
        audit, tokens as kept,
    },
};

pub(super) async fn page(State(shared): State<Arc<Shared>>, person: Person) -> Page {
    let name = person.name.clone();
    let (logins, all, programs) = read(&shared, move |db| {
        Ok((accounts::logins(db, &name)?, accounts::list(db)?, kept::list(db, Some(&name))?))
    })
    .await?;
    let now = shared.clock.now();
    let body = html! {
        (own(&person, &logins, now))
        (tokens::section(&person, &programs, now))
        @if person.role == Role::Admin { (people(&person, &all, now)) (channels(&shared, &person)) }
        (configuration(&shared))
    };
    Ok(layout::page(&person, ("Settings", "/settings"), false, &body))
}

fn own(person: &Person, logins: &[Login], now: sessionwatch_core::instant::Instant) -> Markup {
    html! {
        section aria-labelledby="own" {
            h2 id="own" { "Your log-ins" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "from" } th scope="col" { "with" } th scope="col" { "began" } th scope="col" { "used last" } th scope="col" { "" } } }
                tbody { @for login in logins { tr {
                    td { (layout::said(&login.address)) } td { (layout::said(&login.agent)) }
                    td { (layout::when(login.created_at, now)) } td { (layout::when(login.seen_at, now)) }
                    td { @if login.hash == person.login { "this one" } @else {
                        form.inline method="post" action="/settings/logins/end" { (layout::form_field(person)) input type="hidden" name="login" value=(login.hash); button.quiet { "End it" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/password" {
                (layout::form_field(person))
                // By this a browser knows whose password it is.
                input type="text" name="name" value=(person.name) autocomplete="username" hidden;
                label { "Present password" input type="password" name="password" autocomplete="current-password" required; }
                label { "New password" input type="password" name="new" autocomplete="new-password" required minlength="15"; }
                button { "Change it" }
            }
            p.dim { "A changed password ends every other log-in." }
        }
    }
}

fn people(person: &Person, all: &[Account], now: sessionwatch_core::instant::Instant) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 id="accounts" { "Accounts" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "name" } th scope="col" { "role" } th scope="col" { "since" } th scope="col" { "" } } }
                tbody { @for account in all { tr {
                    td { (account.name) } td { (account.role.name()) } td { (layout::when(account.created_at, now)) }
                    td { @if account.name != person.name {
                        form.inline method="post" action="/settings/accounts/remove" { (layout::form_field(person)) input type="hidden" name="name" value=(account.name); button.quiet { "Remove" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/accounts" {
                (layout::form_field(person))
                label { "Name" input name="name" required pattern="[A-Za-z0-9._@+\\-]{1,64}" autocomplete="off"; }
                label { "Role" select name="role" { option value="viewer" { "viewer: looks" } option value="responder" { "responder: also acts" } option value="admin" { "admin: also decides who may" } } }
                label { "Password" input type="password" name="password" autocomplete="new-password" required minlength="15"; }
                button { "Add" }
            }
        }
    }
}

fn channels(shared: &Shared, person: &Person) -> Markup {
    let config = shared.config();
    html! {
        section aria-labelledby="channels" {
            h2 id="channels" { "Channels" }
            @if config.serve.channels.is_empty() { p.empty { "Nobody is told of anything yet: " code { "[[channel]]" } " in the configuration names ways to tell people." } }
            @else { ul.list { @for channel in &config.serve.channels { li {
                (channel.name)
                form.inline method="post" action="/settings/channels/test" { (layout::form_field(person)) input type="hidden" name="channel" value=(channel.name); button.quiet { "Send a test message" } }
            } } } }
        }
    }
}

/// What holds, without anything secret.
fn configuration(shared: &Shared) -> Markup {
    let config = shared.config();
    html! {
        section aria-labelledby="configuration" {
            h2 id="configuration" { "Configuration in use" }
            dl.facts {
                dt { "File" } dd { (config.file.as_ref().map_or("the defaults".to_owned(), |file| file.display().to_string())) }
                @for target in &config.targets { dt { "Target " (target.name) } dd { code { (target.address.to_string()) } } }
                dt { "History" } dd { (config.serve.keep_us / sessionwatch_core::instant::DAY) " days" }
                dt { "Checks that run" } dd { (config.rules.ids().filter(|id| config.rules.enabled(id)).collect::<Vec<_>>().join(", ")) }
                dt { "Sources of logs" } dd { (config.logs.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ")) }
            }
        }
    }
}

pub(super) async fn password(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let name = person.name.clone();
    let account = read(&shared, move |db| accounts::get(db, &name)).await?.ok_or(Refusal::LoggedOut)?;
    let (present, new) = (fields.text("password").to_owned(), fields.text("new").to_owned());
    let (now, passwords) = (shared.clock.now(), &shared.setup.passwords);
    let attempt = shared.setup.attempts.change_password(&account.name, now).ok_or(Refusal::TooMany)?;
    if !passwords.verify(present.into(), account.password.clone()).await? {
        return Err(Refusal::Bad("The present password is another one.".into()));
    }
    attempt.take_back();
    let password = passwords.hash(new.into()).await?;
    let login = person.login.clone();
    let changed = write(&shared, move |db| {
        // Somebody may have removed the account meanwhile, or changed its role.
        let Some(account) = accounts::get(db, &account.name)? else { return Ok(false) };
        let account = Account { password: password.clone(), ..account };
        accounts::put(db, &account)?;
        audit::add(db, (&account.name, "password"), "{}", now)?;
        for other in accounts::logins(db, &account.name)?.iter().filter(|other| other.hash != login) {
            accounts::end(db, &account.name, &other.hash)?;
        }
        Ok(true)
    });
    let is_changed = changed.await?;
    shared.happened(Event::LoginsEnded);
    if is_changed { Ok(Redirect::to("/settings")) } else { Err(Refusal::LoggedOut) }
}

/// Ends a log-in of an account.
pub(super) async fn end(
    shared: &Arc<Shared>,
    (account, login): (String, String),
    by: String,
) -> Result<(), Refusal> {
    let now = shared.clock.now();
    let ended = write(shared, move |db| {
        if !accounts::end(db, &account, &login)? {
            return Ok(false);
        }
        audit::add(db, (&by, "login-ended"), "{}", now)?;
        Ok(true)
    });
    let over = || Refusal::NotFound("There is no such log-in, or it has ended already.".into());
    if !ended.await? {
        return Err(over());
    }
    shared.happened(Event::LoginsEnded);
    Ok(())
}

pub(super) async fn end_login(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let of = (person.name.clone(), fields.text("login").to_owned());
    end(&shared, of, person.name).await?;
    Ok(Redirect::to("/settings"))
}

/// Keeps a new account.
pub(super) async fn admit(shared: &Arc<Shared>, account: Account, by: String) -> Result<(), Refusal> {
    let now = shared.clock.now();
    let added = write(shared, move |db| {
        if accounts::get(db, &account.name)?.is_some() {
            return Ok(false);
        }
        access::add(db, &account, (&by, now))?;
        Ok(true)
    });
    if added.await? { Ok(()) } else { Err(Refusal::Conflict("There is an account of that name.".into())) }
}

pub(super) async fn add_account(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let role =
        Role::parse(fields.text("role")).ok_or_else(|| Refusal::Bad("There is no such role.".into()))?;
    let account = access::made(&shared, &fields, role).await?;
    admit(&shared, account, person.name).await?;
    Ok(Redirect::to("/settings"))
}

/// Removes an account; not one's own.
pub(super) async fn dismiss(
    shared: &Arc<Shared>,
    name: String,
    (own, by): (&str, String),
) -> Result<(), Refusal> {
    let now = shared.clock.now();
    if name == own {
        return Err(Refusal::Conflict("Another admin has to remove your account.".into()));
    }
    let removed = write(shared, move |db| {
        if !accounts::remove(db, &name)? {
            return Ok(false);
        }
        audit::add(db, (&by, "account-removed"), &json!({ "account": name }).to_string(), now)?;
        Ok(true)
    });
    if !removed.await? {
        return Err(Refusal::NotFound("There is no such account.".into()));
    }
    shared.happened(Event::LoginsEnded);
    Ok(())
}

pub(super) async fn remove_account(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let name = fields.text("name").to_owned();
    dismiss(&shared, name, (&person.name.clone(), person.name)).await?;
    Ok(Redirect::to("/settings"))
}

/// Sends a test message over a channel: what went wrong.
pub(super) async fn try_out(shared: &Arc<Shared>, name: &str, by: String) -> Result<Vec<String>, Refusal> {
    let (now, config) = (shared.clock.now(), shared.config());
    let channel = config.serve.channels.iter().find(|channel| channel.name == name);
    let channel = channel.ok_or_else(|| Refusal::NotFound("There is no such channel.".into()))?;
    let problems = notify::trial(channel, now).await;
    let detail = json!({ "channel": name, "accepted": problems.is_empty() }).to_string();
    write(shared, move |db| audit::add(db, (&by, "channel-tested"), &detail, now)).await?;
    Ok(problems)
}

pub(super) async fn test_channel(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Response, Refusal> {
    let name = fields.text("channel");
    let problems = try_out(&shared, name, person.name.clone()).await?;
    let body = html! {
        @if problems.is_empty() { p.verdict.healthy { (layout::mark("healthy")) " " (name) " accepted a test message." } }
        @else { p.problem role="alert" { (name) " did not accept a test message: " (problems.join("; ")) } }
        p { a href="/settings" { "Back" } }
    };
    Ok(layout::page(&person, ("A test message", "/settings"), false, &body).into_response())
}

//! Ending sessions and putting them back: a plan first, which is looked at, and then exactly that plan.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use axum::{
    extract::{Path, State},
    response::Redirect,
};
use maud::{Markup, html};
use sessionwatch_rules::instant::{HOUR, Instant};

use super::{
    Page, Refusal,
    access::{Fields, Person},
    layout, read, target_of,
};
use crate::{
    actions::{
        self, ActError, Applied, Consent, Context, Control, Plan, Selection, error::Reason, keys, restoring,
    },
    archive::sealing::Identity,
    clock,
    config::{Config, Target},
    daemon::Shared,
    store::{
        accounts::Role,
        archived::{self, Holding},
        plans,
    },
};

/// What is being carried out, and what came of it.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<BTreeMap<String, Job>>);

#[derive(Clone, Debug)]
struct Job {
    control: Arc<Control>,
    /// What came of it, in words; nothing while it goes on.
    outcome: Option<Result<String, String>>,
}

impl Jobs {
    fn get(&self, plan: &str) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(plan).cloned()
    }

    /// Begins one, if it is not under way.
    fn begin(&self, plan: &str) -> Option<Arc<Control>> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.get(plan).is_some_and(|job| job.outcome.is_none()) {
            return None;
        }
        let control = Arc::new(Control::default());
        jobs.insert(plan.to_owned(), Job { control: Arc::clone(&control), outcome: None });
        Some(control)
    }

    fn end(&self, plan: &str, outcome: Result<String, String>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get_mut(plan) {
            job.outcome = Some(outcome);
        }
    }
}

/// Everything that acting needs, for a thread of its own.
#[derive(Clone)]
struct Desk {
    shared: Arc<Shared>,
    config: Arc<Config>,
    target: Target,
    person: String,
}

impl Desk {
    fn context(&self) -> Context<'_> {
        Context {
            config: &self.config,
            target: &self.target,
            store: &self.shared.store,
            clock: &self.shared.clock,
            actor: &self.person,
        }
    }

    fn of(shared: &Arc<Shared>, target: Target, person: &Person) -> Self {
        Self { shared: Arc::clone(shared), config: shared.config(), target, person: person.name.clone() }
    }
}

/// Does something on a thread and a runtime of its own, as acting needs it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce(&tokio::runtime::Runtime) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        Some(work(&runtime))
    });
    let refused = || Refusal::Store("the system refuses what that needs".into());
    done.await.ok().flatten().ok_or_else(refused)
}

fn words(error: &ActError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}")
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    person: Person,
) -> Page {
    let config = shared.config();
    let target = match config.targets.first() {
        Some(first) if name == "-" => first.clone(),
        _ => target_of(&shared, &name)?,
    };
    let now = shared.clock.now();
    let (held, made) = read(&shared, |db| Ok((archived::holdings(db)?, plans::list(db)?))).await?;
    let mine = |plan: &&plans::Plan| plan.target == target.name && plan.state != plans::State::Making;
    let made: Vec<Plan> = made.iter().filter(mine).cloned().filter_map(Plan::read).collect();
    let held: Vec<&Holding> = held.iter().filter(|holding| holding.target == target.name).collect();
    let body = html! {
        nav.periods aria-label="Target" {
            @for one in &config.targets { a href={ "/cleanup/" (layout::part(&one.name)) } aria-current=[(one.name == target.name).then_some("true")] { (one.name) } }
        }
        @if person.role >= Role::Responder { (wishes(&person, &target)) }
        section aria-labelledby="plans" {
            h2 id="plans" { "Plans" }
            @if made.is_empty() { p.empty { "No plan was made. A plan names rows and touches nothing; only carrying it out does." } }
            @else { ul.list { @for plan in made.iter().rev().take(20) { li {
                a href={ "/plans/" (plan.kept.id) } { (plan.selection.name()) } ": " (plan.kept.rows) " row(s), " (plan.kept.state.name())
                span.dim { ", " (layout::said(&plan.kept.made_by)) " " (layout::when(plan.kept.made_at, now)) }
            } } } }
        }
        (archive(&person, &held, now))
    };
    Ok(layout::page(&person, (&format!("Clean-up of {}", target.name), "/cleanup/"), false, &body))
}

/// What can be planned.
fn wishes(person: &Person, target: &Target) -> Markup {
    let action = format!("/cleanup/{}", layout::part(&target.name));
    let wish = |kind: &str, label: &str, field: Markup| {
        html! {
            form.filter method="post" action=(action) {
                (layout::form_field(person)) input type="hidden" name="kind" value=(kind);
                (field) button { (label) }
            }
        }
    };
    html! {
        section aria-labelledby="wishes" {
            h2 id="wishes" { "Make a plan" }
            p.dim { "A plan shows exactly which rows it would touch." }
            (wish("expired", "Plan to remove expired rows", html! { label { "Ended longer ago than (hours)" input name="hours" type="number" min="1" max="8760" value="24"; } }))
            (wish("duplicates", "Plan to end shared tokens", html! {}))
            (wish("orphaned", "Plan to remove orphans", html! {}))
            (wish("excess", "Plan to end what is too much", html! { label { "Sessions that each user keeps" input name="keep" type="number" min="1" max="1000" value="5"; } }))
            (wish("user", "Plan to end one user's log-ins", html! { label { "User" input name="user" required maxlength="200"; } }))
            (wish("session", "Plan to end one session", html! { label { "Row id, or 8 characters of the token" input name="session" required maxlength="200"; } }))
            (wish("all", "Plan to end everybody's log-ins", html! {}))
        }
    }
}

fn archive(person: &Person, held: &[&Holding], now: Instant) -> Markup {
    html! {
        section aria-labelledby="archive" {
            h2 id="archive" { "Archive" }
            @if held.is_empty() { p.empty { "Nothing is archived. What a plan removes is sealed here first, and can be put back." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "plan" } th scope="col" { "rows" } th scope="col" { "put back" } th scope="col" { "removed" } th scope="col" { "kept until" } th scope="col" { "" } } }
                    tbody { @for holding in held { tr {
                        td { a href={ "/plans/" (holding.plan) } { (holding.plan) } }
                        td.number { (holding.rows) } td.number { (holding.restored) }
                        td { (layout::when(holding.at, now)) } td { (clock::readable(holding.purge_at)) }
                        td { @if person.role >= Role::Responder && holding.restored < holding.rows {
                            form.inline method="post" action={ "/archive/" (holding.plan) "/restore" } { (layout::form_field(person)) button.quiet { "Plan to put back" } }
                        } }
                    } } }
                } }
            }
        }
    }
}

/// What a form asks for.
fn selection(fields: &Fields) -> Result<Selection, Refusal> {
    let number = |name: &str, most: i64| {
        let number = fields.text(name).parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| Refusal::Bad(format!("“{name}” is a number from 1 to {most}.")))
    };
    let text = |name: &str| {
        let text = fields.text(name);
        if text.is_empty() || text.len() > 400 {
            return Err(Refusal::Bad(format!("Say which {name}.")));
        }
        Ok(text.to_owned())
    };
    Ok(match fields.text("kind") {
        "expired" => Selection::Expired { grace_us: number("hours", 8_760)? * HOUR },
        "duplicates" => Selection::Duplicates,
        "orphaned" => Selection::Orphaned,
        "excess" => Selection::Excess { keep: number("keep", 1_000)?.unsigned_abs() },
        "user" => Selection::User(text("user")?),
        "session" => Selection::Session(text("session")?),
        "all" => Selection::All,
        other => return Err(Refusal::Bad(format!("“{other}” cannot be planned."))),
    })
}

pub(super) async fn make(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let selection = selection(&fields)?;
    let desk = Desk::of(&shared, target_of(&shared, &name)?, &person);
    let made = apart(move |runtime| {
        runtime.block_on(actions::make(desk.context(), &selection)).map_err(|error| words(&error))
    });
    let plan = made.await?.map_err(Refusal::Bad)?;
    Ok(Redirect::to(&format!("/plans/{}", plan.kept.id)))
}

pub(super) async fn restore(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    person: Person,
    _fields: Fields,
) -> Result<Redirect, Refusal> {
    let (_, target) = found(&shared, &id).await?;
    let desk = Desk::of(&shared, target, &person);
    let made = apart(move |runtime| {
        runtime.block_on(restoring::plan(desk.context(), &id, None)).map_err(|error| words(&error))
    });
    let plan = made.await?.map_err(Refusal::Bad)?;
    Ok(Redirect::to(&format!("/plans/{}", plan.kept.id)))
}

/// A plan and its target.
async fn found(shared: &Arc<Shared>, id: &str) -> Result<(Plan, Target), Refusal> {
    let wanted = id.to_owned();
    let kept = read(shared, move |db| plans::get(db, &wanted)).await?;
    let plan = kept.filter(|plan| plan.state != plans::State::Making).and_then(Plan::read);
    let plan = plan.ok_or_else(|| {
        Refusal::NotFound("There is no such plan: one that nobody carries out is kept for a day.".into())
    })?;
    let target = target_of(shared, &plan.kept.target)?;
    Ok((plan, target))
}

pub(super) async fn plan(State(shared): State<Arc<Shared>>, Path(id): Path<String>, person: Person) -> Page {
    let (plan, target) = found(&shared, &id).await?;
    let now = shared.clock.now();
    let desk = Desk::of(&shared, target.clone(), &person);
    let braked = plan.braked(desk.context().brake());
    let job = shared.jobs.get(&id);
    let stale = plan.is_stale(desk.config.actions.stale_after_us, now);
    let goes_on = job.as_ref().is_some_and(|job| job.outcome.is_none());
    let body = html! {
        p { "on " a href={ "/targets/" (layout::part(&target.name)) } { (target.name) } ", made by " (layout::said(&plan.kept.made_by)) " " (layout::when(plan.kept.made_at, now)) }
        @match job.as_ref().map(|job| (&job.outcome, job)) {
            Some((None, job)) => { p.notice role="status" { (layout::mark("pending")) " under way: " (job.control.done.load(Ordering::Relaxed)) " of " (plan.kept.rows) " rows" } }
            Some((Some(Ok(said)), _)) => { p.verdict.healthy role="status" { (layout::mark("healthy")) " " (said) } }
            Some((Some(Err(why)), _)) => { p.problem role="alert" { (why) } }
            None => {}
        }
        dl.facts {
            dt { "Rows" } dd { (plan.kept.rows) " of " (plan.summary.all_rows) }
            dt { "Active sessions among them" } dd { (plan.kept.active) " of " (plan.summary.all_active) }
            dt { "Users" } dd { (plan.summary.users) }
            dt { "State" } dd { (plan.kept.state.name()) }
        }
        @if !plan.summary.notes.is_empty() { ul.list { @for note in &plan.summary.notes { li { (layout::said(note)) } } } }
        (sample(&plan))
        @if person.role >= Role::Responder && !goes_on && plan.kept.state != plans::State::Done && plan.kept.rows > 0 {
            @if stale { p.notice { "The plan is too old to be carried out: make it anew." } }
            @else {
                form.stack method="post" action={ "/plans/" (plan.kept.id) "/apply" } {
                    (layout::form_field(&person))
                    @if let Some(braked) = &braked {
                        p.problem { (Reason(*braked)) }
                        label { "Type the name of the target (" (target.name) ") to go on" input name="confirm" autocomplete="off" required; }
                    }
                    button { "Carry out this plan" }
                }
            }
        }
        p.links { a href={ "/cleanup/" (layout::part(&target.name)) } { "All plans" } }
    };
    Ok(layout::page(&person, (plan.selection.name(), "/cleanup/"), goes_on, &body))
}

/// Some of the rows, for a person to recognise.
fn sample(plan: &Plan) -> Markup {
    let text = |text: &Option<String>| layout::said(text.as_deref().unwrap_or_default());
    html! {
        @if plan.summary.sample.is_empty() { p.empty { "The plan names no row: there is nothing to do." } }
        @else {
            h2 { "Some of the rows" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "token" } th scope="col" { "id" } th scope="col" { "user" } th scope="col" { "ends" } } }
                tbody { @for line in &plan.summary.sample { tr {
                    td { code { (text(&line.prefix)) "…" } } td { (text(&line.id)) } td { (text(&line.user)) }
                    td { (line.expires.and_then(Instant::from_micros).map(clock::readable).unwrap_or_default()) }
                } } }
            } }
        }
    }
}

pub(super) async fn apply(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let (plan, target) = found(&shared, &id).await?;
    let desk = Desk::of(&shared, target, &person);
    let typed = fields.text("confirm").to_owned();
    if plan.braked(desk.context().brake()).is_some() && typed != plan.kept.target {
        let name = &plan.kept.target;
        return Err(Refusal::Bad(format!(
            "The plan reaches far: type the name of the target, {name}, to go on."
        )));
    }
    if plan.is_stale(desk.config.actions.stale_after_us, shared.clock.now()) {
        return Err(Refusal::Bad("The plan is too old to be carried out: make it anew.".into()));
    }
    let Some(control) = shared.jobs.begin(&id) else {
        return Err(Refusal::Bad("Somebody carries it out already.".into()));
    };
    let back = Redirect::to(&format!("/plans/{id}"));
    tokio::spawn(async move {
        let (of, working) = (id.clone(), desk.clone());
        let done =
            apart(move |runtime| runtime.block_on(carry_out(&working, &plan, (&typed, &control)))).await;
        let outcome = done.unwrap_or_else(|_| Err("the system refuses what that needs".into()));
        desk.shared.jobs.end(&of, outcome);
        let target = desk.target.name.clone();
        desk.shared.happened(crate::daemon::Event::Acted { target });
    });
    Ok(back)
}

/// Carries a plan out: what came of it, in words.
async fn carry_out(desk: &Desk, plan: &Plan, (typed, control): (&str, &Control)) -> Result<String, String> {
    let context = desk.context();
    let said = |error: ActError| words(&error);
    let applied: Applied = if matches!(plan.selection, Selection::Restore { .. }) {
        let identity = Identity::read(&keys::path(&desk.config)).map_err(|error| said(error.into()))?;
        restoring::restore(context, &plan.kept.id, &identity, control).await.map_err(said)?
    } else {
        let (recipient, _) = keys::recipient(&desk.config).map_err(|error| said(error.into()))?;
        let consent = Consent { name: Some(typed).filter(|typed| !typed.is_empty()) };
        actions::apply(context, (&plan.kept.id, &recipient), consent, control).await.map_err(said)?
    };
    let left = match applied.left {
        Some(0) => ", and a fresh look finds none left".to_owned(),
        Some(left) => format!(", and a fresh look still finds {left}"),
        None => String::new(),
    };
    Ok(format!("{} row(s) done, {} skipped because they had changed{left}.", applied.done, applied.skipped))
}

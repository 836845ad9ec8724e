//! Targets: how they stand, their numbers over time, checks, sessions, users, and the checklist.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_core::instant::DAY;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{incidents, overview::Known, sessions as rows, target as page},
    Answer, Caller,
    given::{Asked, Body, Count, In, Page, Text},
    problem::Problem,
};
use crate::{
    app::AppState,
    checklist as week,
    config::Target as Configured,
    documents::{Alert, At, Examined, Session, Signal, Silence},
    store::{
        alerts,
        attestations::Attestation,
        censuses::{self, Point},
        signals::{self, Search},
        silences,
    },
    target::sql::{Sort, Status},
};

/// How a target stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Standing {
    name: String,
    /// `healthy`, `failing`, `acknowledged` (every alert that fires is looked after) or `unknown`.
    state: &'static str,
    /// Where it is, without a password.
    address: String,
    looked_at: Option<At>,
    /// How its sessions are stored.
    profile: Option<String>,
    /// The title of that profile.
    framework: Option<String>,
    /// The table that holds them, with its schema.
    table: Option<String>,
    engine: Option<String>,
    /// What was counted at the last look, as in the report of `sessionwatch check`; nothing where nothing is known.
    census: Value,
}

impl Standing {
    fn of(target: &Configured, known: &Known) -> Self {
        let report = known.report.as_ref().map(|(_, report)| report);
        let text = |key: &str| report.and_then(|report| report[key].as_str()).map(str::to_owned);
        Self {
            name: target.name.clone(),
            state: known.state(),
            address: target.address.to_string(),
            looked_at: known.report.as_ref().map(|(at, _)| At(*at)),
            profile: text("profile"),
            framework: text("framework"),
            table: text("table"),
            engine: text("engine"),
            census: report.map(|report| report["census"].clone()).unwrap_or_default(),
        }
    }
}

/// A target, and what is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Target {
    #[serde(flatten)]
    standing: Standing,
    /// What a person should know about it.
    notes: Vec<String>,
    /// When which checks are made, in words.
    schedule: Vec<String>,
    checks: Vec<Alert>,
    /// The last look, as `sessionwatch check --format json` writes it; nothing before the first one.
    report: Value,
}

/// A target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfTarget {
    /// The name of the target
    #[param(inline)]
    pub(super) target: Text<200>,
}

/// A check on a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfCheck {
    /// The name of the target
    #[param(inline)]
    pub(super) target: Text<200>,
    /// The id of the check
    #[param(inline)]
    pub(super) check: Text<200>,
}

/// A user of a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfUser {
    /// The name of the target
    #[param(inline)]
    target: Text<200>,
    /// The id of the user
    #[param(inline)]
    user: Text<200>,
}

/// Every target, and how it stands
#[utoipa::path(get, path = "/api/v1/targets", tag = "targets", responses((status = 200, description = "The targets", body = Page<Standing>)))]
pub(super) async fn list(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Standing>> {
    let (config, now) = (app.config(), app.clock.now());
    let standing = app.read(move |db| {
        let of = |target: &Configured| {
            Ok(Standing::of(target, &Known::of(db, &target.name, (now.plus(-DAY), now))?))
        };
        config.targets.iter().map(of).collect::<Result<Vec<_>, crate::store::StoreError>>()
    });
    Ok(Json(Page::all(standing.await?)))
}

/// A target, with its checks and its last look
#[utoipa::path(get, path = "/api/v1/targets/{target}", tag = "targets", params(OfTarget), responses((status = 200, description = "The target", body = Target)))]
pub(super) async fn target(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Target> {
    let (config, now) = (app.config(), app.clock.now());
    let target = app.target(&of.target)?;
    let name = target.name.clone();
    let known = app.read(move |db| Known::of(db, &name, (now.plus(-DAY), now))).await?;
    let report = known.report.as_ref().map(|(_, report)| report.clone()).unwrap_or_default();
    let notes = report["notes"].as_array().cloned().unwrap_or_default();
    Ok(Json(Target {
        standing: Standing::of(&target, &known),
        notes: notes.iter().filter_map(|note| note.as_str().map(str::to_owned)).collect(),
        schedule: config.plan(&target).iter().map(page::rhythm).collect(),
        checks: known.alerts.iter().map(Alert::of).collect(),
        report,
    }))
}

/// What was counted in a stretch of time.
#[derive(Serialize, ToSchema)]
pub(super) struct Counted {
    /// Its begin.
    at: At,
    /// Looks in it.
    looks: u64,
    /// Looks that saw nothing.
    blind: u64,
    /// By name: the mean, the lowest and the highest of what the others saw.
    gauges: BTreeMap<String, [f64; 3]>,
}

/// A period.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// From then on; a day before `to`, unless it is given
    #[param(inline)]
    from: Option<At>,
    /// Before then; now, unless it is given
    #[param(inline)]
    to: Option<At>,
}

/// Numbers of a target over time: single looks of two days, five-minute means of two weeks, hourly ones before
#[utoipa::path(get, path = "/api/v1/targets/{target}/census", tag = "targets", params(OfTarget, Period), responses((status = 200, description = "Oldest first", body = Page<Counted>)))]
pub(super) async fn census(
    State(app): State<Arc<AppState>>,
    In(of): In<OfTarget>,
    Asked(period): Asked<Period>,
) -> Answer<Page<Counted>> {
    let (name, now) = (app.target(&of.target)?.name, app.clock.now());
    let to = period.to.map_or(now.plus(1), |At(at)| at);
    let from = period.from.map_or(to.plus(-DAY), |At(at)| at);
    let points = app.read(move |db| censuses::between(db, &name, (from, to), now)).await?;
    let counted = |Point { at, looks, blind, gauges }: Point| Counted { at: At(at), looks, blind, gauges };
    Ok(Json(Page::all(points.into_iter().map(counted).collect())))
}

/// A check on a target.
#[derive(Serialize, ToSchema)]
pub(super) struct Check {
    #[serde(flatten)]
    alert: Alert,
    /// The verdict of the last look: `healthy`, `failing`, `unknown` or `not-applicable`; nothing before the first one.
    verdict: Option<String>,
    /// What failed last, with the rows that show it.
    finding: Value,
    silences: Vec<Silence>,
    /// What it means and what to do, in Markdown; nothing of checks of your own.
    documentation: Option<&'static str>,
}

/// A check on a target; `/events` has its history
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}", tag = "targets", params(OfCheck), responses((status = 200, description = "The check", body = Check)))]
pub(super) async fn check(State(app): State<Arc<AppState>>, In(of): In<OfCheck>) -> Answer<Check> {
    let (now, target) = (app.clock.now(), app.target(&of.target)?);
    let (name, wanted) = (target.name.clone(), of.check.clone());
    let (kept, quiet) = app
        .read(move |db| {
            let quiet = silences::list(db, now)?;
            let covers = |silence: &silences::Silence| silence.covers(&name, &wanted);
            Ok((alerts::get(db, &name, &wanted)?, quiet.into_iter().filter(covers).collect::<Vec<_>>()))
        })
        .await?;
    let missing = || Problem::missing("nothing is known of such a check on that target");
    let kept = kept.ok_or_else(missing)?;
    Ok(Json(Check {
        alert: Alert::of(&kept),
        finding: kept.finding_document().map_err(crate::app::AppError::from)?,
        verdict: kept.verdict,
        silences: quiet.iter().map(Silence::of).collect(),
        documentation: crate::checks::documentation(&of.check),
    }))
}

/// A query.
#[derive(Serialize, ToSchema)]
pub(super) struct Query {
    /// SQL, without a semicolon. It gives prefixes of tokens only.
    sql: String,
}

/// The query behind a check, written for the target
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}/query", tag = "targets", params(OfCheck), responses((status = 200, description = "The query", body = Query)))]
pub(super) async fn query(State(app): State<Arc<AppState>>, In(of): In<OfCheck>) -> Answer<Query> {
    let sql = page::sql(&app, (&of.target, &of.check)).await?;
    Ok(Json(Query { sql }))
}

/// What keeps sessions of a target from being safe, or the watch from seeing them
#[utoipa::path(get, path = "/api/v1/targets/{target}/doctor", tag = "targets", params(OfTarget), responses((status = 200, description = "Everything that was examined", body = Page<Examined>)))]
pub(super) async fn doctor(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Page<Examined>> {
    let findings = page::examined(&app, &of.target).await?;
    Ok(Json(Page::all(findings.iter().map(Examined::of).collect())))
}

/// Which sessions.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    All,
    Active,
    Expired,
}

/// In which order. By user there is one page.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Expires,
    Created,
    User,
    Id,
}

/// In which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Direction {
    /// Largest first.
    #[default]
    Down,
    /// Smallest first.
    Up,
}

/// The last session of a page: a letter for the order, its end or creation in microseconds, and its row id in
/// hexadecimal digits.
#[derive(Clone, Debug)]
struct Place {
    sort: Sort,
    key: i64,
    id: String,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("that is not what `next` of a page was"))
    }
}

impl utoipa::PartialSchema for Place {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let text = utoipa::openapi::schema::ObjectBuilder::new();
        let text = text.schema_type(utoipa::openapi::schema::Type::String);
        text.pattern(Some(r"^[eci]-?[0-9]{1,19}\.([0-9a-f]{2}){0,200}$")).into()
    }
}

impl ToSchema for Place {}

impl Place {
    fn of(line: &crate::target::observe::Line, sort: Sort) -> Self {
        Self { sort, key: rows::place(line, sort), id: line.id.clone().unwrap_or_default() }
    }

    /// As text that is safe in an address.
    fn text(&self) -> String {
        let order = match self.sort {
            Sort::Expires | Sort::User => 'e',
            Sort::Created => 'c',
            Sort::Id => 'i',
        };
        self.id
            .bytes()
            .fold(format!("{order}{}.", self.key), |text, byte| text + format!("{byte:02x}").as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let orders = [('e', Sort::Expires), ('c', Sort::Created), ('i', Sort::Id)];
        let (sort, text) =
            orders.iter().find_map(|(letter, sort)| Some((*sort, text.strip_prefix(*letter)?)))?;
        let (key, id) = text.split_once('.')?;
        let digits = key.strip_prefix('-').unwrap_or(key);
        let is_key = (1..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !is_key || id.len() % 2 != 0 || id.len() > 400 || !id.bytes().all(hex) {
            return None;
        }
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let id: Vec<u8> = id.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
        let key = key.parse::<i128>().ok()?.clamp(i64::MIN.into(), i64::MAX.into());
        // No row has an id that no row can have: databases take neither half letters nor zero bytes.
        let id = String::from_utf8_lossy(&id).replace('\0', "");
        Some(Self { sort, key: i64::try_from(key).ok()?, id })
    }
}

/// Which sessions are asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Which; all, unless it is given
    #[serde(default)]
    #[param(inline)]
    status: Which,
    /// By what they are sorted; with a cursor, like the page before. Unless it is given: by their end, or by their row ids, where a
    /// table of more than 100 000 rows has no index on the end, and would be read whole for each page
    #[param(inline)]
    sort: Option<Order>,
    /// Largest or smallest first
    #[serde(default)]
    #[param(inline)]
    order: Direction,
    /// Only of this user
    #[param(inline)]
    user: Option<Text<200>>,
    /// Only the one with this row id, or those with this token prefix
    #[param(inline)]
    token: Option<Text<200>>,
    /// The most on a page; 100, unless it is given
    #[param(inline)]
    limit: Option<Count<1_000>>,
    /// What `next` of the page before was
    #[param(inline)]
    cursor: Option<Place>,
}

/// Sessions of a target, by the first characters of their tokens
#[utoipa::path(get, path = "/api/v1/targets/{target}/sessions", tag = "targets", params(OfTarget, Wanted), responses((status = 200, description = "A page of sessions", body = Page<Session>)))]
pub(super) async fn sessions(
    State(app): State<Arc<AppState>>,
    In(of): In<OfTarget>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Page<Session>> {
    let target = app.target(&of.target)?;
    let limit = wanted.limit.map_or(100, |Count(limit)| limit as usize);
    let text = |text: Option<Text<200>>| text.map(|text| text.to_string());
    let sort = wanted.sort.map(|sort| match sort {
        Order::Expires => Sort::Expires,
        Order::Created => Sort::Created,
        Order::User => Sort::User,
        Order::Id => Sort::Id,
    });
    let asked = rows::Wanted {
        status: match wanted.status {
            Which::All => Status::All,
            Which::Active => Status::Active,
            Which::Expired => Status::Expired,
        },
        // What a cursor says holds in its own order only.
        sort: wanted.cursor.as_ref().map(|place| place.sort).or(sort),
        ascending: wanted.order == Direction::Up,
        user: text(wanted.user),
        token: text(wanted.token),
        after: wanted.cursor.map(|place| (place.key, place.id)),
        limit: limit + 1,
    };
    let found = rows::ask(&app, &target, asked).await?;
    let (session, sort) = (|line: &_| Session::of(line, &found.display, found.now), found.sort);
    let page = Page::of(found.lines, limit, (session, |line| Place::of(line, sort).text()));
    Ok(Json(Page { next: page.next.filter(|_| sort != Sort::User), ..page }))
}

/// A user who fits what is looked for.
#[derive(Serialize, ToSchema)]
pub(super) struct Candidate {
    id: String,
    /// What helps a person to recognise the user.
    display: Vec<String>,
    sessions: u64,
}

/// Whom one looks for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Find {
    /// A part of the id, name or handle
    #[param(inline)]
    find: Text<200>,
}

/// Users by a part of their id, name or handle; at most 50
#[utoipa::path(get, path = "/api/v1/targets/{target}/users", tag = "targets", params(OfTarget, Find), responses((status = 200, description = "Users", body = Page<Candidate>)))]
pub(super) async fn users(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfTarget>,
    Asked(find): Asked<Find>,
) -> Answer<Page<Candidate>> {
    let target = app.target(&of.target)?;
    let found = incidents::look_for(&app, target, (&find.find, &caller.actor())).await?;
    let candidate = |(shown, sessions): incidents::Candidate| {
        let mut shown = shown.into_iter();
        let id = shown.next().unwrap_or_default();
        Candidate { id, display: shown.filter(|text| !text.is_empty()).collect(), sessions }
    };
    Ok(Json(Page::all(found.into_iter().map(candidate).collect())))
}

/// A user: the sessions in the table, and what is known besides.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    id: String,
    /// Up to 100 sessions that are stored now; nothing where the database cannot be asked.
    sessions: Option<Vec<Session>>,
    /// Why the database cannot be asked.
    unavailable: Option<String>,
    /// Up to 100 lines of logs of the last 30 days.
    signals: Vec<Signal>,
    /// What happened to sessions of the user that the table itself does not show any more.
    history: Vec<Happened>,
}

/// Something that happened to sessions of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct Happened {
    at: At,
    said: String,
}

/// A user of a target
#[utoipa::path(get, path = "/api/v1/targets/{target}/users/{user}", tag = "targets", params(OfUser), responses((status = 200, description = "The user", body = User)))]
pub(super) async fn user(State(app): State<Arc<AppState>>, In(of): In<OfUser>) -> Answer<User> {
    let now = app.clock.now();
    let target = app.target(&of.target)?;
    let (name, wanted) = (target.name.clone(), of.user.clone());
    let (signals, history) = app
        .read(move |db| {
            let search = Search { user: Some(&wanted), limit: 100, ..Search::default() };
            let signals = signals::search(db, &name, (now.plus(-30 * DAY), now.plus(1)), &search)?;
            Ok((signals, rows::history(db, &name, &wanted, now)?))
        })
        .await?;
    let (sessions, unavailable) = match rows::ask(&app, &target, rows::Wanted::of_user(&of.user)).await {
        Ok(found) => {
            let session = |line| Session::of(line, &found.display, found.now);
            (Some(found.lines.iter().map(session).collect()), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(Json(User {
        id: of.user.to_string(),
        sessions,
        unavailable,
        signals: signals.iter().map(Signal::of).collect(),
        history: history.into_iter().map(|(at, said)| Happened { at: At(at), said }).collect(),
    }))
}

/// The weekly checklist of a target, as `sessionwatch report --format json` writes it
#[utoipa::path(get, path = "/api/v1/targets/{target}/checklist", tag = "targets", params(OfTarget), responses((status = 200, description = "The checklist", body = Value)))]
pub(super) async fn checklist(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Value> {
    let (target, config, now) = (app.target(&of.target)?, app.config(), app.clock.now());
    let list = app.read(move |db| week::week(db, (&config, &target), now)).await?;
    Ok(Json(list.json()))
}

/// What somebody vouches for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Vouched {
    /// Whether users reported nothing about log-ins this week.
    holds: bool,
    /// How one knows.
    note: Text<500>,
}

/// Vouch for what users reported this week
#[utoipa::path(post, path = "/api/v1/targets/{target}/attestations", tag = "targets", params(OfTarget), request_body = Vouched, responses((status = 204, description = "It is noted")))]
pub(super) async fn attest(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfTarget>,
    Body(vouched): Body<Vouched>,
) -> Result<StatusCode, Problem> {
    let attestation = Attestation {
        at: app.clock.now(),
        target: app.target(&of.target)?.name,
        item: week::USER_REPORTS.to_owned(),
        holds: vouched.holds,
        owner: caller.actor().name().to_owned(),
        note: vouched.note.to_string(),
    };
    app.write(move |db| week::attest(db, &attestation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was() {
        for (sort, key, id) in
            [(Sort::Expires, 0, ""), (Sort::Created, -5, "a"), (Sort::Id, i64::MAX, "ÄÖ 7/.?")]
        {
            let place = Place::parse(&Place { sort, key, id: id.into() }.text()).unwrap();
            assert_eq!((place.sort, place.key, place.id.as_str()), (sort, key, id));
        }
        for faulty in
            ["", "1.61", "e1", "ex.61", "e1.6", "e1.zz", "e+1.", "e1.6A", "u1.61", "e99999999999999999999."]
        {
            assert!(Place::parse(faulty).is_none(), "{faulty}");
        }
    }
}

//! What programs read: the JSON of the command line and of the interface over HTTP, each thing in one shape.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use sessionwatch_core::{alert::State, instant::Instant, source_activity::SourceStatus};
use utoipa::ToSchema;

use crate::{
    access_names::{RoleName, ScopeName},
    actions, clock,
    config::{Config, logs},
    doctor, incident,
    logs::LogSource,
    report,
    store::{
        StoreError, accounts,
        alerts::Kept,
        archived::Holding,
        audit, events, incidents, plans,
        signals::{self},
        silences, tokens,
    },
    target::{observe, side_effects::SideEffect},
};

/// An instant, by RFC 3339 and in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Instant);

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::rfc3339(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for At {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let at = text.parse::<jiff::Timestamp>().ok();
        let at = at.and_then(|at| Instant::from_micros(at.as_microsecond()));
        at.map(Self).ok_or_else(|| serde::de::Error::custom("an instant is written as 2026-01-31T12:00:00Z"))
    }
}

impl utoipa::PartialSchema for At {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for At {
    fn name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }
}

/// A document as JSON.
#[must_use]
pub fn json(document: impl Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// How a check stands on a target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alert {
    target: String,
    check: String,
    /// `critical`, `high`, `medium` or `low`.
    severity: String,
    /// `ok`, `pending` or `firing`.
    state: &'static str,
    /// Whether nothing was known at the last look.
    stale: bool,
    since: Option<At>,
    /// What is wrong, in one sentence.
    summary: String,
    acknowledged_by: Option<String>,
    note: Option<String>,
    updated_at: At,
}

impl Alert {
    /// The document.
    #[must_use]
    pub fn of(kept: &Kept) -> Self {
        let since = match kept.alert.state {
            State::Ok => None,
            State::Pending { since, .. } | State::Firing { since, .. } => Some(At(since)),
        };
        Self {
            target: kept.target.clone(),
            check: kept.check.clone(),
            severity: kept.severity.clone(),
            state: kept.alert.state.name(),
            stale: kept.alert.stale,
            since,
            summary: kept.summary.clone(),
            acknowledged_by: kept.acknowledged_by.clone(),
            note: kept.note.clone(),
            updated_at: At(kept.updated_at),
        }
    }
}

/// What is kept quiet for a while.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Silence {
    id: i64,
    /// The only target; nothing for all.
    target: Option<String>,
    /// The only check; nothing for all.
    check: Option<String>,
    /// The only user or token prefix; nothing for all.
    subject: Option<String>,
    until: At,
    owner: String,
    note: String,
}

impl Silence {
    /// The document.
    #[must_use]
    pub fn of(silence: &silences::Silence) -> Self {
        let silence = silence.clone();
        Self {
            id: silence.id,
            target: silence.target,
            check: silence.check,
            subject: silence.subject,
            until: At(silence.until),
            owner: silence.owner,
            note: silence.note,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    id: i64,
    at: At,
    target: String,
    check: String,
    /// `verdict`, `firing`, `repeated`, `resolved`, `comment`, `report` or `cleanup`.
    kind: String,
    summary: String,
    detail: Value,
}

impl Event {
    /// The document.
    #[must_use]
    pub fn of(event: &events::Event) -> Self {
        Self {
            id: event.id,
            at: At(event.at),
            target: event.target.clone(),
            check: event.check.clone(),
            kind: event.kind.clone(),
            summary: event.summary.clone(),
            detail: value(&event.detail),
        }
    }
}

/// What a line of a log says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Signal {
    id: i64,
    /// The kind, or the name of a pattern.
    kind: String,
    severity: Option<String>,
    /// When, by the log's clock.
    at: Option<At>,
    /// When it was read.
    seen_at: At,
    user: Option<String>,
    other_user: Option<String>,
    token_prefix: Option<String>,
    reason: Option<String>,
    request_id: Option<String>,
    source: String,
    /// Where it begins and ends in the source.
    bytes: (u64, u64),
    /// What the line says, made of the fields that were recognised.
    text: String,
    /// How it fits the table; nothing where it was not joined.
    fit: Option<String>,
    /// What it was joined to, or why it was not.
    joined: Option<Value>,
}

impl Signal {
    /// The document.
    #[must_use]
    pub fn of(signal: &signals::Kept) -> Self {
        let signal = signal.clone();
        Self {
            id: signal.id,
            kind: signal.kind,
            severity: signal.severity,
            at: signal.at.map(At),
            seen_at: At(signal.seen_at),
            user: signal.user,
            other_user: signal.other,
            token_prefix: signal.prefix,
            reason: signal.reason,
            request_id: signal.request,
            source: signal.source,
            bytes: signal.bytes,
            text: signal.text,
            fit: signal.fit,
            joined: signal.joined,
        }
    }
}

/// A source of log lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Source {
    name: String,
    target: String,
    /// `never heard`, `as usual` or `gone quiet`.
    voice: &'static str,
    heard_at: Option<At>,
    /// What was read, and what was dropped and why.
    #[schema(value_type = BTreeMap<String, u64>)]
    counters: Map<String, Value>,
}

impl Source {
    /// The document of a source that is configured, and what is known of it.
    #[must_use]
    pub fn of(source: &logs::Source, kept: LogSource, now: Instant) -> Self {
        let voice = match kept.rhythm.voice(kept.heard_at, now, source.quiet_us) {
            SourceStatus::Never => "never heard",
            SourceStatus::Usual => "as usual",
            SourceStatus::Quiet => "gone quiet",
        };
        Self {
            name: source.name.clone(),
            target: source.target.clone(),
            voice,
            heard_at: kept.heard_at.map(At),
            counters: kept.counters,
        }
    }

    /// How it speaks, in words.
    #[must_use]
    pub fn voice(&self) -> &'static str {
        self.voice
    }
}

/// A session, by the first characters of its token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Session {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<At>,
    /// `active`, `expired` or `no end`.
    status: &'static str,
    /// Hours until the end; negative after it.
    hours_left: Option<f64>,
    created_at: Option<At>,
    ip: Option<String>,
    agent: Option<String>,
    /// What helps a person to recognise the user, by column.
    display: BTreeMap<String, Option<String>>,
}

impl Session {
    /// The document, by the database's clock.
    #[must_use]
    pub fn of(line: &observe::Line, display: &[String], now: Instant) -> Self {
        Self {
            token_prefix: line.token_prefix.clone(),
            id: line.id.clone(),
            user: line.user.clone(),
            expires_at: line.expires_at.map(At),
            status: report::status(line.expires_at, now),
            hours_left: report::hours_left(line.expires_at, now),
            created_at: line.created_at.map(At),
            ip: line.ip.clone(),
            agent: line.agent.clone(),
            display: display.iter().cloned().zip(line.display.iter().cloned()).collect(),
        }
    }
}

/// A row that a plan names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Row {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<At>,
}

impl Row {
    /// The document.
    #[must_use]
    pub fn of(line: &actions::Line) -> Self {
        Self {
            token_prefix: line.prefix.clone(),
            id: line.id.clone(),
            user: line.user.clone(),
            expires_at: line.expires.and_then(Instant::from_micros).map(At),
        }
    }
}

/// What an action would touch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Plan {
    id: String,
    target: String,
    /// The command that asks for the same.
    action: &'static str,
    /// What was asked for.
    about: Value,
    /// The table of sessions, with its schema.
    table: String,
    /// The title of the profile by which that table is read.
    framework: String,
    /// How sessions are ended: `delete`, `expire`, or the column that is set.
    revoke: Value,
    made_at: At,
    made_by: String,
    /// From then on it cannot be carried out.
    stale_at: At,
    rows: u64,
    /// Rows of the whole table.
    all_rows: u64,
    /// Active sessions among the rows.
    active: u64,
    /// Active sessions of the whole table.
    all_active: u64,
    users: u64,
    /// Why it has to be confirmed with the name of the target, if it has to be.
    needs_confirmation: Option<String>,
    /// Some of the rows.
    sample: Vec<Row>,
    notes: Vec<String>,
    /// What happens besides: to other tables, or by triggers and rules.
    side_effects: Vec<SideEffect>,
    /// What may go on working though its row is gone.
    not_ended: Vec<String>,
}

impl Plan {
    /// The document.
    #[must_use]
    pub fn of(config: &Config, plan: &actions::Plan) -> Self {
        let (kept, summary) = (&plan.kept, &plan.summary);
        Self {
            id: kept.id.clone(),
            target: kept.target.clone(),
            action: plan.selection.name(),
            about: serde_json::to_value(&plan.selection).unwrap_or_default(),
            table: summary.table.clone(),
            framework: summary.framework.clone(),
            revoke: serde_json::to_value(&summary.revoke).unwrap_or_default(),
            made_at: At(kept.made_at),
            made_by: kept.made_by.clone(),
            stale_at: At(kept.touched_at.plus(config.actions.stale_after_us)),
            rows: kept.rows,
            all_rows: summary.all_rows,
            active: kept.active,
            all_active: summary.all_active,
            users: summary.users,
            needs_confirmation: plan.braked(config.actions.brake()).map(|braked| braked.to_string()),
            sample: summary.sample.iter().map(Row::of).collect(),
            notes: summary.notes.clone(),
            side_effects: summary.side_effects.clone(),
            not_ended: summary.not_ended.clone(),
        }
    }
}

/// What a plan removed and the archive holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Archive {
    plan: String,
    target: String,
    /// The command that removed it.
    action: &'static str,
    /// Rows that can be put back.
    rows: u64,
    /// Rows that were.
    restored: u64,
    at: At,
    /// When it is removed for good.
    purge_at: At,
    /// To whom it is sealed.
    recipient: String,
}

impl Archive {
    /// The document.
    ///
    /// # Errors
    ///
    /// If the plan cannot be read.
    pub fn of(holding: &Holding, made: &[plans::Plan]) -> Result<Self, StoreError> {
        let plan = made.iter().find(|plan| plan.id == holding.plan).cloned();
        let plan = plan.map(actions::Plan::read).transpose()?.flatten();
        let action = plan.map_or("", |plan| plan.selection.name());
        Ok(Self {
            plan: holding.plan.clone(),
            target: holding.target.clone(),
            action,
            rows: holding.rows,
            restored: holding.restored,
            at: At(holding.at),
            purge_at: At(holding.purge_at),
            recipient: holding.recipient.clone(),
        })
    }

    /// The command that removed it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}

/// An incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Incident {
    id: String,
    target: String,
    /// `P0` to `P3`.
    severity: &'static str,
    /// `open`, `contained` or `closed`.
    state: &'static str,
    opened_at: At,
    opened_by: String,
    contained_at: Option<At>,
    closed_at: Option<At>,
    summary: String,
}

impl Incident {
    /// The document.
    #[must_use]
    pub fn of(incident: &incidents::Incident) -> Self {
        Self {
            id: incident.id.clone(),
            target: incident.target.clone(),
            severity: incident.grade.name(),
            state: incident.state.name(),
            opened_at: At(incident.opened_at),
            opened_by: incident.opened_by.clone(),
            contained_at: incident.contained_at.map(At),
            closed_at: incident.closed_at.map(At),
            summary: incident::field(incident, "summary").unwrap_or_default(),
        }
    }
}

/// Something on the timeline of an incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Entry {
    at: At,
    actor: String,
    kind: String,
    /// The step that it is about; may be empty.
    step: String,
    said: String,
}

impl Entry {
    /// The document.
    #[must_use]
    pub fn of(entry: &incidents::Entry) -> Self {
        let entry = entry.clone();
        Self { at: At(entry.at), actor: entry.actor, kind: entry.kind, step: entry.step, said: entry.said }
    }
}

/// Something in the audit trail.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deed {
    at: At,
    actor: String,
    action: String,
    /// The rest, as JSON in text: its hash is of this text.
    detail: String,
}

impl Deed {
    /// The document.
    #[must_use]
    pub fn of(entry: &audit::Entry) -> Self {
        let entry = entry.clone();
        Self { at: At(entry.at), actor: entry.actor, action: entry.action, detail: entry.detail }
    }
}

/// Who may use the dashboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Account {
    name: String,
    #[schema(value_type = RoleName)]
    role: accounts::Role,
    created_at: At,
    /// Whether a provider of identities vouches for it, and it has no password.
    external: bool,
}

impl Account {
    /// The document.
    #[must_use]
    pub fn of(account: &accounts::Account) -> Self {
        Self {
            name: account.name.clone(),
            role: account.role,
            created_at: At(account.created_at),
            external: !account.subject.is_empty(),
        }
    }
}

/// Something that the doctor examined.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Examined {
    id: &'static str,
    /// `pass`, `warn` or `fail`.
    level: &'static str,
    summary: String,
    /// SQL, or words, that mend it.
    fix: Option<String>,
}

impl Examined {
    /// The document.
    #[must_use]
    pub fn of(finding: &doctor::Finding) -> Self {
        Self {
            id: finding.id,
            level: finding.level.name(),
            summary: finding.summary.clone(),
            fix: finding.fix.clone(),
        }
    }
}

/// What a program may do, in whose name, and until when.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Token {
    id: String,
    account: String,
    label: String,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<tokens::Scope>,
    created_at: At,
    expires_at: At,
    seen_at: Option<At>,
}

impl Token {
    /// The document; nothing secret is in it.
    #[must_use]
    pub fn of(token: &tokens::Token) -> Self {
        let token = token.clone();
        Self {
            id: token.id,
            account: token.account,
            label: token.label,
            scopes: token.scopes,
            created_at: At(token.created_at),
            expires_at: At(token.expires_at),
            seen_at: token.seen_at.map(At),
        }
    }
}

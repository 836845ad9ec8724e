//! Judging signals: to which sessions they belong, and which checks fail because of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::{CheckOutcome, Verdict},
    correlation::{self, MatchKind},
    duration::{DAY, whole_micros},
    instant::Instant,
    log_gaps::KeptGap,
    period::Period,
    severity::Severity,
    source_activity::SourceStatus,
};
use sessionwatch_logs::signal::Kind;
use sessionwatch_store::{
    StoreError,
    db::Db,
    signals::{self, Kept, Search},
};
use sessionwatch_targets::{evidence::Evidence, listing::Line};

use crate::{
    check_run::Outcome,
    checks::{self, Limit, LogCheckKind},
    config::{Config, logs::Source},
};

/// Signals that show why a check fails.
const SHOWN: u32 = 10;

/// The sessions of a target by the prefixes that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The sessions.
    pub lines: Vec<Line>,
    /// How many there are in all.
    pub sessions: u64,
}

/// What a signal was joined to: how it fits, by name, and the rest as JSON.
#[must_use]
pub fn joined(signal: &Kept, table: Result<&Table, &str>) -> (Option<MatchKind>, Value) {
    let table = match table {
        Ok(table) => table,
        Err(why) => return (None, json!({ "why": why })),
    };
    let Some(prefix) = signal.prefix.as_deref() else {
        return (None, json!({ "why": "the line names no token" }));
    };
    let shown = |line: &Line| line.token_prefix.clone().filter(|shown| is_of(shown, prefix));
    let alike: Vec<&Line> = table.lines.iter().filter(|line| shown(line).is_some()).collect();
    // Of a short token, less is shown than the line has.
    let prefix = alike.iter().filter_map(|line| shown(line)).min_by_key(String::len).unwrap_or(prefix.into());
    let prefix = prefix.as_str();
    let users: Vec<Option<&str>> = alike.iter().map(|line| line.user.as_deref()).collect();
    let named: Vec<&str> = [&signal.user, &signal.other].into_iter().flatten().map(String::as_str).collect();
    let shared = signal.kind == Kind::DuplicateToken.name();
    let joined = correlation::join(prefix, &named, &users, table.sessions, shared);
    let row = |at: &usize| {
        let line = alike[*at];
        json!({
            "id": line.id, "user": line.user, "expires_at": line.expires_at.map(clock::rfc3339),
            "created_at": line.created_at.map(clock::rfc3339), "display": line.display,
        })
    };
    let sessions: Vec<Value> = joined.rows.iter().map(row).collect();
    let skew = skew(signal, &joined, &alike);
    let detail =
        json!({ "sessions": sessions, "by_chance": joined.by_chance, "skew_us": skew.map(whole_micros) });
    (Some(joined.fit), detail)
}

/// The fewest characters by which a token in a line is found whose prefix in the table is shorter.
const FEWEST: usize = 5;

/// Whether the prefix that the table shows is that of a token that begins as a line says.
#[must_use]
fn is_of(shown: &str, prefix: &str) -> bool {
    shown == prefix || shown.chars().count() >= FEWEST && prefix.starts_with(shown)
}

/// The prefixes that the table may show of a token that begins as a line says.
#[must_use]
pub fn shown_as(prefix: &str) -> Vec<String> {
    let lengths = prefix.char_indices().map(|(at, _)| at).skip(FEWEST);
    lengths.chain([prefix.len()]).map(|end| prefix[..end].to_owned()).collect()
}

/// By how much the log's clock is ahead of the database's, by a session that both say was created.
fn skew(signal: &Kept, joined: &correlation::Correlation, alike: &[&Line]) -> Option<SignedDuration> {
    let [only] = joined.rows.as_slice() else { return None };
    let created = signal.kind == Kind::Created.name() && joined.fit == MatchKind::Exact;
    Some(signal.at.filter(|_| created)?.duration_since(alike[*only].created_at?))
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The target.
    pub target: &'a str,
    /// The present instant.
    pub now: Instant,
}

/// A check's outcome, and the signals that show it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The outcome.
    pub outcome: Outcome,
    /// The latest signals.
    pub signals: Vec<Kept>,
}

/// What every check of logs says of a target.
///
/// # Errors
///
/// If what is known cannot be read.
pub fn outcomes(db: Db<'_>, view: View<'_>) -> Result<Vec<Judged>, StoreError> {
    let logs = &view.config.logs;
    let voices = voices(db, view)?;
    let doubt = doubt(&voices);
    let tally = Tally::of(db, view)?;
    let mut all = Vec::new();
    for check in checks::LOG_CHECKS.iter().filter(|check| view.config.rules.enabled(check.id)) {
        let limit = logs.limit(check);
        let (finding, signals) = match check.finds {
            LogCheckKind::Signals(kind) => tally.finding(Counted::Kind(kind.name()), limit, doubt.as_deref()),
            LogCheckKind::Contradictions => tally.finding(Counted::Contradictions, limit, doubt.as_deref()),
            LogCheckKind::Silence => (silence(&voices), vec![]),
            LogCheckKind::Gaps => (gaps(&voices, limit, view.now), vec![]),
        };
        let mut judged =
            judged(check.id, view.config.rules.log_severity(check), check.action, finding, signals);
        if let LogCheckKind::Signals(kind) = check.finds {
            confirm(db, view, kind.name(), limit, &mut judged)?;
        }
        all.push(judged);
    }
    for own in &logs.patterns {
        let name = own.pattern.name.as_str();
        let (finding, signals) = tally.finding(Counted::Kind(name), own.limit, doubt.as_deref());
        // How severe these are is the operator's to say.
        all.push(judged(name, own.pattern.severity, &own.action, finding, signals));
    }
    Ok(all)
}

fn judged(id: &str, severity: Severity, action: &str, finding: CheckOutcome, signals: Vec<Kept>) -> Judged {
    let evidence = signals.iter().map(evidence).collect();
    let outcome = Outcome { id: id.into(), severity, action: action.into(), finding, evidence };
    Judged { outcome, signals }
}

/// Looks for a session that confirms what critical signals say. Without one it is high, since whoever can make the
/// application log a line could have written it.
fn confirm(
    db: Db<'_>,
    view: View<'_>,
    kind: &str,
    limit: Limit,
    judged: &mut Judged,
) -> Result<(), StoreError> {
    let outcome = &mut judged.outcome;
    if outcome.severity != Severity::Critical || outcome.finding.verdict != Verdict::Failing {
        return Ok(());
    }
    let window = counted_in(view, limit.window);
    let exact =
        Search { kind: Some(kind), fit: Some(MatchKind::Exact.name()), limit: SHOWN, ..Search::default() };
    let confirmed = signals::search(db, view.target, Period { from: window.from, to: window.to }, &exact)?;
    if confirmed.is_empty() {
        outcome.severity = Severity::High;
        outcome.finding.summary.push_str(
            "; unconfirmed: no line fits a session in the table, and whoever can make the application log text can write such a line",
        );
        return Ok(());
    }
    // Those that a session confirms come first.
    if !confirmed.iter().any(|one| judged.signals.first().is_some_and(|first| first.id == one.id)) {
        outcome.finding.summary.push_str(&format!("; confirmed: {}", about(&confirmed[0])));
    }
    let others = judged.signals.drain(..).filter(|other| confirmed.iter().all(|one| one.id != other.id));
    let others: Vec<Kept> = others.collect();
    judged.signals = confirmed.into_iter().chain(others).take(SHOWN as usize).collect();
    outcome.evidence = judged.signals.iter().map(evidence).collect();
    Ok(())
}

/// A signal with the session that it was joined to.
fn evidence(signal: &Kept) -> Evidence {
    let joined = signal.joined.as_ref().unwrap_or(&Value::Null);
    let session = &joined["sessions"][0];
    let text = |key: &str| session[key].as_str().map(str::to_owned);
    let expires = session["expires_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let display = session["display"]
        .as_array()
        .map(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    Evidence {
        token_prefix: signal.prefix.clone(),
        id: text("id"),
        user: text("user").or_else(|| signal.user.clone()),
        expires_at: expires.and_then(|at| Instant::try_from(at).ok()),
        rows: joined["sessions"].as_array().map_or(0, |all| all.len() as u64),
        display: display.unwrap_or_default(),
    }
}

/// Signals that one limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted<'a> {
    /// Those of a kind or pattern.
    Kind(&'a str),
    /// Those that say something else than the table.
    Contradictions,
}

impl Counted<'_> {
    fn is(self, kind: &str, fit: Option<&str>) -> bool {
        match self {
            Self::Kind(name) => kind == name,
            Self::Contradictions => fit == Some(MatchKind::Contradicting.name()),
        }
    }
}

/// The window of that length in which a limit counts. A signal that seems to come later was seen before the clock was
/// set back: its window is not over.
fn counted_in(view: View<'_>, length: SignedDuration) -> signals::Window<'_> {
    signals::Window { target: view.target, from: view.now - length, to: view.now + DAY }
}

/// The signals that limits are about. Each window is read once, however many limits count in it.
struct Tally {
    /// By the length of the window.
    windows: BTreeMap<SignedDuration, Vec<signals::Count>>,
    /// Those that show why a limit is exceeded, by the length of the window, the latest first.
    latest: BTreeMap<SignedDuration, Vec<Kept>>,
}

impl Tally {
    fn of(db: Db<'_>, view: View<'_>) -> Result<Self, StoreError> {
        let logs = &view.config.logs;
        let checks = checks::LOG_CHECKS.iter().filter(|check| view.config.rules.enabled(check.id));
        let of_checks = checks.filter_map(|check| match check.finds {
            LogCheckKind::Signals(kind) => Some((Counted::Kind(kind.name()), logs.limit(check))),
            LogCheckKind::Contradictions => Some((Counted::Contradictions, logs.limit(check))),
            LogCheckKind::Silence | LogCheckKind::Gaps => None,
        });
        let of_patterns =
            logs.patterns.iter().map(|own| (Counted::Kind(own.pattern.name.as_str()), own.limit));
        let limits: Vec<(Counted<'_>, Limit)> = of_checks.chain(of_patterns).collect();
        let mut tally = Self { windows: BTreeMap::new(), latest: BTreeMap::new() };
        let lengths: BTreeSet<SignedDuration> = limits.iter().map(|(_, limit)| limit.window).collect();
        for length in lengths {
            let window = counted_in(view, length);
            tally.windows.insert(length, signals::counts(db, window)?);
            let exceeded = limits.iter().filter(|(counted, limit)| {
                limit.window == length && tally.count(*counted, *limit) > limit.max
            });
            let (mut kinds, mut found) = (Vec::new(), Vec::new());
            for (counted, _) in exceeded {
                match counted {
                    Counted::Kind(name) => kinds.push(*name),
                    Counted::Contradictions => {
                        let fit = Some(MatchKind::Contradicting.name());
                        let search = Search { fit, limit: SHOWN, ..Search::default() };
                        found.extend(signals::search(
                            db,
                            view.target,
                            Period { from: window.from, to: window.to },
                            &search,
                        )?);
                    }
                }
            }
            found.extend(signals::latest_of_kinds(db, window, &kinds, SHOWN)?);
            found.sort_by_key(|signal| std::cmp::Reverse(signal.id));
            found.dedup_by_key(|signal| signal.id);
            tally.latest.insert(length, found);
        }
        Ok(tally)
    }

    fn count(&self, counted: Counted<'_>, limit: Limit) -> u64 {
        let counts = self.windows.get(&limit.window).into_iter().flatten();
        counts.filter(|one| counted.is(&one.kind, one.fit.as_deref())).map(|one| one.signals).sum()
    }

    /// What a limit says of the signals that it is about, and the latest of them where it is exceeded.
    fn finding(&self, counted: Counted<'_>, limit: Limit, doubt: Option<&str>) -> (CheckOutcome, Vec<Kept>) {
        let count = self.count(counted, limit);
        let latest: Vec<Kept> = if count > limit.max {
            let all = self.latest.get(&limit.window).into_iter().flatten();
            let of_it = all.filter(|signal| counted.is(&signal.kind, signal.fit.as_deref()));
            of_it.take(SHOWN as usize).cloned().collect()
        } else {
            vec![]
        };
        let minutes = limit.window.as_mins();
        let plural = if count == 1 { "" } else { "s" };
        let name = match counted {
            Counted::Kind(kind) => format!("signal{plural} `{kind}`"),
            Counted::Contradictions => format!("contradiction{plural} between log and table"),
        };
        let mut summary = format!("{count} {name} in the last {minutes} minutes");
        if let Some(first) = latest.first() {
            summary.push_str(&format!("; the latest: {}", about(first)));
        }
        let verdict = match (count > limit.max, doubt) {
            (true, _) => Verdict::Failing,
            (false, Some(why)) => Verdict::Unknown(why.to_owned()),
            (false, None) => Verdict::Healthy,
        };
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let value = Some(count as f64);
        let threshold = format!("> {} in {minutes} minutes", limit.max);
        (
            CheckOutcome { verdict, value, threshold, summary, proof: None, bound: None, is_aside: false },
            latest,
        )
    }
}

/// A signal in a few words, with what the table says.
fn about(signal: &Kept) -> String {
    let mut words = Vec::new();
    words.extend(signal.prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = [&signal.user, &signal.other].into_iter().flatten().map(String::as_str).collect();
    words.extend((!users.is_empty()).then(|| format!("user {}", users.join(" and "))));
    let joined = signal.joined.as_ref().unwrap_or(&Value::Null);
    let session = &joined["sessions"][0];
    let said = match signal.fit.as_deref() {
        Some("exact") => session["id"].as_str().map(|id| format!("session {id}")),
        Some("contradicting") => {
            session["user"].as_str().map(|user| format!("in the table it is user {user}"))
        }
        Some("ambiguous") => {
            joined["sessions"].as_array().map(|all| format!("{} sessions could be meant", all.len()))
        }
        Some("gone") => Some("no such session is left".to_owned()),
        _ => joined["why"].as_str().map(|why| format!("not joined: {why}")),
    };
    words.extend(said);
    crate::sanitize::printable(&words.join(", "))
}

/// A source of a target, and what is known of its voice.
struct Heard<'a> {
    source: &'a Source,
    voice: SourceStatus,
    last: Option<Instant>,
    gaps: Vec<KeptGap>,
}

fn voices<'a>(db: Db<'_>, view: View<'a>) -> Result<Vec<Heard<'a>>, StoreError> {
    let mut voices = Vec::new();
    for source in view.config.logs.of(view.target) {
        let kept = super::find_source(db, &source.name)?.unwrap_or_default();
        let voice = kept.rhythm.voice(kept.heard_at, view.now, source.idle_after);
        voices.push(Heard { source, voice, last: kept.heard_at, gaps: kept.gaps });
    }
    Ok(voices)
}

/// Why nothing follows from what no log says.
fn doubt(voices: &[Heard<'_>]) -> Option<String> {
    voices.iter().find_map(|Heard { source, voice, last, .. }| match (voice, last) {
        (SourceStatus::Never, _) => Some(format!("no line of `{}` was read yet", source.name)),
        (SourceStatus::Quiet, Some(at)) => {
            Some(format!("`{}` has been quiet since {}", source.name, clock::readable(*at)))
        }
        _ => None,
    })
}

fn silence(voices: &[Heard<'_>]) -> CheckOutcome {
    let quiet: Vec<String> = voices
        .iter()
        .filter(|heard| heard.voice == SourceStatus::Quiet)
        .map(|heard| {
            let since = heard.last.map(clock::readable).unwrap_or_default();
            let name = &heard.source.name;
            format!("`{name}` has been quiet since {since}, though it usually speaks at this time")
        })
        .collect();
    let verdict = match (quiet.is_empty(), doubt(voices)) {
        (false, _) => Verdict::Failing,
        (true, Some(why)) => Verdict::Unknown(why),
        (true, None) => Verdict::Healthy,
    };
    let summary =
        if quiet.is_empty() { "every source speaks as it usually does".to_owned() } else { quiet.join("; ") };
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let value = Some(quiet.len() as f64);
    let threshold = "a source that usually speaks".to_owned();
    CheckOutcome { verdict, value, threshold, summary, proof: None, bound: None, is_aside: false }
}

/// How many times lines may be missing within a window.
fn gaps(voices: &[Heard<'_>], limit: Limit, now: Instant) -> CheckOutcome {
    let since = now - limit.window;
    let all = voices.iter().flat_map(|heard| heard.gaps.iter().map(|gap| (heard.source, gap)));
    let recent: Vec<(&Source, &KeptGap)> = all.filter(|(_, gap)| gap.is_after(since)).collect();
    let count = recent.len() as u64;
    let minutes = limit.window.as_mins();
    let plural = if count == 1 { "" } else { "s" };
    let mut summary = format!("{count} gap{plural} in logs in the last {minutes} minutes");
    if let Some((source, gap)) = recent.iter().max_by_key(|(_, gap)| gap.at) {
        let bytes = gap.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
        summary.push_str(&format!("; the latest, in `{}`: {}{bytes}", source.name, gap.cause.words()));
    }
    let verdict = if count > limit.max { Verdict::Failing } else { Verdict::Healthy };
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let value = Some(count as f64);
    let threshold = format!("> {} in {minutes} minutes", limit.max);
    CheckOutcome { verdict, value, threshold, summary, proof: None, bound: None, is_aside: false }
}

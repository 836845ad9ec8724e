//! Notes about a target.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::local_time::TimeZoneDoubts;

use sessionwatch_targets::{
    connect::ConnectedTarget,
    layout::{self, uncertainty::UncertaintyLevel},
    mapping::TableName,
    read_session::ReadSession,
};

fn superuser_note(session: &ReadSession) -> Option<String> {
    session.superuser_role().map(|role| {
        format!(
            "`{role}` is a superuser: run checks as a role that can only read (`sessionwatch grants` prints the SQL)"
        )
    })
}

/// Returns the notes about a target and its timestamps.
pub(super) fn target_notes(opened: &ConnectedTarget, doubts: &TimeZoneDoubts) -> Vec<String> {
    let mut notes = opened.layout.candidate.notes.clone();
    notes.extend(superuser_note(&opened.session));
    notes.extend(opened.layout.candidate.other_login_hints.iter().cloned());
    let rivals = opened.layout.uncertainty.as_ref().filter(|doubt| doubt.level != UncertaintyLevel::Weak);
    notes.extend(rivals.and_then(|doubt| doubt.tables.get(1)).map(|(other, _)| {
        format!(
            "using {}, but {} looks like a session table too: set `sessions` in the configuration",
            opened.layout.quote_table(&opened.layout.candidate.mapping.sessions),
            opened.layout.quote_table(other)
        )
    }));
    notes.extend(ignored_table_notes(opened));
    notes.extend(layout::clock_fix_hint(doubts, opened.now).map(|remedy| {
        let doubt = doubts.expires.as_ref().or(doubts.created.as_ref());
        format!("{}: {remedy}", doubt.map_or("", |doubt| doubt.reason.as_str()))
    }));
    notes
}

/// Returns notes about tables that have session columns, but less evidence than the one that was recognized.
fn ignored_table_notes(opened: &ConnectedTarget) -> Vec<String> {
    /// Tables to name, at most.
    const MAX_NAMED_TABLES: usize = 5;
    let rivals: Vec<&TableName> =
        opened.layout.uncertainty.iter().flat_map(|doubt| &doubt.tables).map(|(table, _)| table).collect();
    let mut tables: BTreeMap<&TableName, &[String]> = BTreeMap::new();
    for other in opened
        .layout
        .alternatives
        .iter()
        .filter(|other| !other.missing_evidence.is_empty() && !opened.layout.candidate.is_named_in_config)
    {
        if !rivals.contains(&&other.mapping.sessions) {
            tables.entry(&other.mapping.sessions).or_insert(&other.missing_evidence);
        }
    }
    let one = |(table, lacks): (&TableName, &[String])| {
        let place = table.schema.as_ref().map_or(String::new(), |schema| format!(" in schema `{schema}`"));
        let name = &table.name;
        format!("ignored table `{name}`{place}, which has session columns too: {}", lacks.join("; "))
    };
    tables.into_iter().take(MAX_NAMED_TABLES).map(one).collect()
}

pub(super) fn replica_lag_note(lag: Option<SignedDuration>) -> String {
    match lag {
        Some(lag) => format!("checked the replica, which lags by {} ms", lag.as_millis()),
        None => "checked the replica; its lag is unknown".into(),
    }
}

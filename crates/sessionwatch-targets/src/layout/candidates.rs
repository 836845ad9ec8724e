//! Candidates: tables that may hold the sessions, according to schema, profiles and configuration.

use super::LayoutRequest;
use crate::{
    error::TargetError,
    layout::{
        detect::{self, Detection, DetectionConstraint, LayoutCandidate, RuledOutTable},
        explicit_mapping,
        known_layout::KnownLayout,
        near_misses::{self, DetectionFailure},
        profile_catalog::Profile,
        storage_setting::ProfileSource,
        table_safety,
    },
    mapping::TableName,
    sql::database_schema::DatabaseSchema,
};

/// Result of searching the schema.
pub(super) struct CandidateSearch {
    /// Tables that may hold the sessions, best first; at least one.
    pub(super) candidates: Vec<LayoutCandidate>,
    /// Profile that was searched for, if one was named; ready to append to a message.
    pub(super) searched_profile: String,
    pub(super) ruled_out: Vec<RuledOutTable>,
}

/// Finds the tables that may hold the sessions, without those whose reading would execute code of the target.
pub(super) fn find_candidates(
    schema: &DatabaseSchema,
    request: LayoutRequest<'_>,
) -> Result<CandidateSearch, TargetError> {
    let found = match_candidates(schema, request.source, request.profiles);
    let mut found = found.map_err(|error| mention_known_layout(request.known_layout, error))?;
    for candidate in &mut found.candidates {
        exclude_deleted_rows(schema, candidate);
        set_impersonator_column(schema, candidate);
    }
    table_safety::prefer_tables(schema, &mut found.candidates);
    reject_code_candidates(schema, &mut found.candidates)?;
    Ok(found)
}

fn match_candidates(
    schema: &DatabaseSchema,
    source: &ProfileSource,
    catalogue: &[Profile],
) -> Result<CandidateSearch, TargetError> {
    let of = |name: &str| catalogue.iter().filter(|profile| profile.name == name).cloned().collect();
    let named: Vec<Profile>;
    let (searched, table, searched_profile) = match source {
        ProfileSource::Explicit(mapping) => {
            let mut candidate = explicit_mapping::check_mapping(schema, mapping)?;
            let profile = catalogue.iter().find(|profile| profile.name == mapping.profile);
            if let (Some(profile), Some(table)) = (profile, schema.table(&candidate.mapping.sessions)) {
                candidate.title = format!("{}, as mapped in the configuration", profile.title);
                candidate.other_login_hints = detect::find_other_login_hints(schema, table, profile);
            }
            return Ok(CandidateSearch {
                candidates: vec![candidate],
                searched_profile: String::new(),
                ruled_out: vec![],
            });
        }
        ProfileSource::Detect => (catalogue, None, String::new()),
        ProfileSource::Table { table, profile: None } => (catalogue, Some(table), String::new()),
        ProfileSource::Table { table, profile: Some(name) } => {
            named = of(name);
            (named.as_slice(), Some(table), format!(" by profile `{name}`"))
        }
        ProfileSource::Profile(name) => {
            named = of(name);
            (named.as_slice(), None, format!(" by profile `{name}`"))
        }
    };
    let only_table = table.map(|table| explicit_mapping::find_table(schema, table)).transpose()?;
    let constraint = DetectionConstraint { only_table, is_profile_named: !searched_profile.is_empty() };
    let Detection { mut candidates, mut unreadable, ruled_out } =
        detect::detect_candidates(schema, searched, constraint);
    // An address that names schemas excludes all others.
    if schema.has_named_search_path && table.is_none() {
        let meant =
            |table: &TableName| schema.table(table).is_some_and(|table| table.search_path_index.is_some());
        candidates.retain(|candidate| meant(&candidate.mapping.sessions));
        unreadable.retain(|(table, _)| !schema.resolve_unqualified(table).is_empty());
    }
    let place = if schema.has_named_search_path { "  in the schema named in the address" } else { "" };
    match (unreadable.first(), table) {
        _ if !candidates.is_empty() => Ok(CandidateSearch { candidates, searched_profile, ruled_out }),
        (Some((table, columns)), _) => {
            Err(TargetError::Unreadable { table: table.clone(), columns: columns.join("`, `") })
        }
        (None, Some(table)) => Err(unmatched_table_error(table, &searched_profile)),
        (None, None) => {
            Err(not_detected_error(schema, catalogue, format!("{searched_profile}{place}"), &ruled_out))
        }
    }
}

/// Removes candidates whose reading would execute code of the target. Fails if the best table is one of them.
fn reject_code_candidates(
    schema: &DatabaseSchema,
    candidates: &mut Vec<LayoutCandidate>,
) -> Result<(), TargetError> {
    // Only the best table fails detection; others are dropped silently.
    let first = candidates[0].mapping.sessions.clone();
    let mut refused = None;
    candidates.retain_mut(|candidate| match table_safety::require_no_code(schema, candidate) {
        Ok(()) => true,
        Err(error) => {
            let error = (candidate.mapping.sessions == first).then_some(error);
            refused = refused.take().or(error);
            false
        }
    });
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Creates the error for a configured table that no profile matches.
fn unmatched_table_error(table: &TableName, wanted: &str) -> TargetError {
    TargetError::Mapping(format!(
        "table `{table}` does not match any known layout{wanted}: list its columns under [target.mapping] \
         instead of setting `sessions`"
    ))
}

/// Creates the error for a database without a session table, including near misses.
pub(super) fn not_detected_error(
    schema: &DatabaseSchema,
    catalogue: &[Profile],
    searched_profile: String,
    ruled_out: &[RuledOutTable],
) -> TargetError {
    let missed = near_misses::find_near_misses(schema, catalogue, ruled_out);
    TargetError::LayoutNotDetected(Box::new(DetectionFailure { searched_profile, ..missed }))
}

/// Fails unless the detected table and columns are those of the known layout.
pub(super) fn require_known_layout(
    target: &str,
    known: &KnownLayout,
    candidates: &[LayoutCandidate],
) -> Result<(), TargetError> {
    let Some(best) = candidates.first() else { return Ok(()) };
    // The same table may match several profiles; their values are compared later.
    let same = candidates.iter().any(|candidate| {
        // The known layout may match under a profile other than the best.
        candidate.mapping.sessions == best.mapping.sessions
            && KnownLayout::from_mapping(&candidate.mapping) == *known
    });
    if same {
        return Ok(());
    }
    let (from, to) = (known.to_string(), KnownLayout::from_mapping(&best.mapping).to_string());
    Err(TargetError::TableChanged { from, to, target: target.to_owned() })
}

/// Adds the known layout to the error that no session table was found.
pub(super) fn mention_known_layout(known: Option<&KnownLayout>, error: TargetError) -> TargetError {
    match (error, known) {
        (TargetError::LayoutNotDetected(mut missed), Some(known)) => {
            missed
                .near_misses
                .insert(0, format!("{known} was the session table before, but no longer matches"));
            TargetError::LayoutNotDetected(missed)
        }
        (error, _) => error,
    }
}

/// Excludes soft-deleted rows, and adds a note about that.
fn exclude_deleted_rows(schema: &DatabaseSchema, candidate: &mut LayoutCandidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::find_soft_delete_column) else { return };
    // Without that column, deleted rows would count as sessions.
    if !column.readable && !candidate.is_named_in_config {
        let lack = format!("the role cannot read `{}`, which marks deleted rows", column.name);
        return candidate.missing_evidence.push(lack);
    }
    candidate.mapping.deleted = Some(column.name.clone());
    candidate
        .notes
        .push(format!("rows marked as deleted in `{}` are neither counted nor changed", column.name));
}

/// Excludes impersonated sessions from the logins of a user, and adds a note about that.
fn set_impersonator_column(schema: &DatabaseSchema, candidate: &mut LayoutCandidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::find_impersonator_column) else { return };
    candidate.mapping.impersonator = Some(column.name.clone());
    candidate.notes.push(format!(
        "`{}` marks sessions of an impersonator: they count as sessions of the user, but not as logins of the user \
         (`sessionwatch doctor` counts them)",
        column.name
    ));
}

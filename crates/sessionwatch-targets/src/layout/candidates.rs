//! Candidates: the tables that may hold the sessions, as far as the schema, the profiles and the configuration tell.

use super::LayoutRequest;
use crate::{
    error::TargetError,
    layout::{
        detect::{self, Detection, DetectionConstraint, LayoutCandidate, RuledOutTable},
        explicit_mapping,
        known_layout::KnownLayout,
        near_misses::{self, DetectionFailure},
        profile_catalog::Profile,
        profile_source::ProfileSource,
        vetting,
    },
    mapping::TableName,
    sql::schema::DatabaseSchema,
};

/// What was found in the schema.
pub(super) struct CandidateSearch {
    /// The tables that may be meant, best first; at least one.
    pub(super) candidates: Vec<LayoutCandidate>,
    /// Which profile was looked for, if one was named.
    pub(super) searched_profile: String,
    pub(super) ruled_out: Vec<RuledOutTable>,
}

/// Finds the tables that may hold the sessions, as far as the schema tells. None of them would execute code of the target.
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
    vetting::prefer_tables(schema, &mut found.candidates);
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
    let (searched, table, wanted) = match source {
        ProfileSource::Explicit(mapping) => {
            let mut candidate = explicit_mapping::check_mapping(schema, mapping)?;
            let profile = catalogue.iter().find(|profile| profile.name == mapping.profile);
            if let (Some(profile), Some(table)) = (profile, schema.table(&candidate.mapping.sessions)) {
                candidate.title = format!("{}, by the mapping of the configuration", profile.title);
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
    let only = table.map(|table| explicit_mapping::find_table(schema, table)).transpose()?;
    let about = DetectionConstraint { only_table: only, is_profile_named: !wanted.is_empty() };
    let Detection { mut candidates, unreadable: mut refused, ruled_out } =
        detect::detect_candidates(schema, searched, about);
    // Where the address says in which schemas to look, others are not meant.
    if schema.has_named_search_path && table.is_none() {
        let meant =
            |table: &TableName| schema.table(table).is_some_and(|table| table.search_path_index.is_some());
        candidates.retain(|candidate| meant(&candidate.mapping.sessions));
        refused.retain(|(table, _)| !schema.resolve_unqualified(table).is_empty());
    }
    let place = if schema.has_named_search_path { " in the schema that the address names" } else { "" };
    match (refused.first(), table) {
        _ if !candidates.is_empty() => {
            Ok(CandidateSearch { candidates, searched_profile: wanted, ruled_out })
        }
        (Some((table, columns)), _) => {
            Err(TargetError::Unreadable { table: table.clone(), columns: columns.join("`, `") })
        }
        (None, Some(table)) => Err(unmatched_table_error(table, &wanted)),
        (None, None) => Err(not_detected_error(schema, catalogue, format!("{wanted}{place}"), &ruled_out)),
    }
}

/// Nothing of what may be meant executes code of the target; what would is left out, unless it is all that there is.
fn reject_code_candidates(
    schema: &DatabaseSchema,
    candidates: &mut Vec<LayoutCandidate>,
) -> Result<(), TargetError> {
    let first = candidates[0].mapping.sessions.clone();
    let mut refused = None;
    candidates.retain_mut(|candidate| match vetting::require_no_code(schema, candidate) {
        Ok(()) => true,
        Err(error) => {
            let error = (candidate.mapping.sessions == first).then_some(error);
            refused = refused.take().or(error);
            false
        }
    });
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// A table was named whose columns nothing fits.
fn unmatched_table_error(table: &TableName, wanted: &str) -> TargetError {
    TargetError::Mapping(format!(
        "the columns of `{table}` are not recognised{wanted}: write them under [target.mapping] instead of `sessions`"
    ))
}

/// Nothing was recognized: `wanted` says among what, and the near misses are named.
pub(super) fn not_detected_error(
    schema: &DatabaseSchema,
    catalogue: &[Profile],
    wanted: String,
    ruled_out: &[RuledOutTable],
) -> TargetError {
    let missed = near_misses::find_near_misses(schema, catalogue, ruled_out);
    TargetError::LayoutNotDetected(Box::new(DetectionFailure { searched_profile: wanted, ..missed }))
}

/// Makes sure that the table is the one that is known, and its columns are.
pub(super) fn require_known_layout(
    target: &str,
    known: &KnownLayout,
    candidates: &[LayoutCandidate],
) -> Result<(), TargetError> {
    let Some(best) = candidates.first() else { return Ok(()) };
    // The same table may be read in several ways, which differ by its values.
    let same = candidates.iter().any(|candidate| {
        candidate.mapping.sessions == best.mapping.sessions
            && KnownLayout::from_mapping(&candidate.mapping) == *known
    });
    if same {
        return Ok(());
    }
    let (from, to) = (known.to_string(), KnownLayout::from_mapping(&best.mapping).to_string());
    Err(TargetError::TableChanged { from, to, target: target.to_owned() })
}

/// Where nothing is recognised any more, what was known is said.
pub(super) fn mention_known_layout(known: Option<&KnownLayout>, error: TargetError) -> TargetError {
    match (error, known) {
        (TargetError::LayoutNotDetected(mut missed), Some(known)) => {
            missed
                .near_misses
                .insert(0, format!("{known} was the session table before, and is not recognised any more"));
            TargetError::LayoutNotDetected(missed)
        }
        (error, _) => error,
    }
}

/// Leaves rows out that the application has marked as deleted, and says so.
fn exclude_deleted_rows(schema: &DatabaseSchema, candidate: &mut LayoutCandidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::find_soft_delete_column) else { return };
    if !column.readable && !candidate.is_named_in_config {
        let lack = format!("the role may not read `{}`, which says whether a row was deleted", column.name);
        return candidate.missing_evidence.push(lack);
    }
    candidate.mapping.deleted = Some(column.name.clone());
    candidate
        .notes
        .push(format!("rows that `{}` marks as deleted are not counted, and not touched", column.name));
}

/// Takes sessions in which somebody acts for the user for no log-ins of that user, and says so.
fn set_impersonator_column(schema: &DatabaseSchema, candidate: &mut LayoutCandidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::find_impersonator_column) else { return };
    candidate.mapping.impersonator = Some(column.name.clone());
    candidate.notes.push(format!(
        "`{}` names who acts for the user in a session: such sessions count as held by the user, and not as created by the user \
         (`sessionwatch doctor` counts them)",
        column.name
    ));
}

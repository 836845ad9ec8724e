//! Candidates: the tables that may hold the sessions, as far as the schema, the profiles and the configuration tell.

use super::LayoutRequest;
use crate::{
    error::TargetError,
    layout::{
        background,
        catalogue::Profile,
        detect::{self, Candidate, Detection, RuledOut, Wanted},
        explicit,
        known_layout::KnownLayout,
        near::{self, Missed},
        source::ProfileSource,
    },
    mapping::TableName,
    sql::schema::Schema,
};

/// What was found in the schema.
pub(super) struct Found {
    /// The tables that may be meant, best first; at least one.
    pub(super) candidates: Vec<Candidate>,
    /// Which profile was looked for, if one was named.
    pub(super) wanted: String,
    pub(super) ruled_out: Vec<RuledOut>,
}

/// Finds the tables that may hold the sessions, as far as the schema tells. None of them would execute code of the target.
pub(super) fn find(schema: &Schema, request: LayoutRequest<'_>) -> Result<Found, TargetError> {
    let found = recognize(schema, request.source, request.catalogue);
    let mut found = found.map_err(|error| lost(request.known, error))?;
    for candidate in &mut found.candidates {
        leave_out_deleted(schema, candidate);
        know_impersonators(schema, candidate);
    }
    background::prefer_tables(schema, &mut found.candidates);
    refuse_code(schema, &mut found.candidates)?;
    Ok(found)
}

fn recognize(schema: &Schema, source: &ProfileSource, catalogue: &[Profile]) -> Result<Found, TargetError> {
    let of = |name: &str| catalogue.iter().filter(|profile| profile.name == name).cloned().collect();
    let named: Vec<Profile>;
    let (searched, table, wanted) = match source {
        ProfileSource::Explicit(mapping) => {
            let mut candidate = explicit::check(schema, mapping)?;
            let profile = catalogue.iter().find(|profile| profile.name == mapping.profile);
            if let (Some(profile), Some(table)) = (profile, schema.table(&candidate.mapping.sessions)) {
                candidate.title = format!("{}, by the mapping of the configuration", profile.title);
                candidate.elsewhere = detect::elsewhere(schema, table, profile);
            }
            return Ok(Found { candidates: vec![candidate], wanted: String::new(), ruled_out: vec![] });
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
    let only = table.map(|table| explicit::find(schema, table)).transpose()?;
    let about = Wanted { table: only, profile: !wanted.is_empty() };
    let Detection { mut candidates, mut refused, ruled_out } = detect::detect(schema, searched, about);
    // Where the address says in which schemas to look, others are not meant.
    if schema.path_named && table.is_none() {
        let meant = |table: &TableName| schema.table(table).is_some_and(|table| table.search_path.is_some());
        candidates.retain(|candidate| meant(&candidate.mapping.sessions));
        refused.retain(|(table, _)| !schema.meant(table).is_empty());
    }
    let place = if schema.path_named { " in the schema that the address names" } else { "" };
    match (refused.first(), table) {
        _ if !candidates.is_empty() => Ok(Found { candidates, wanted, ruled_out }),
        (Some((table, columns)), _) => {
            Err(TargetError::Unreadable { table: table.clone(), columns: columns.join("`, `") })
        }
        (None, Some(table)) => Err(unfit(table, &wanted)),
        (None, None) => Err(missed(schema, catalogue, format!("{wanted}{place}"), &ruled_out)),
    }
}

/// Nothing of what may be meant executes code of the target; what would is left out, unless it is all that there is.
fn refuse_code(schema: &Schema, candidates: &mut Vec<Candidate>) -> Result<(), TargetError> {
    let first = candidates[0].mapping.sessions.clone();
    let mut refused = None;
    candidates.retain_mut(|candidate| match background::refuse_code(schema, candidate) {
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
fn unfit(table: &TableName, wanted: &str) -> TargetError {
    TargetError::Mapping(format!(
        "the columns of `{table}` are not recognised{wanted}: write them under [target.mapping] instead of `sessions`"
    ))
}

/// Nothing was recognized: `wanted` says among what, and the near misses are named.
pub(super) fn missed(
    schema: &Schema,
    catalogue: &[Profile],
    wanted: String,
    ruled_out: &[RuledOut],
) -> TargetError {
    let missed = near::misses(schema, catalogue, ruled_out);
    TargetError::NotRecognised(Box::new(Missed { wanted, ..missed }))
}

/// Makes sure that the table is the one that is known, and its columns are.
pub(super) fn require_known(
    target: &str,
    known: &KnownLayout,
    candidates: &[Candidate],
) -> Result<(), TargetError> {
    let Some(best) = candidates.first() else { return Ok(()) };
    // The same table may be read in several ways, which differ by its values.
    let same = candidates.iter().any(|candidate| {
        candidate.mapping.sessions == best.mapping.sessions && KnownLayout::of(&candidate.mapping) == *known
    });
    if same {
        return Ok(());
    }
    let (from, to) = (known.to_string(), KnownLayout::of(&best.mapping).to_string());
    Err(TargetError::TableChanged { from, to, target: target.to_owned() })
}

/// Where nothing is recognised any more, what was known is said.
pub(super) fn lost(known: Option<&KnownLayout>, error: TargetError) -> TargetError {
    match (error, known) {
        (TargetError::NotRecognised(mut missed), Some(known)) => {
            missed
                .seen
                .insert(0, format!("{known} was the session table before, and is not recognised any more"));
            TargetError::NotRecognised(missed)
        }
        (error, _) => error,
    }
}

/// Leaves rows out that the application has marked as deleted, and says so.
fn leave_out_deleted(schema: &Schema, candidate: &mut Candidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::soft_delete) else { return };
    if !column.readable && !candidate.named {
        let lack = format!("the role may not read `{}`, which says whether a row was deleted", column.name);
        return candidate.lacks.push(lack);
    }
    candidate.mapping.deleted = Some(column.name.clone());
    candidate
        .notes
        .push(format!("rows that `{}` marks as deleted are not counted, and not touched", column.name));
}

/// Takes sessions in which somebody acts for the user for no log-ins of that user, and says so.
fn know_impersonators(schema: &Schema, candidate: &mut Candidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::impersonator) else { return };
    candidate.mapping.impersonator = Some(column.name.clone());
    candidate.notes.push(format!(
        "`{}` names who acts for the user in a session: such sessions count as held by the user, and not as created by the user \
         (`sessionwatch doctor` counts them)",
        column.name
    ));
}

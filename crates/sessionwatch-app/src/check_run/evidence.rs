//! The evidence of failing checks.

use sessionwatch_core::snapshot::UserTotal;
use sessionwatch_targets::{
    error::TargetError,
    evidence::{EvidenceRequest, EvidenceRow, MAX_EVIDENCE_ROWS},
    read_session::ReadSession,
    scope::QueryScope,
};

use super::{RunFacts, evaluate::CheckDecision};
use crate::checks::EvidenceKind;

/// Fetches the evidence of a failing check.
pub(super) async fn fetch_evidence(
    session: &ReadSession,
    scope: &QueryScope<'_>,
    decision: &CheckDecision,
    facts: &RunFacts,
) -> Result<Vec<EvidenceRow>, TargetError> {
    let (proof, bound) = (decision.check.evidence, decision.outcome.user_limit.unwrap_or(0));
    let (observation, changes) = (&facts.observation, facts.changes.as_ref());
    let top_users = &observation.top_users;
    // Without a creation column, the time at which `serve` first saw a session counts as its creation.
    let stored = scope.layout.candidate.mapping.created.is_some();
    let rows = |wanted| session.fetch_evidence(scope, wanted, observation);
    match proof {
        EvidenceKind::Duplicates => rows(EvidenceRequest::Duplicates).await,
        EvidenceKind::Reassigned => {
            rows(EvidenceRequest::Fingerprints(changes.map_or(&[], |changes| &changes.reassigned))).await
        }
        EvidenceKind::Reappeared => {
            rows(EvidenceRequest::Fingerprints(changes.map_or(&[], |changes| &changes.reappeared))).await
        }
        EvidenceKind::Orphans => rows(EvidenceRequest::Orphans).await,
        EvidenceKind::OldestExpired => rows(EvidenceRequest::OldestExpired).await,
        EvidenceKind::BeyondPolicy => rows(EvidenceRequest::BeyondPolicy).await,
        EvidenceKind::ActiveUsers if observation.snapshot.is_none() && bound < scope.notable_above => {
            let most = session.list_most_active_users(scope).await?;
            session.describe_users(scope, users_above(&most, bound)).await
        }
        EvidenceKind::ActiveUsers => {
            session.describe_users(scope, users_above(&top_users.active, bound)).await
        }
        EvidenceKind::CreatingUsers => {
            let seen = changes.filter(|_| !stored).map(|changes| changes.top_creators.as_slice());
            let creators = users_above(seen.unwrap_or(&top_users.created_last_hour), bound);
            let shown = &creators[..creators.len().min(MAX_EVIDENCE_ROWS)];
            session.describe_users(scope, shown).await
        }
        EvidenceKind::Value => Ok(vec![]),
    }
}

/// Returns the users with more than `bound` sessions. `users` is sorted, most sessions first.
fn users_above(users: &[UserTotal], bound: u64) -> &[UserTotal] {
    &users[..users.partition_point(|holder| holder.sessions > bound)]
}

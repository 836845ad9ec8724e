//! The rows that show what a check found.

use sessionwatch_core::snapshot::UserTotal;
use sessionwatch_targets::{
    error::TargetError,
    evidence::{EVIDENCE_LIMIT, Evidence, Wanted},
    read_session::ReadSession,
    scope::Scope,
};

use super::{RunFacts, evaluate::Decision};
use crate::checks::EvidenceKind;

/// The evidence of a finding, whose bound that is.
pub(super) async fn evidence(
    session: &ReadSession,
    scope: &Scope<'_>,
    decision: &Decision,
    facts: &RunFacts,
) -> Result<Vec<Evidence>, TargetError> {
    let (proof, bound) = (decision.check.evidence, decision.finding.bound.unwrap_or(0));
    let (observation, changes) = (&facts.observation, facts.changes.as_ref());
    let tops = &observation.tops;
    // Where creation is not stored, it is taken from what was first seen.
    let stored = scope.layout.candidate.mapping.created.is_some();
    let rows = |wanted| session.evidence(scope, wanted, observation);
    match proof {
        EvidenceKind::Duplicates => rows(Wanted::Duplicates).await,
        EvidenceKind::Rebound => {
            rows(Wanted::Fingerprints(changes.map_or(&[], |changes| &changes.rebound))).await
        }
        EvidenceKind::Revived => {
            rows(Wanted::Fingerprints(changes.map_or(&[], |changes| &changes.revived))).await
        }
        EvidenceKind::Orphans => rows(Wanted::Orphans).await,
        EvidenceKind::OldestExpired => rows(Wanted::OldestExpired).await,
        EvidenceKind::BeyondPolicy => rows(Wanted::BeyondPolicy).await,
        EvidenceKind::ActiveHolders if observation.snapshot.is_none() && bound < scope.notable_above => {
            let most = session.most_active(scope).await?;
            session.name_users(scope, above(&most, bound)).await
        }
        EvidenceKind::ActiveHolders => session.name_users(scope, above(&tops.active, bound)).await,
        EvidenceKind::Creators => {
            let seen = changes.filter(|_| !stored).map(|changes| changes.creators.as_slice());
            let creators = above(seen.unwrap_or(&tops.created), bound);
            let shown = &creators[..creators.len().min(EVIDENCE_LIMIT)];
            session.name_users(scope, shown).await
        }
        EvidenceKind::Value => Ok(vec![]),
    }
}

/// The holders of more than `bound`; they come most first.
fn above(holders: &[UserTotal], bound: u64) -> &[UserTotal] {
    &holders[..holders.partition_point(|holder| holder.sessions > bound)]
}

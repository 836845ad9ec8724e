//! Plans that stories make in this process are carried out as commands and pages do it.

use sessionwatch_app::remediation::{ActError, Applied, ArchiveKeys, Consent, Context, Control, Executor};
use sessionwatch_archive::{Identity, Recipient};

/// Applies a plan that ends sessions.
pub(crate) async fn apply(
    context: Context<'_>,
    plan: &str,
    recipient: &Recipient,
    consent: Consent<'_>,
    control: &Control,
) -> Result<Applied, ActError> {
    let keys = ArchiveKeys { recipient: Some(recipient), ..ArchiveKeys::default() };
    Executor { context, keys, consent, control }.run(context.plan(plan)?).await
}

/// Applies a plan that puts rows back.
pub(crate) async fn restore(
    context: Context<'_>,
    plan: &str,
    identity: &Identity,
    consent: Consent<'_>,
    control: &Control,
) -> Result<Applied, ActError> {
    let keys = ArchiveKeys { identity: Some(identity), ..ArchiveKeys::default() };
    Executor { context, keys, consent, control }.run(context.plan(plan)?).await
}

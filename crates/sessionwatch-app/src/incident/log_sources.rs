//! Idle log sources of a target. The absence of log lines from an idle source proves nothing.

use sessionwatch_clock as clock;
use sessionwatch_core::source_activity::SourceStatus;
use sessionwatch_store::StoreError;

use crate::{logs, remediation::ActionContext};

/// Describes the log sources of the target that were never read, or are idle.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub fn describe_idle_sources(context: ActionContext<'_>) -> Result<Vec<String>, StoreError> {
    let now = context.clock.now();
    let mut idle = Vec::new();
    for source in context.config.logs.sources_for_target(&context.target.name) {
        let stored = context.store.read(|db| logs::find_source(db, &source.name))?.unwrap_or_default();
        match (stored.activity.status_at(stored.last_line_at, now, source.idle_after), stored.last_line_at) {
            (SourceStatus::Normal, _) => {}
            (SourceStatus::Idle, Some(at)) => idle.push(format!(
                "log source `{}` is idle: last line {}",
                source.name,
                clock::format_utc(at)
            )),
            (SourceStatus::NeverActive | SourceStatus::Idle, _) => {
                idle.push(format!("no line of log source `{}` has been read yet", source.name));
            }
        }
    }
    Ok(idle)
}

//! Log sources of a target that are idle: no conclusion may be drawn from lines that did not arrive.

use sessionwatch_clock as clock;
use sessionwatch_core::source_activity::SourceStatus;
use sessionwatch_store::StoreError;

use crate::{logs, remediation::ActionContext};

/// The log sources of the target of which nobody knows what they say now, each in words: one that was never read, or that has
/// gone quiet.
///
/// # Errors
///
/// If what is known of them cannot be read.
pub fn describe_idle_sources(context: ActionContext<'_>) -> Result<Vec<String>, StoreError> {
    let now = context.clock.now();
    let mut unheard = Vec::new();
    for source in context.config.logs.sources_for_target(&context.target.name) {
        let kept = context.store.read(|db| logs::find_source(db, &source.name))?.unwrap_or_default();
        match (kept.activity.status_at(kept.last_line_at, now, source.idle_after), kept.last_line_at) {
            (SourceStatus::Normal, _) => {}
            (SourceStatus::Idle, Some(at)) => unheard.push(format!(
                "no line of `{}` was read since {}, which is unusual",
                source.name,
                clock::format_utc(at)
            )),
            (SourceStatus::NeverActive | SourceStatus::Idle, _) => {
                unheard.push(format!("no line of `{}` was read yet", source.name));
            }
        }
    }
    Ok(unheard)
}

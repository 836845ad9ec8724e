//! Firing alerts by who has dealt with them.

use sessionwatch_app::app::{
    alerts::{AlertRecord, is_silenced},
    silences::SilenceRecord,
};
use sessionwatch_core::plural::format_count;

/// Firing alerts by who has dealt with them, in their given order.
#[derive(Clone, Debug, Default)]
pub(super) struct FiringAlerts<'a> {
    /// Nobody has acknowledged them, and no silence covers them.
    pub(super) open: Vec<&'a AlertRecord>,
    /// Somebody has acknowledged them.
    pub(super) acknowledged: Vec<&'a AlertRecord>,
    /// Not acknowledged, but nobody is notified.
    pub(super) silenced: Vec<&'a AlertRecord>,
}

impl<'a> FiringAlerts<'a> {
    /// Sorts firing alerts.
    pub(super) fn sort(
        firing: impl IntoIterator<Item = &'a AlertRecord>,
        silences: &[SilenceRecord],
    ) -> Self {
        let mut sorted = Self::default();
        for alert in firing {
            let list = if alert.acknowledged_by.is_some() {
                &mut sorted.acknowledged
            } else if is_silenced(alert, silences) {
                &mut sorted.silenced
            } else {
                &mut sorted.open
            };
            list.push(alert);
        }
        sorted
    }

    /// Returns all of them, those that need a person first.
    pub(super) fn all(&self) -> Vec<&'a AlertRecord> {
        [&self.open, &self.silenced, &self.acknowledged].into_iter().flatten().copied().collect()
    }

    /// Describes the alerts that need nobody: `2 problems, 1 acknowledged and 1 silenced`. `None` if there are none.
    pub(super) fn describe_handled(&self, one: &str, many: &str) -> Option<String> {
        let (acknowledged, silenced) = (self.acknowledged.len() as u64, self.silenced.len() as u64);
        let how = match (acknowledged, silenced) {
            (0, 0) => return None,
            (_, 0) => "acknowledged".to_owned(),
            (0, _) => "silenced".to_owned(),
            _ => format!("{acknowledged} acknowledged and {silenced} silenced"),
        };
        Some(format!("{}, {how}", format_count(acknowledged + silenced, one, many)))
    }
}

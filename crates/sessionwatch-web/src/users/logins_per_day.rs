//! The logins of a user per day, as bars.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::DAY,
    plural::{format_count, format_number},
    timestamp::UtcTimestamp,
};

use crate::components::Card;

/// Days shown.
const DAY_COUNT: usize = 90;
/// Distance from the first day to today.
const FIRST_DAY_AGE: SignedDuration = SignedDuration::from_hours(24 * (DAY_COUNT as i64 - 1));
const DAY_MICROS: i64 = 86_400_000_000;
/// Width of a bar and the distance between two, in the units of the view box.
const BAR_WIDTH: usize = 6;
const BAR_PITCH: usize = 8;
/// Height of the highest bar, in the same units.
const MAX_BAR_HEIGHT: u64 = 56;
/// Logins of the highest bar, at least.
const MIN_SCALE: u64 = 3;
/// Shortest height of a bar for one login, so that it is visible beside a busy day.
const MIN_BAR_HEIGHT: u64 = 4;

/// Number of logins on each of the last days, in UTC.
#[derive(Clone, Debug)]
pub(super) struct LoginsPerDay {
    /// The oldest day first.
    counts: Vec<u64>,
    first_day: UtcTimestamp,
    /// Number of sessions that were counted, if there are more.
    cut_at: Option<u64>,
}

impl LoginsPerDay {
    /// Counts the logins of the last days by the times at which sessions were created.
    pub(super) fn count(created: impl Iterator<Item = UtcTimestamp>, now: UtcTimestamp) -> Self {
        let since_midnight = SignedDuration::from_micros(now.micros().rem_euclid(DAY_MICROS));
        let first_day = now - since_midnight - FIRST_DAY_AGE;
        let mut counts = vec![0; DAY_COUNT];
        for at in created {
            let day = at.micros_since(first_day).div_euclid(DAY_MICROS);
            if let Some(count) = usize::try_from(day).ok().and_then(|day| counts.get_mut(day)) {
                *count += 1;
            }
        }
        Self { counts, first_day, cut_at: None }
    }

    /// Sets the number of counted sessions, if the user has more.
    pub(super) fn of_cut_list(self, cut_at: Option<u64>) -> Self {
        Self { cut_at, ..self }
    }

    /// Renders the bars; nothing for a single login, which the list of sessions shows as well.
    pub(super) fn render(&self) -> Markup {
        if self.counts.iter().sum::<u64>() < 2 {
            return html! {};
        }
        // A day with one login is not a peak.
        let most = self.counts.iter().copied().max().unwrap_or(0).max(MIN_SCALE);
        let view_box = format!("0 0 {} {MAX_BAR_HEIGHT}", DAY_COUNT * BAR_PITCH);
        let label = self.text_summary();
        let body = html! {
            div.card-body.stack-s {
                svg.bars viewBox=(view_box) preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                        @let height = (count * MAX_BAR_HEIGHT / most).max(MIN_BAR_HEIGHT);
                        @let class = if index + 1 == DAY_COUNT { "c-now" } else { "c-na" };
                        @let (x, y) = (index * BAR_PITCH, MAX_BAR_HEIGHT - height);
                        rect class=(class) x=(x) y=(y) width=(BAR_WIDTH) height=(height) {
                            title {
                                (clock::format_day(self.day(index))) ": " (format_count(*count, "login", "logins"))
                            }
                        }
                    }
                }
                div.row.between.muted {
                    span { (clock::format_day(self.first_day)) }
                    span { (clock::format_day(self.day(DAY_COUNT / 2))) }
                    span { "Today" }
                }
            }
        };
        // Rows that are gone are not counted: the note must not promise more.
        let note = match self.cut_at {
            Some(count) => format!("from the {} sessions that end last", format_number(count)),
            None => "from sessions that are still stored".to_owned(),
        };
        Card { id: "logins", title: "Logins per day", note: &note, end: html! {}, body }.render()
    }

    fn day(&self, index: usize) -> UtcTimestamp {
        self.first_day + DAY * i32::try_from(index).unwrap_or(0)
    }

    /// Says the same as the bars: `12 logins in 90 days, at most 3 on Nov 28`.
    fn text_summary(&self) -> String {
        let total = format_count(self.counts.iter().sum(), "login", "logins");
        let busiest = (0..DAY_COUNT).rev().max_by_key(|day| self.counts[*day]).unwrap_or(0);
        let (most, day) = (self.counts[busiest], clock::format_day(self.day(busiest)));
        format!("{total} in {DAY_COUNT} days, at most {most} on {day}")
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::HOUR;

    use super::*;

    #[test]
    fn logins_are_counted_by_day_and_older_ones_are_left_out() {
        let now = clock::parse_rfc3339("2026-11-28T15:00:00Z").unwrap();
        let midnight = now - HOUR * 15;
        let created = [
            now,
            midnight,
            midnight - SignedDuration::from_micros(1),
            midnight - DAY * 89,
            midnight - DAY * 89 - SignedDuration::from_micros(1),
            // A clock that is ahead of ours.
            now + DAY,
            UtcTimestamp::MIN,
        ];
        let logins = LoginsPerDay::count(created.into_iter(), now);
        assert_eq!((logins.counts[89], logins.counts[88], logins.counts[0]), (2, 1, 1));
        assert_eq!(logins.counts.iter().sum::<u64>(), 4);
        assert_eq!(logins.text_summary(), "4 logins in 90 days, at most 2 on Nov 28");
        let page = logins.render().into_string();
        assert_eq!(page.matches("<rect").count(), 3);
        assert!(page.contains("Nov 28: 2 logins") && page.contains("Aug 31: 1 login"), "{page}");
        assert_eq!(LoginsPerDay::count(std::iter::empty(), now).render().into_string(), "");
    }
}

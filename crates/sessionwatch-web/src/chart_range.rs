//! The period of a chart.

use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::Period;
use sessionwatch_core::timestamp::UtcTimestamp;

/// A period that ends now.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(from = "String")]
pub(super) enum ChartRange {
    #[strum(serialize = "1h")]
    Hour,
    #[default]
    #[strum(serialize = "24h")]
    Day,
    #[strum(serialize = "7d")]
    Week,
    #[strum(serialize = "14d")]
    TwoWeeks,
    #[strum(serialize = "90d")]
    Quarter,
    #[strum(serialize = "1y")]
    Year,
}

impl From<String> for ChartRange {
    fn from(text: String) -> Self {
        // The default instead of an error: a link with any period still shows a page.
        text.parse().unwrap_or_default()
    }
}

impl ChartRange {
    /// Returns the period.
    pub(super) fn period(self, now: UtcTimestamp) -> Period {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::TwoWeeks => 14 * 24,
            Self::Quarter => 90 * 24,
            Self::Year => 365 * 24,
        };
        Period::ending_at(now, SignedDuration::from_hours(hours))
    }

    /// Returns `false` for long periods, which are expensive to query and hardly change.
    pub(super) fn is_live(self) -> bool {
        !matches!(self, Self::Quarter | Self::Year)
    }

    /// Renders links to the same page with other periods.
    pub(super) fn render_switch(self, path: &str) -> Markup {
        html! {
            nav.seg aria-label="Period" {
                @for range in <Self as strum::VariantArray>::VARIANTS {
                    @let value: &str = range.into();
                    a href={ (path) "?range=" (value) } aria-current=[(*range == self).then_some("true")] {
                        (value.trim_end_matches(char::is_alphabetic)) " " (value.trim_start_matches(char::is_numeric))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_period_is_marked() {
        let page = ChartRange::Week.render_switch("/").into_string();
        assert!(page.contains(r#"<a href="/?range=7d" aria-current="true">7 d</a>"#), "{page}");
        assert_eq!(page.matches("aria-current").count(), 1);
        assert!(ChartRange::Day.is_live() && !ChartRange::Year.is_live());
    }
}

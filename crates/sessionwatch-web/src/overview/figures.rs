//! The key figures of all targets.

use std::collections::BTreeMap;

use maud::Markup;
use sessionwatch_app::app::{
    alerts::AlertRecord,
    targets::{Overview, Sample},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR},
    severity::Severity,
    timestamp::UtcTimestamp,
};

use super::TargetRow;
use crate::{
    chart::ChartPoint,
    components::{Sparkline, StatProblem, StatTile, render_stat_tiles},
    format::{format_amount, percent_encode},
};

/// Points of a sparkline.
const SPARK_POINTS: usize = 48;
/// Samples of several targets within this many seconds are added.
const SUM_SLOT_SECONDS: i64 = 300;

/// A key figure.
#[derive(Clone, Copy, Debug)]
struct Figure {
    label: &'static str,
    /// Name of the gauge in the samples.
    gauge: &'static str,
    /// Name in the report of the last run.
    stat: &'static str,
    /// Page behind the figure, below that of the target.
    path: &'static str,
    /// Check that fails if the figure is too high; empty if there is none.
    check: &'static str,
    /// `true` for an average, which cannot be added over targets.
    is_average: bool,
}

const KEY_FIGURES: [Figure; 6] = [
    Figure {
        label: "Active sessions",
        gauge: "active",
        stat: "active",
        path: "sessions?status=active",
        check: "active-sessions",
        is_average: false,
    },
    Figure {
        label: "New in the last hour",
        gauge: "created_last_hour",
        stat: "created_last_hour",
        path: "sessions?sort=created",
        check: "creation-rate",
        is_average: false,
    },
    Figure {
        label: "Active users",
        gauge: "users_active",
        stat: "users_active",
        path: "users",
        check: "",
        is_average: false,
    },
    Figure {
        label: "Sessions per user",
        gauge: "per_user",
        stat: "sessions_per_user",
        path: "users",
        check: "sessions-per-user",
        is_average: true,
    },
    Figure {
        label: "Expired sessions",
        gauge: "expired",
        stat: "expired",
        path: "sessions?status=expired",
        check: "expired-backlog",
        is_average: false,
    },
    Figure {
        label: "Duplicate tokens",
        gauge: "duplicate_tokens",
        stat: "duplicate_tokens",
        path: "checks/duplicate-tokens",
        check: "duplicate-tokens",
        is_average: false,
    },
];

/// Renders the key figures: sums over all targets.
pub(crate) fn render_figures(rows: &[TargetRow<'_>], overview: &Overview, firing: &[&AlertRecord]) -> Markup {
    let tiles: Vec<StatTile<'_>> =
        KEY_FIGURES.iter().map(|figure| figure.tile(rows, overview, firing)).collect();
    render_stat_tiles("Key figures", &tiles)
}

impl Figure {
    fn tile(self, rows: &[TargetRow<'_>], overview: &Overview, firing: &[&AlertRecord]) -> StatTile<'static> {
        let value = self.current(rows);
        let samples: Vec<&[Sample]> = rows.iter().map(|row| row.status.samples.as_slice()).collect();
        let course =
            if self.is_average && rows.len() > 1 { vec![] } else { sum_gauges(&samples, self.gauge) };
        let problem =
            firing.iter().filter(|alert| alert.check == self.check && alert.acknowledged_by.is_none());
        let problem = problem.filter_map(|alert| alert.severity.parse::<Severity>().ok()).max();
        StatTile {
            label: self.label,
            value: value.map_or_else(|| "–".to_owned(), format_amount),
            note: value.map_or_else(
                || "Unknown".to_owned(),
                |value| self.change(value, overview).unwrap_or_default(),
            ),
            href: rows.first().map(|row| self.href(row)).unwrap_or_default(),
            course: (course.len() > 1).then(|| Sparkline { values: thin_out(&course) }),
            problem: problem.map(|severity| {
                if severity >= Severity::High { StatProblem::Bad } else { StatProblem::Warn }
            }),
        }
    }

    fn href(self, row: &TargetRow<'_>) -> String {
        format!("/targets/{}/{}", percent_encode(&row.target.name), self.path)
    }

    /// Returns the figure of the last runs that succeeded; `None` if it is unknown for any target.
    fn current(self, rows: &[TargetRow<'_>]) -> Option<f64> {
        if self.is_average && rows.len() > 1 {
            let sum =
                |name: &str| rows.iter().map(|row| row.status.latest_figure(name, name)).sum::<Option<f64>>();
            return Some(sum("active")? / sum("users_active").filter(|users| *users > 0.0)?);
        }
        rows.iter().map(|row| row.status.latest_figure(self.stat, self.gauge)).sum()
    }

    /// Returns the change against the same hour a week ago.
    fn change(self, value: f64, overview: &Overview) -> Option<String> {
        let before =
            |sample: &Option<Sample>| sample.as_ref()?.gauges.get(self.gauge).map(|[mean, ..]| *mean);
        if self.is_average && overview.week_ago.len() > 1 {
            return None;
        }
        let before: f64 =
            overview.week_ago.iter().map(before).sum::<Option<f64>>().filter(|before| *before > 0.0)?;
        let at = overview.week_ago.iter().flatten().map(|sample| sample.at).max()?;
        let percent = (value - before) / before * 100.0;
        let day = clock::format_weekday(at);
        Some(if percent.abs() < 0.05 {
            format!("Same as last {day}")
        } else {
            let sign = if percent < 0.0 { "−" } else { "+" };
            format!("{sign}{:.1}% vs. last {day}", percent.abs())
        })
    }
}

/// Adds a gauge over targets by slots of five minutes. A slot in which any target has no value is unknown.
pub(super) fn sum_gauges(targets: &[&[Sample]], gauge: &str) -> Vec<ChartPoint> {
    let mean = |sample: &Sample| sample.gauges.get(gauge).map(|[mean, ..]| *mean);
    if let [samples] = targets {
        return samples.iter().map(|sample| (sample.at, mean(sample))).collect();
    }
    let slot = |at: UtcTimestamp| at.micros() / 1_000_000 / SUM_SLOT_SECONDS;
    let mut slots: BTreeMap<i64, (UtcTimestamp, BTreeMap<usize, Option<f64>>)> = BTreeMap::new();
    for (index, samples) in targets.iter().enumerate() {
        for sample in *samples {
            let (at, values) = slots.entry(slot(sample.at)).or_insert((sample.at, BTreeMap::new()));
            *at = (*at).max(sample.at);
            values.insert(index, mean(sample));
        }
    }
    // Old samples are hourly, and those of different targets fall into different slots of the hour.
    let longest = HOUR + DAY / 1_440;
    let mut latest: Vec<Option<(UtcTimestamp, f64)>> = vec![None; targets.len()];
    let mut points = vec![];
    for (at, values) in slots.into_values() {
        for (index, value) in values {
            latest[index] = value.map(|value| (at, value));
        }
        let recent = latest.iter().map(|one| one.filter(|(since, _)| at.duration_since(*since) <= longest));
        points.push((at, recent.map(|one| one.map(|(_, value)| value)).sum()));
    }
    points
}

/// Returns at most [`SPARK_POINTS`] values, evenly spread, with the latest.
fn thin_out(points: &[ChartPoint]) -> Vec<Option<f64>> {
    let step = points.len().div_ceil(SPARK_POINTS).max(1);
    let mut values: Vec<Option<f64>> = points.iter().rev().step_by(step).map(|(_, value)| *value).collect();
    values.reverse();
    values
}

#[cfg(test)]
mod tests;

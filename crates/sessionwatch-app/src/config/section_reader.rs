//! What every section needs to be read: where files are, the time zone, and where problems go.

use std::{net::IpAddr, ops::Range, path::Path};

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::{
    config_file::{BoundedSeconds, ProblemCollector, WithSpan},
    schedule::Schedule,
};

/// A week, in seconds.
const WEEK_SECONDS: u64 = 604_800;
/// An hour, in seconds: the time over which log events are counted, unless it is written.
pub(super) const HOUR_SECONDS: u64 = 3_600;

/// The time between two runs.
pub(super) type RunInterval = BoundedSeconds<60, WEEK_SECONDS>;

/// What sections are read with.
pub(super) struct SectionReader<'a, 't> {
    /// What the names of files are relative to.
    pub(super) folder: &'a Path,
    /// The zone of cron expressions.
    pub(super) zone: TimeZone,
    /// Everything that is wrong.
    pub(super) problems: ProblemCollector<'t>,
}

impl SectionReader<'_, '_> {
    pub(super) fn report_problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.report(span, message);
    }

    /// What `interval` or `cron` of a section says; nothing if neither is written, or what is written is wrong.
    pub(super) fn parse_schedule(
        &mut self,
        interval: Option<RunInterval>,
        cron: Option<&WithSpan<String>>,
    ) -> Option<Schedule> {
        match (interval, cron) {
            (Some(_), Some(cron)) => {
                self.report_problem(cron.span(), "interval and cron are both written: leave one out");
                None
            }
            (Some(interval), None) => Some(Schedule::Every(interval.to_duration())),
            (None, Some(cron)) => self.parse_cron(cron),
            (None, None) => None,
        }
    }

    /// When a cron expression is due; nothing if it is wrong.
    pub(super) fn parse_cron(&mut self, cron: &WithSpan<String>) -> Option<Schedule> {
        let schedule = Schedule::parse_cron(cron, &self.zone);
        schedule.map_err(|error| self.report_problem(cron.span(), error.to_string())).ok()
    }

    /// The zone of that name; nothing if there is none.
    pub(super) fn parse_time_zone(&mut self, name: &WithSpan<String>) -> Option<TimeZone> {
        let zone = TimeZone::get(name);
        let message = "must be the IANA name of a time zone, such as \"Europe/Berlin\"";
        zone.map_err(|_| self.report_problem(name.span(), message)).ok()
    }

    /// The networks of a list, each written as a network or an address.
    pub(super) fn parse_networks(&mut self, texts: &WithSpan<Vec<String>>) -> Vec<IpNet> {
        let mut networks = vec![];
        for text in texts.iter() {
            let single = || text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(|_| single()) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let message = format!("`{text}` is no address or network, such as \"10.0.0.0/8\"");
                    self.report_problem(texts.span(), message);
                }
            }
        }
        networks
    }

    /// Reports an id of a check that is not of small letters, digits and hyphens.
    pub(super) fn validate_check_id(&mut self, id: &WithSpan<String>, example: &str) {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if id.is_empty() || !id.chars().all(is_plain) {
            let message = format!("must be small letters, digits and hyphens, such as \"{example}\"");
            self.report_problem(id.span(), message);
        }
    }
}

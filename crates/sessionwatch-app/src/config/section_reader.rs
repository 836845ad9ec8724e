//! Shared state and parsers of the sections: base folder, time zone and problems.

use std::{net::IpAddr, ops::Range, path::Path};

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::{
    config_file::{BoundedSeconds, ProblemCollector, WithSpan},
    schedule::Schedule,
};

const WEEK_SECONDS: u64 = 604_800;
pub(super) const HOUR_SECONDS: u64 = 3_600;

/// Time between two runs.
pub(super) type RunInterval = BoundedSeconds<60, WEEK_SECONDS>;

/// State shared by the validation of all sections.
pub(super) struct SectionReader<'a, 't> {
    /// Folder of the configuration file, the base of relative paths.
    pub(super) folder: &'a Path,
    /// Time zone of cron expressions.
    pub(super) zone: TimeZone,
    /// Problems found so far.
    pub(super) problems: ProblemCollector<'t>,
}

impl SectionReader<'_, '_> {
    pub(super) fn report_problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.report(span, message);
    }

    /// Returns the schedule from `interval` or `cron` of a section; `None` if neither is set, or the value is invalid.
    pub(super) fn parse_schedule(
        &mut self,
        interval: Option<RunInterval>,
        cron: Option<&WithSpan<String>>,
    ) -> Option<Schedule> {
        match (interval, cron) {
            (Some(_), Some(cron)) => {
                self.report_problem(cron.span(), "`interval` and `cron` are both set: remove one");
                None
            }
            (Some(interval), None) => Some(Schedule::Every(interval.to_duration())),
            (None, Some(cron)) => self.parse_cron(cron),
            (None, None) => None,
        }
    }

    /// Parses a cron expression; reports a problem and returns `None` if it is invalid.
    pub(super) fn parse_cron(&mut self, cron: &WithSpan<String>) -> Option<Schedule> {
        let schedule = Schedule::parse_cron(cron, &self.zone);
        schedule.map_err(|error| self.report_problem(cron.span(), error.to_string())).ok()
    }

    /// Returns the time zone of that name; reports a problem and returns `None` if there is none.
    pub(super) fn parse_time_zone(&mut self, name: &WithSpan<String>) -> Option<TimeZone> {
        let zone = TimeZone::get(name);
        let message = "must be an IANA time zone name, such as \"Europe/Berlin\"";
        zone.map_err(|_| self.report_problem(name.span(), message)).ok()
    }

    /// Parses a list of networks, each in CIDR notation or as a single address.
    pub(super) fn parse_networks(&mut self, texts: &WithSpan<Vec<String>>) -> Vec<IpNet> {
        let mut networks = vec![];
        for text in texts.iter() {
            // A single address is a network of one host.
            let single = || text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(|_| single()) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let message =
                        format!("`{text}` is not an IP address or a network such as \"10.0.0.0/8\"");
                    self.report_problem(texts.span(), message);
                }
            }
        }
        networks
    }

    /// Reports a check id that is not made of lowercase letters, digits and hyphens.
    pub(super) fn validate_check_id(&mut self, id: &WithSpan<String>, example: &str) {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if id.is_empty() || !id.chars().all(is_plain) {
            let message =
                format!("must contain only lowercase letters, digits and hyphens, such as \"{example}\"");
            self.report_problem(id.span(), message);
        }
    }
}

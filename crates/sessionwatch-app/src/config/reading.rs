//! What every section needs to be read: where files are, the time zone, and where problems go.

use std::{net::IpAddr, ops::Range, path::Path};

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::{
    config_file::{Problems, Seconds, Written},
    schedule::Schedule,
};

/// A week, in seconds.
const WEEK: u64 = 604_800;
/// An hour, in seconds: the time over which log events are counted, unless it is written.
pub(super) const HOUR_SECONDS: u64 = 3_600;

/// The time between two runs.
pub(super) type Every = Seconds<60, WEEK>;

/// What sections are read with.
pub(super) struct Reading<'a, 't> {
    /// What the names of files are relative to.
    pub(super) folder: &'a Path,
    /// The zone of cron expressions.
    pub(super) zone: TimeZone,
    /// Everything that is wrong.
    pub(super) problems: Problems<'t>,
}

impl Reading<'_, '_> {
    pub(super) fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.report(span, message);
    }

    /// What `every` or `cron` of a section says; nothing if neither is written, or what is written is wrong.
    pub(super) fn schedule(
        &mut self,
        every: Option<Every>,
        cron: Option<&Written<String>>,
    ) -> Option<Schedule> {
        match (every, cron) {
            (Some(_), Some(cron)) => {
                self.report(cron.span(), "every and cron are both written: leave one out");
                None
            }
            (Some(every), None) => Some(Schedule::Every(every.duration())),
            (None, Some(cron)) => self.cron(cron),
            (None, None) => None,
        }
    }

    /// When a cron expression is due; nothing if it is wrong.
    pub(super) fn cron(&mut self, cron: &Written<String>) -> Option<Schedule> {
        let schedule = Schedule::cron(cron, &self.zone);
        schedule.map_err(|error| self.report(cron.span(), error.to_string())).ok()
    }

    /// The zone of that name; nothing if there is none.
    pub(super) fn time_zone(&mut self, name: &Written<String>) -> Option<TimeZone> {
        let zone = TimeZone::get(name);
        let message = "must be the IANA name of a time zone, such as \"Europe/Berlin\"";
        zone.map_err(|_| self.report(name.span(), message)).ok()
    }

    /// The networks of a list, each written as a network or an address.
    pub(super) fn networks(&mut self, texts: &Written<Vec<String>>) -> Vec<IpNet> {
        let mut networks = vec![];
        for text in texts.iter() {
            let single = || text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(|_| single()) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let message = format!("`{text}` is no address or network, such as \"10.0.0.0/8\"");
                    self.report(texts.span(), message);
                }
            }
        }
        networks
    }

    /// Reports an id of a check that is not of small letters, digits and hyphens.
    pub(super) fn check_id(&mut self, id: &Written<String>, example: &str) {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if id.is_empty() || !id.chars().all(is_plain) {
            let message = format!("must be small letters, digits and hyphens, such as \"{example}\"");
            self.report(id.span(), message);
        }
    }
}

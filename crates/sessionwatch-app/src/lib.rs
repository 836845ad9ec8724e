//! What the program does, behind use cases: check runs, alerts, notifications, logs, plans, incidents and the daemon.
//!
//! Reading order: [`config`] reads the file; [`check_run`] goes from a connected target to a report; [`alerts`] decides whom to
//! notify; [`daemon`] does both by a schedule; [`app`] holds what people do, for the command line, pages and programs
//! alike. There is deliberately no terminal and no HTML here.

pub mod access_names;
pub mod alerts;
pub mod api_types;
pub mod app;
pub mod blocking;
pub mod check_run;
pub mod checklist;
pub mod checks;
pub mod clock_difference;
pub mod config;
pub mod config_file;
pub mod daemon;
pub mod default_address;
pub mod demo;
pub mod doctor;
pub mod environment;
pub mod incident;
pub mod integrations;
pub mod logs;
pub mod metric_names;
pub mod notify;
pub mod oidc;
pub mod output;
pub mod preflight;
pub mod progress;
pub mod remediation;
pub mod report;
pub mod sanitize;
pub mod schedule;
pub mod target_history;
pub mod target_layouts;

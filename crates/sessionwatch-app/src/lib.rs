//! Application logic: check runs, alerts, notifications, logs, plans, incidents and the daemon.
//!
//! Reading order: [`config`] parses the configuration; [`check_run`] turns a connected target into a report; [`alerts`]
//! decides which notifications to send; [`daemon`] does both on a schedule; [`app`] holds the use cases shared by the
//! command line, the dashboard and the API. Terminal output and HTML are deliberately in other crates.

pub mod alerts;
pub mod api_types;
pub mod app;
pub mod blocking;
pub mod check_fixes;
pub mod check_run;
pub mod checklist;
pub mod checks;
pub mod clock_difference;
pub mod config;
pub mod config_file;
pub mod daemon;
pub mod default_database_url;
pub mod demo;
pub mod demo_history;
pub mod doctor;
pub mod effective_checks;
pub mod environment;
pub mod incident;
pub mod integrations;
pub mod logs;
pub mod metric_names;
pub mod notification_preview;
pub mod notify;
pub mod oidc;
pub mod output;
pub mod preflight;
pub mod progress;
pub mod remediation;
pub mod report;
pub mod roles_and_scopes;
pub mod sanitize;
pub mod schedule;
pub mod target_history;
pub mod target_layouts;
pub mod version_control;

//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! Reading order: [`cli`] parses and dispatches; [`config`] reads the file; [`target::connect`] connects and
//! recognizes the sessions; [`look`] goes from there to a report; [`profile`] knows how frameworks
//! store sessions; [`target`] looks at a database, read-only; [`checks`] lists the rules, which are decided in
//! `sessionwatch-core`; [`report`] is what people and programs read.

pub mod access_names;
pub mod actions;
pub mod alerts;
pub mod api_types;
pub mod app;
pub mod archive;
pub mod blocking;
pub mod checklist;
pub mod checks;
pub mod cli;
pub mod clock_difference;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod environment;
pub mod incident;
pub mod integrations;
pub mod logs;
pub mod look;
pub mod memory;
pub mod metric_names;
pub mod notify;
pub mod oidc;
pub mod output;
pub mod profile;
pub mod progress;
pub mod report;
pub mod sanitize;
pub mod schedule;
pub mod target;
pub mod target_layouts;
pub mod web;

pub use credentials;
pub use credentials as secret;
pub use sessionwatch_clock as clock;
pub use sessionwatch_core::suggest;
pub use sessionwatch_store as store;

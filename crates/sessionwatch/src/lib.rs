//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! [`cli`] parses and dispatches; everything else is in `sessionwatch-app` and below it.

pub mod cli;

pub use credentials;
pub use credentials as secret;
pub use sessionwatch_app::{
    access_names, alerts, api_types, app, archive, blocking, check_run, checklist, checks, clock_difference,
    config, config_file, daemon, demo, doctor, environment, incident, integrations, logs, memory,
    metric_names, notify, oidc, output, progress, remediation, report, sanitize, schedule, target_layouts,
};
pub use sessionwatch_clock as clock;
pub use sessionwatch_core::suggest;
pub use sessionwatch_store as store;
pub use sessionwatch_web::web;

//! The dashboard and its interface: pages, routes, and who may ask for what.
//!
//! Handlers only parse, call a use case of `sessionwatch-app`, and render.

pub mod web;

use credentials as secret;
use sessionwatch_app::{access_names, api_types, app, checks, config, output, remediation, report, sanitize};
use sessionwatch_clock as clock;
use sessionwatch_store as store;

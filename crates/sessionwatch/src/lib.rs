//! sessionwatch: audits the login sessions of a web application.
//!
//! [`cli`] parses and dispatches; everything else is in `sessionwatch-app` and below it.

pub mod cli;

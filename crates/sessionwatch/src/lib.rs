//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! Reading order: [`cli`] parses and dispatches; [`look`] goes from address to report; [`profile`] knows how frameworks
//! store sessions; [`target`] looks at a database, read-only; [`checks`] lists the rules, which are decided in
//! `sessionwatch-rules`; [`report`] is what people and programs read.

pub mod checks;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod look;
pub mod profile;
pub mod report;
pub mod target;

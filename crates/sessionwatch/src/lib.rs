//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! [`cli`] parses and dispatches; everything else is in `sessionwatch-app` and below it.

pub mod cli;

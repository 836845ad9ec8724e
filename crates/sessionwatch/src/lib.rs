//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! Reading order: [`profile`] knows how frameworks store sessions; [`target`] looks at a database, read-only.

pub mod clock;
pub mod profile;
pub mod target;

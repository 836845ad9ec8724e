//! Everything that speaks to a monitored database: profiles say how frameworks store sessions, and a target is read in
//! one read-only snapshot, or changed through a connection of its own.

pub mod profile;
pub mod target;

use sessionwatch_clock as clock;
use sessionwatch_core::suggest;

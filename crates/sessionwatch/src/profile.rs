//! How a target stores sessions: the schema as found, and the mapping of its columns to the words of this program.

pub mod mapping;
pub mod schema;

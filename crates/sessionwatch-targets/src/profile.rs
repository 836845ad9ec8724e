//! How a target stores sessions: the schema as found, the catalogue of known stores, and the mapping between them.

pub mod background;
pub mod catalogue;
pub mod detect;
pub mod doubt;
pub mod explicit;
pub mod known_layout;
pub mod mapping;
pub mod names;
pub mod near;
pub mod schema;
pub mod source;

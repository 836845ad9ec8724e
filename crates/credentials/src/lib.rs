//! Keeps secrets out of sight: [`Secret`] shows nothing of itself, and [`mask`] removes passwords from text that is
//! printed.

mod masking;
mod secret;

pub use self::{
    masking::{ENCODE, MASK, is_in, mask, remember},
    secret::Secret,
};

//! Keeps secrets out of sight: [`Secret`] shows nothing of itself, and [`mask_credentials`] removes passwords from text that is
//! printed.

mod masking;
mod secret;

pub use self::{
    masking::{
        MASK_PLACEHOLDER, PERCENT_ENCODING_HINT, contains_credential, mask_credentials, register_secrets,
    },
    secret::Secret,
};

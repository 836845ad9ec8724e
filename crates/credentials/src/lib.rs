//! Keeps secrets out of output: [`Secret`] never prints its value, and [`mask_credentials`] removes passwords from
//! text.

mod masking;
mod secret;

pub use self::{
    masking::{
        MASK_PLACEHOLDER, PERCENT_ENCODING_HINT, contains_credential, mask_credentials, register_secrets,
    },
    secret::Secret,
};

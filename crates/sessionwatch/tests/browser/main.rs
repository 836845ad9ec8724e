//! Stories about the dashboard, in a real browser.
//!
//! They are apart from the others because the browser's client gives `String` another `+`, by which types of sums are not
//! found any more.

#![expect(clippy::unwrap_used, reason = "a failed step of a story ends the story")]

mod dashboard;
mod driver;
mod openid;
mod scene;

//! Stories about the dashboard, in a real browser.
//!
//! They are apart from the others because the browser's client gives `String` another `+`, by which types of sums are not
//! found any more.

#![expect(clippy::unwrap_used, reason = "a failed step of a story ends the story")]

mod dashboard;
mod driver;
#[path = "../it/guide.rs"]
mod guide;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "the other stories use the rest")]
mod harness;
mod openid;
mod scene;

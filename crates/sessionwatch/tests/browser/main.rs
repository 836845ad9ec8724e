//! Tests of the dashboard in a real browser.
//!
//! They are a separate binary because a dependency of the WebDriver client adds an `impl Add` for `String`, which makes
//! type inference of `+` fail in other tests.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod dashboard;
mod driver;
mod oidc;
mod scene;

//! The images of the documentation, made from what the browser tests show.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::python_tools::PILLOW_PYTHON;

/// Tests that save the screenshots, in `target/screenshots`.
const IMAGE_TESTS: [&str; 2] = ["dashboard::demo", "dashboard::an_incident"];
/// Turns them into those of the documentation: fewer colors, and an animation.
const COMPOSE_SCRIPT: &str = "xtask/src/compose_images.py";

/// Remakes `docs/screenshots`.
///
/// # Errors
///
/// Fails if a test fails, Pillow cannot be installed, or an image is too large.
pub(crate) fn make_images() -> Result<()> {
    super::install_prerequisites()?;
    PILLOW_PYTHON.install()?;
    let mut arguments = vec!["test", "--locked", "--package", "sessionwatch", "--test", "browser", "--"];
    arguments.extend(IMAGE_TESTS);
    super::run_cargo_step(&arguments)?;
    let status =
        Command::new(PILLOW_PYTHON.program()).arg(COMPOSE_SCRIPT).status().context("cannot run Python")?;
    if status.success() { Ok(()) } else { bail!("the images cannot be composed") }
}

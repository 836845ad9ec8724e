//! Environment variables. Only this module and the command line read them.

use std::path::PathBuf;

use credentials::Secret;

/// Returns an environment variable; `None` if it is unset, empty or not valid UTF-8.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
pub fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the values of all environment variables that may be addresses, that is, contain `://`.
#[must_use]
pub fn list_addresses() -> Vec<String> {
    let text = |(_, value): (std::ffi::OsString, std::ffi::OsString)| value.into_string().ok();
    std::env::vars_os().filter_map(text).filter(|value| value.contains("://")).collect()
}

/// Replaces each `${NAME}` with the value of that variable.
///
/// # Errors
///
/// If a variable is not set, or a `${` has no closing `}`.
pub fn expand_variables(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("missing `}` after `${`")?;
        expanded.push_str(before);
        // Values are not expanded again: a password may contain `${`.
        expanded.push_str(&lookup(name).ok_or_else(|| format!("environment variable {name} is not set"))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Reads a secret from text with variables (`Ok`) or from a file (`Err`), whose surrounding white space is removed.
///
/// # Errors
///
/// Names the variable that is not set, or the file that cannot be read.
pub(crate) fn read_secret(written: Result<&str, PathBuf>) -> Result<Secret, String> {
    match written {
        Ok(text) => expand_variables(text, read_variable).map(Secret::new),
        Err(file) => {
            let text =
                std::fs::read_to_string(&file).map_err(|_| format!("cannot read {}", file.display()))?;
            Ok(Secret::new(text.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_once() {
        let lookup = |name: &str| (name == "A").then(|| "${A}".to_owned());
        assert_eq!(expand_variables("x${A}y", lookup).as_deref(), Ok("x${A}y"));
        assert_eq!(expand_variables("$A {A} $", lookup).as_deref(), Ok("$A {A} $"));
        assert!(expand_variables("${B}", lookup).is_err_and(|problem| problem.contains('B')));
        assert!(expand_variables("${A", lookup).is_err());
    }
}

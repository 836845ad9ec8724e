//! The one place that reads the environment besides the command line.

use std::path::PathBuf;

use credentials::Secret;

/// A variable of the environment; nothing if it is unset, empty or not text.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Values of the environment that may be addresses.
#[must_use]
pub fn list_addresses() -> Vec<String> {
    let text = |(_, value): (std::ffi::OsString, std::ffi::OsString)| value.into_string().ok();
    std::env::vars_os().filter_map(text).filter(|value| value.contains("://")).collect()
}

/// Puts variables in for `${NAME}`; an error names the variable that is not set, or says what is not closed.
///
/// # Errors
///
/// If a variable is not set, or a `${` is not closed.
pub fn expand_variables(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a `${` is not closed by a `}`")?;
        expanded.push_str(before);
        expanded
            .push_str(&lookup(name).ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A secret that is written with variables, or stands in a file by itself; an error says what is not there.
///
/// # Errors
///
/// If a variable is not set, or the file cannot be read.
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
    fn puts_variables_in_once() {
        let lookup = |name: &str| (name == "A").then(|| "${A}".to_owned());
        assert_eq!(expand_variables("x${A}y", lookup).as_deref(), Ok("x${A}y"));
        assert_eq!(expand_variables("$A {A} $", lookup).as_deref(), Ok("$A {A} $"));
        assert!(expand_variables("${B}", lookup).is_err_and(|problem| problem.contains('B')));
        assert!(expand_variables("${A", lookup).is_err());
    }
}

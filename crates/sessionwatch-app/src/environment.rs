//! Environment variables. Only this module and the command line read them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use credentials::Secret;

/// Returns an environment variable; `None` if it is unset, empty or not valid UTF-8.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
pub fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Files of variables in the folder of an application. What frameworks call the local one overrides the other.
pub(crate) const VARIABLE_FILES: [&str; 2] = [".env.local", ".env"];

/// Returns an environment variable, or the one of that name in the files of variables of a folder. Frameworks read
/// these files, so that their variables are often set nowhere else.
pub(crate) fn read_variable_in(folder: &Path, name: &str) -> Option<String> {
    let in_file =
        |file: &&str| read_variable_file(&folder.join(file))?.remove(name).filter(|value| !value.is_empty());
    read_variable(name).or_else(|| VARIABLE_FILES.iter().find_map(in_file))
}

/// Reads a `.env` file; `None` if there is none. Lines that are no assignment are skipped, as frameworks do.
pub(crate) fn read_variable_file(file: &Path) -> Option<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(dotenvy::from_read_iter(text.as_bytes()).filter_map(Result::ok).collect())
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
/// Variables that are not set are looked up in the files of variables in `folder`.
///
/// # Errors
///
/// Names the variable that is not set, or the file that cannot be read.
pub(crate) fn read_secret(written: Result<&str, PathBuf>, folder: &Path) -> Result<Secret, String> {
    match written {
        Ok(text) => expand_variables(text, |name| read_variable_in(folder, name)).map(Secret::new),
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

    #[test]
    fn reads_variable_files_as_frameworks_write_them() {
        let text = "# a comment\nA=1\nexport B=\"two # words\" # why\nC='it'\n D = postgres://u:p#w@h/d # x\nnone\n#E=1\nF=\"x${A}y\"\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        assert_eq!(read_variable_file(&file), None);
        std::fs::write(&file, text).unwrap();
        let found = read_variable_file(&file).unwrap();
        let value = |name: &str| found.get(name).map(String::as_str);
        assert_eq!(value("A"), Some("1"));
        assert_eq!(value("B"), Some("two # words"));
        assert_eq!(value("C"), Some("it"));
        assert_eq!(value("D"), Some("postgres://u:p#w@h/d"));
        // Prisma's files build the address of other variables.
        assert_eq!(value("F"), Some("x1y"));
        assert_eq!((value("E"), found.len()), (None, 5));
    }

    #[test]
    fn a_variable_that_is_not_set_is_read_from_the_local_file_first() {
        let folder = tempfile::tempdir().unwrap();
        let read = || read_variable_in(folder.path(), "SESSIONWATCH_TEST_UNSET");
        assert_eq!(read(), None);
        std::fs::write(folder.path().join(".env"), "SESSIONWATCH_TEST_UNSET=shared\n").unwrap();
        assert_eq!(read().as_deref(), Some("shared"));
        std::fs::write(folder.path().join(".env.local"), "SESSIONWATCH_TEST_UNSET=own\n").unwrap();
        assert_eq!(read().as_deref(), Some("own"));
        assert!(read_secret(Ok("x-${SESSIONWATCH_TEST_UNSET}"), folder.path()).is_ok());
    }
}

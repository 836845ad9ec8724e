//! Secrets: passwords, keys, tokens, and addresses that hold one.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// Secret text: it has no `Display`, `Debug` prints `***`, and the memory is zeroed on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Creates a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Returns the text, to connect, sign or compare.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.expose().as_bytes()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new("")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only printed")]
    struct Settings {
        name: &'static str,
        password: Secret,
        tokens: Vec<Secret>,
        key: Option<Secret>,
    }

    #[test]
    fn debug_output_never_contains_a_secret() {
        let settings = Settings {
            name: "app",
            password: "hunter2".into(),
            tokens: vec![Secret::new("hunter2-of-a-program"), Secret::default()],
            key: Some("hunter2-key".to_owned().into()),
        };
        for printed in [format!("{settings:?}"), format!("{settings:#?}")] {
            assert!(printed.contains("app") && !printed.contains("hunter2"), "{printed}");
            assert_eq!(printed.matches("***").count(), 4, "an empty secret looks like any other: {printed}");
        }
    }

    #[test]
    fn expose_returns_the_whole_secret() {
        let secret = Secret::new("pass: wörd\n");
        assert_eq!((secret.expose(), secret.expose_bytes()), ("pass: wörd\n", "pass: wörd\n".as_bytes()));
        assert_eq!(secret.clone(), secret);
        assert_ne!(secret, Secret::new("pass: wörd"));
    }
}

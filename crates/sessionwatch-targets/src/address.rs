//! Addresses of targets: a PostgreSQL URL or connection string, or a SQLite file.

use std::{fmt, path::Path};

use super::{
    backend::DatabaseAddress as _,
    capabilities::Capabilities,
    supported_databases::{ADDRESS_FORMS, UnsupportedScheme, each},
};
pub use super::{
    backend::{AddressError, CertificateCheck, TransportSecurity},
    postgres::is_prisma_proxy_url,
    supported_databases::TargetAddress,
};

impl TargetAddress {
    /// Returns the capabilities of this kind of database.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, TargetAddress, address => address.capabilities())
    }

    /// Returns the path, if the database is a file.
    #[must_use]
    pub fn file_path(&self) -> Option<&Path> {
        each!(self, TargetAddress, address => address.file_path())
    }

    /// Returns how the address asks connections to be protected, or `None` for a file.
    #[must_use]
    pub fn transport_security(&self) -> Option<TransportSecurity> {
        each!(self, TargetAddress, address => address.transport_security())
    }

    /// Returns why TLS cannot be set up as the address asks, or `None` if it can.
    #[must_use]
    pub fn tls_problem(&self) -> Option<String> {
        each!(self, TargetAddress, address => address.tls_problem())
    }

    /// Resolves a relative file path against a folder.
    #[must_use]
    pub fn resolved_in(mut self, folder: &Path) -> Self {
        each!(&mut self, TargetAddress, address => address.resolve_in(folder));
        self
    }

    /// Parses an address.
    ///
    /// # Errors
    ///
    /// If the scheme is unknown or unsupported, or the rest is not a valid address of that scheme.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(error) = UnsupportedScheme::find_error(text) {
            return Err(error);
        }
        Self::parse_known_scheme(text).unwrap_or_else(|| Err(unknown_address_error()))
    }
}

fn unknown_address_error() -> AddressError {
    let [first @ .., last] = ADDRESS_FORMS;
    AddressError::Unknown(format!("{}, or {last}", first.join(", ")))
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(self, TargetAddress, address => address.fmt_redacted(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_kind_of_address_and_never_prints_the_password() {
        assert!(matches!(
            TargetAddress::parse("sqlite:app%20one.db"),
            Ok(TargetAddress::Sqlite(path)) if path.to_str() == Some("app one.db")
        ));
        assert!(matches!(TargetAddress::parse("app.sqlite3"), Ok(TargetAddress::Sqlite(_))));
        for other in ["mysql://u:hunter2@h/d", "redis://:hunter2@h:6379/0"] {
            let message = TargetAddress::parse(other).unwrap_err().to_string();
            let expected = ["not supported yet; ", "PostgreSQL and SQLite", "`sessionwatch logs scan`"];
            assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        }
        let proxied = TargetAddress::parse("prisma+postgres://localhost:51213/?api_key=hunter2")
            .unwrap_err()
            .to_string();
        assert!(proxied.contains("direct") && !proxied.contains("hunter2"), "{proxied}");
        // {"databaseUrl":"postgres://u:hunter2@h:51214/template1?sslmode=disable&connection_limit=1"}
        let local = concat!(
            "prisma+postgres://localhost:51213/?api_key=eyJkYXRhYmFzZVVybCI6InBvc3RncmVzOi8vdTpodW50ZXIyQGg6NTEyM",
            "TQvdGVtcGxhdGUxP3NzbG1vZGU9ZGlzYWJsZSZjb25uZWN0aW9uX2xpbWl0PTEifQ"
        );
        for address in [local.to_owned(), format!("{local}==")] {
            let direct = TargetAddress::parse(&address).unwrap().to_string();
            assert_eq!(direct, "postgres://u:***@h:51214/template1", "{direct}");
        }
        for hostile in
            ["", "postgres://", "http://u:hunter2@h", "sqlite:", "postgres://u:hunter2@h:99999/d", "\0"]
        {
            let message = TargetAddress::parse(hostile)
                .map_or_else(|error| error.to_string(), |address| address.to_string());
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn every_address_in_the_documentation_is_understood() {
        let pages = [
            include_str!("../../../docs/addresses.md"),
            include_str!("../../../docs/hosting/supabase.md"),
            include_str!("../../../docs/hosting/vercel-neon.md"),
        ];
        let is_example = |text: &&str| text.starts_with("postgres://") && !text.contains('…');
        let addresses: Vec<&str> = pages
            .iter()
            .flat_map(|page| page.split(['`', '\n']))
            .filter(is_example)
            // The pattern itself, with words in capitals.
            .filter(|text| !text.contains(":PORT/"))
            .collect();
        assert!(addresses.len() > 14, "{addresses:?}");
        for address in addresses {
            let parsed = TargetAddress::parse(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert!(!parsed.to_string().contains("PASSWORD"), "{parsed}");
        }
    }
}

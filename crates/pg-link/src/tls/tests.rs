//! Tests that TLS is set up only if the certificates that the address needs can be loaded.

use super::*;

/// A folder, a file without a certificate, and a file that does not exist.
const UNUSABLE_FILES: [&str; 3] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/src"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/missing.pem"),
];

fn check_with(query: &str) -> Result<(), TlsError> {
    Dsn::parse(&format!("postgres://watch@db.example/app?{query}")).unwrap().check_tls()
}

#[test]
fn a_file_without_certificates_is_refused_where_they_are_verified() {
    for file in UNUSABLE_FILES {
        for mode in ["require", "verify-ca", "verify-full"] {
            let outcome = check_with(&format!("sslmode={mode}&sslrootcert={file}"));
            assert!(matches!(outcome, Err(TlsError::RootCert)), "{mode} {file}: {outcome:?}");
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains("sslrootcert") && !text.contains(file), "{text}");
        }
    }
    let outcome = check_with("sslmode=verify-ca");
    assert!(matches!(outcome, Err(TlsError::RootCert)), "nothing to verify against: {outcome:?}");
}

#[test]
fn encryption_without_verification_needs_no_certificates() {
    for query in ["sslmode=disable", "sslmode=allow", "sslmode=prefer", "sslmode=require", ""] {
        assert!(check_with(query).is_ok(), "{query}");
    }
}

#[test]
fn every_reason_against_a_certificate_has_its_own_words() {
    let reasons = [
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::NotValidForName,
        CertificateError::UnknownIssuer,
        CertificateError::Revoked,
        CertificateError::BadEncoding,
    ];
    let mut texts: Vec<&str> = reasons.iter().map(describe_certificate_error).collect();
    for text in &texts {
        assert!(text.starts_with("the server's certificate ") && !text.ends_with('.'), "{text}");
    }
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), reasons.len());
}

//! Tests that refusals are named correctly, and that no text of a server is shown. The servers here are sockets that
//! answer with prepared bytes.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{Dsn, NoRows, PgConnection};

/// A message that only the server knows, and that must not appear anywhere.
const SERVER_TEXT: &str = "secret-of-the-server";

/// Connects to a server that reads one message and answers with these bytes, then closes the connection.
async fn connect_to(answer: Vec<u8>, parameters: &str) -> ConnectError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        // The driver may try again with another encryption mode.
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1_024]).await;
            let _ = socket.write_all(&answer).await;
        }
    });
    let dsn = Dsn::parse(&format!("postgres://watch:hunter2@127.0.0.1:{port}/app?{parameters}")).unwrap();
    let outcome = PgConnection::<NoRows>::open(&dsn).await;
    server.abort();
    outcome.expect_err("a server that only refuses")
}

/// Returns an `ErrorResponse` with this SQLSTATE and message.
fn refusal(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

/// Returns the request for a password by this method.
fn authentication_request(method: u32, more: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + more.len()).unwrap();
    [b"R", &length.to_be_bytes()[..], &method.to_be_bytes(), more].concat()
}

fn failure_of(error: &ConnectError) -> ConnectFailure {
    match error {
        ConnectError::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_refusal_is_named_and_the_text_of_the_server_is_not_repeated() {
    let pg_hba = format!("no pg_hba.conf entry for user {SERVER_TEXT}");
    let pooler = format!("password authentication failed: {SERVER_TEXT}");
    for (code, message, expected) in [
        ("28P01", SERVER_TEXT, ConnectFailure::AuthenticationFailed),
        ("28000", SERVER_TEXT, ConnectFailure::UserRejected),
        ("28000", pg_hba.as_str(), ConnectFailure::HostRejected),
        ("3D000", SERVER_TEXT, ConnectFailure::UnknownDatabase),
        ("53300", SERVER_TEXT, ConnectFailure::TooManyConnections),
        ("57P03", SERVER_TEXT, ConnectFailure::NotReady),
        ("08P01", pooler.as_str(), ConnectFailure::AuthenticationFailed),
        ("08P01", SERVER_TEXT, ConnectFailure::Rejected),
        ("XX000", SERVER_TEXT, ConnectFailure::Rejected),
    ] {
        let error = tokio_test::block_on(connect_to(refusal(code, message), "sslmode=disable"));
        assert_eq!(failure_of(&error), expected, "{code}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SERVER_TEXT) && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_peer_that_is_no_server_is_recognized() {
    for (answer, parameters, expected) in [
        (&b""[..], "sslmode=disable", ConnectFailure::Closed),
        (b"", "sslmode=require", ConnectFailure::Closed),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "sslmode=prefer", ConnectFailure::NotPostgres),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "sslmode=require", ConnectFailure::NotPostgres),
        (b"N", "sslmode=require", ConnectFailure::TlsUnavailable),
        (b"N", "sslmode=verify-full&sslrootcert=system", ConnectFailure::TlsUnavailable),
    ] {
        let error = tokio_test::block_on(connect_to(answer.to_vec(), parameters));
        assert_eq!(failure_of(&error), expected, "{} {parameters}", String::from_utf8_lossy(answer));
    }
}

/// Bytes behind the answer to the request for TLS may come from an attacker (CVE-2021-23222).
#[test]
fn no_password_is_sent_without_the_encryption_that_the_address_requires() {
    for parameters in ["sslmode=require", "sslmode=verify-full&sslrootcert=system"] {
        let cleartext = authentication_request(3, b"");
        for answer in [[b"N", &cleartext[..]].concat(), [b"S", &cleartext[..]].concat(), cleartext] {
            let error = tokio_test::block_on(connect_to(answer.clone(), parameters));
            let failure = failure_of(&error);
            let is_about_tls = [
                ConnectFailure::TlsUnavailable,
                ConnectFailure::TlsHandshake,
                ConnectFailure::NotPostgres,
                ConnectFailure::Closed,
            ];
            assert!(is_about_tls.contains(&failure), "{failure:?} {parameters} {answer:?}");
        }
    }
}

#[test]
fn a_missing_password_is_distinguished_from_a_wrong_one() {
    let open = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 1_024]).await;
                let _ = socket.write_all(&authentication_request(5, &[1, 2, 3, 4])).await;
            }
        });
        let dsn = Dsn::parse(&format!("postgres://watch@127.0.0.1:{port}/app?sslmode=disable")).unwrap();
        let outcome = PgConnection::<NoRows>::open(&dsn).await;
        server.abort();
        outcome.unwrap_err()
    };
    assert_eq!(failure_of(&tokio_test::block_on(open)), ConnectFailure::PasswordMissing);
}

#[test]
fn a_closed_port_and_a_missing_socket_are_named() {
    let unused = async {
        // The port is free again once the listener is gone.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let dsn = Dsn::parse(&format!("postgres://watch@127.0.0.1:{port}/app")).unwrap();
        PgConnection::<NoRows>::open(&dsn).await.unwrap_err()
    };
    assert_eq!(failure_of(&tokio_test::block_on(unused)), ConnectFailure::Refused);
    let socket = async {
        let dsn = Dsn::parse("postgres://watch@%2Fnonexistent%2Ffolder/app").unwrap();
        PgConnection::<NoRows>::open(&dsn).await.unwrap_err()
    };
    assert_eq!(failure_of(&tokio_test::block_on(socket)), ConnectFailure::NoSocket);
}

#[test]
fn only_a_lack_of_file_descriptors_counts_as_one() {
    for (code, expected) in [(24, true), (23, true), (2, false), (11, false), (111, false)] {
        let error = std::io::Error::from_raw_os_error(code);
        assert_eq!(is_too_many_open_files(&error), expected, "{code}");
    }
    assert!(!is_too_many_open_files(&std::io::ErrorKind::OutOfMemory.into()));
}

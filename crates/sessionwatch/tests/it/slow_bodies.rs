//! Slow unauthenticated senders do not block authenticated ones from sending log lines, and few others.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

const SECRET: &str = "a-secret-of-the-drain";
const TOKEN: &str = "a-token-of-the-shipper";

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn slow_unauthenticated_bodies_block_nobody_else() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n\
         [serve]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{SECRET}\"\n\
         [[logs]]\nname = \"shipper\"\nkind = \"http\"\nsecret = \"{TOKEN}\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let watch = testkit::DaemonProcess::start(folder.path());
    let slow = |signed: &str| {
        let mut stream = TcpStream::connect(&watch.address).unwrap();
        let head = format!(
            "POST /ingest/vercel HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 203.0.113.7\r\n\
             {signed}Content-Length: 1000\r\n\r\nx",
            watch.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // Without a signature, the body is not waited for.
    let mut answer = String::new();
    slow("Connection: close\r\n").read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let forged = format!("x-vercel-signature: {}\r\n", "0".repeat(40));
    let mut held: Vec<TcpStream> = (0..40).map(|_| slow(&forged)).collect();
    let body = br#"[{"id":"1","message":"hello","timestamp":1795608000123}]"#;
    let send = |from: &str| {
        let headers = [("x-vercel-signature", signature(body)), ("x-forwarded-for", from.to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        testkit::http::post(&watch.address, "/ingest/vercel", &headers, body).status
    };
    // Once a network has used all its slots, it gets no more, and others still do.
    testkit::wait_until("the places of a network", || {
        // On a busy machine, the first attempts may have been rejected as too slow.
        held.push(slow(&forged));
        send("203.0.113.9") == 503
    });
    assert_eq!(send("198.51.100.9"), 200);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(testkit::http::post(&watch.address, "/ingest/logs", &headers, b"a line").status, 200);
    drop(held);
    testkit::wait_until("room again", || send("203.0.113.9") == 200);
    assert_eq!(watch.stop(), Some(0));
}

//! A client of the daemon's pages, of its interface and of other servers of this machine.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, Method, redirect::Policy};
use serde_json::Value;

use crate::ACCOUNT_PASSWORD;

/// How long an answer may take, on a busy machine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientRequest<'a> {
    /// The method; `GET` where it is empty.
    pub method: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is sent.
    pub body: &'a [u8],
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct ClientResponse {
    /// The status; 0 where the connection ended without an answer.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl ClientResponse {
    /// The first header of that name, in small letters; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body, which is JSON.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[must_use]
    pub fn parse_json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    /// The status, and headers and body.
    #[must_use]
    pub fn into_status_and_text(self) -> (u16, String) {
        (self.status, self.headers_and_body())
    }

    /// Headers and body, for whoever looks for a text anywhere.
    #[must_use]
    pub fn headers_and_body(&self) -> String {
        let head: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{head}\n{}", self.body)
    }
}

/// Asks a server at an address, such as `127.0.0.1:8080`, over a connection of its own, and follows no redirection.
///
/// # Panics
///
/// If method or headers are none.
#[must_use]
pub fn send_request(address: &str, request: ClientRequest<'_>) -> ClientResponse {
    // Stories about browsers run in a runtime of their own, in which no other one can be waited for.
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let answer = runtime.expect("a runtime").block_on(send_async(address, request));
            // Some stories cut connections: a test that fails shows why.
            answer.inspect_err(|error| print_error(address, error)).unwrap_or_default()
        });
        asking.join().expect("a request that can be made")
    })
}

#[expect(clippy::print_stderr, reason = "the output of a test that fails")]
fn print_error(address: &str, error: &reqwest::Error) {
    eprintln!("no answer from {address}: {error:?}");
}

/// What a page answers.
#[must_use]
pub fn get(address: &str, path: &str) -> ClientResponse {
    send_request(address, ClientRequest { path, ..ClientRequest::default() })
}

/// What a page answers to a request with these headers.
#[must_use]
pub fn get_with_headers(address: &str, path: &str, headers: &[(&str, &str)]) -> ClientResponse {
    send_request(address, ClientRequest { path, headers, ..ClientRequest::default() })
}

/// What is answered to something that is posted.
#[must_use]
pub fn post(address: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> ClientResponse {
    send_request(address, ClientRequest { method: "POST", path, headers, body: body.as_ref() })
}

async fn send_async(address: &str, request: ClientRequest<'_>) -> reqwest::Result<ClientResponse> {
    let method = if request.method.is_empty() { "GET" } else { request.method };
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let url = format!("http://{address}{}", request.path);
    let mut asked = shared_client().request(method, url).body(request.body.to_vec());
    for (name, value) in request.headers {
        asked = asked.header(*name, *value);
    }
    let answer = asked.send().await?;
    let headers = answer.headers().iter();
    let headers = headers
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_default();
    Ok(ClientResponse { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// One client, which keeps no connections: each belongs to the runtime that opened it.
fn shared_client() -> &'static Client {
    static SHARED_CLIENT: OnceLock<Client> = OnceLock::new();
    SHARED_CLIENT.get_or_init(|| {
        // Somebody else may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(Policy::none());
        client.timeout(RESPONSE_TIMEOUT).pool_max_idle_per_host(0).build().expect("a client")
    })
}

/// A log-in to the dashboard.
#[derive(Clone, Debug)]
pub struct DashboardLogin {
    /// What the browser sends from then on, as the header has it.
    pub cookie: String,
    /// What forms carry.
    pub csrf_token: String,
}

impl DashboardLogin {
    /// Logs an account in that [`crate::create_account`] has made.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    pub fn start(address: &str, name: &str) -> Self {
        let body = format!("name={name}&password={}", ACCOUNT_PASSWORD.replace(' ', "+"));
        let answer = post(address, "/login", &[], body);
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let is_kept = answer.header("set-cookie");
        assert!(is_kept.contains("HttpOnly") && is_kept.contains("SameSite=Lax"), "{is_kept}");
        let page = get_with_headers(address, "/settings", &[("cookie", &cookie)]).body;
        let (_, form) = page.split_once("name=\"form\" value=\"").expect("a page with a form");
        Self { cookie, csrf_token: form.split('"').next().unwrap_or_default().to_owned() }
    }

    /// What a page answers to whoever is logged in.
    #[must_use]
    pub fn get(&self, address: &str, path: &str) -> ClientResponse {
        get_with_headers(address, path, &[("cookie", &self.cookie)])
    }

    /// What is answered to a form with these fields, besides its own.
    #[must_use]
    pub fn submit_form(&self, address: &str, path: &str, fields: &str) -> ClientResponse {
        post(address, path, &[("cookie", &self.cookie)], format!("form={}&{fields}", self.csrf_token))
    }
}

//! HTTP client for the daemon's pages, its API and other local servers.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, Method, redirect::Policy};
use serde_json::Value;

use crate::ACCOUNT_PASSWORD;

/// Time limit for a response, generous for a busy machine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// A request to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientRequest<'a> {
    /// HTTP method; empty means `GET`.
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// Header names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: &'a [u8],
}

/// A response.
#[derive(Clone, Debug, Default)]
pub struct ClientResponse {
    /// Status code; 0 if the connection ended without a response.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body as text.
    pub body: String,
}

impl ClientResponse {
    /// Returns the first header with a lower-case name, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    #[must_use]
    pub fn parse_json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: status {}, body {}", self.status, self.body))
    }

    /// Returns the status, and headers and body as one text.
    #[must_use]
    pub fn into_status_and_text(self) -> (u16, String) {
        (self.status, self.headers_and_body())
    }

    /// Joins headers and body, to search a text in both.
    #[must_use]
    pub fn headers_and_body(&self) -> String {
        let head: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{head}\n{}", self.body)
    }
}

/// Sends a request to an address such as `127.0.0.1:8080`, on a new connection, without following redirects.
///
/// # Panics
///
/// Panics if the method or a header is invalid.
#[must_use]
pub fn send_request(address: &str, request: ClientRequest<'_>) -> ClientResponse {
    // Browser tests call this inside a tokio runtime, which cannot block on a second one in the same thread.
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let answer = runtime.expect("a runtime").block_on(send_async(address, request));
            // Some tests cut connections on purpose, so an error is only printed: the output of a failing test shows
            // it.
            answer.inspect_err(|error| print_error(address, error)).unwrap_or_default()
        });
        asking.join().expect("a request that can be made")
    })
}

#[expect(clippy::print_stderr, reason = "the output of a test that fails")]
fn print_error(address: &str, error: &reqwest::Error) {
    eprintln!("no response from {address}: {error:?}");
}

/// Sends a GET request.
#[must_use]
pub fn get(address: &str, path: &str) -> ClientResponse {
    send_request(address, ClientRequest { path, ..ClientRequest::default() })
}

/// Sends a GET request with headers.
#[must_use]
pub fn get_with_headers(address: &str, path: &str, headers: &[(&str, &str)]) -> ClientResponse {
    send_request(address, ClientRequest { path, headers, ..ClientRequest::default() })
}

/// Sends a POST request.
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

/// Returns the shared client.
fn shared_client() -> &'static Client {
    static SHARED_CLIENT: OnceLock<Client> = OnceLock::new();
    SHARED_CLIENT.get_or_init(|| {
        // Another test may have installed a provider already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // No idle connections: each would belong to the runtime that opened it, which has ended by then.
        let client = Client::builder().no_proxy().redirect(Policy::none());
        client.timeout(RESPONSE_TIMEOUT).pool_max_idle_per_host(0).build().expect("a client")
    })
}

/// A login session of the dashboard.
#[derive(Clone, Debug)]
pub struct DashboardLogin {
    /// Value of the `Cookie` header.
    pub cookie: String,
    /// CSRF token of the session's forms.
    pub csrf_token: String,
}

impl DashboardLogin {
    /// Logs in with an account that [`crate::create_account`] created.
    ///
    /// # Panics
    ///
    /// Panics if the login fails.
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

    /// Sends a GET request in this session.
    #[must_use]
    pub fn get(&self, address: &str, path: &str) -> ClientResponse {
        get_with_headers(address, path, &[("cookie", &self.cookie)])
    }

    /// Submits a form with these fields and the CSRF token.
    #[must_use]
    pub fn submit_form(&self, address: &str, path: &str, fields: &str) -> ClientResponse {
        post(address, path, &[("cookie", &self.cookie)], format!("form={}&{fields}", self.csrf_token))
    }
}

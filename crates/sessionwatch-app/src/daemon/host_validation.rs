//! Validates the `Host` header against DNS rebinding: a website whose name is made to resolve to this machine could
//! otherwise read `/metrics` and post to `/targets/{target}/wake` from a visitor's browser.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::DaemonState;
use crate::config::Config;

/// DNS suffixes that cannot be registered: of this machine, a cluster or a private network.
const PRIVATE_DNS_SUFFIXES: [&str; 5] = ["localhost", "svc", "cluster.local", "internal", "home.arpa"];
/// Health endpoints, which reveal nothing and are served under any name, since load balancers use any.
const UNGUARDED_PATHS: [&str; 2] = ["/healthz", "/readyz"];
/// Log ingestion, which needs a signature or token that no website has.
const INGEST_PATH_PREFIX: &str = "/ingest/";

/// Rejects requests whose `Host` is not an allowed name, with status 421.
pub(super) async fn require_allowed_host(
    State(state): State<Arc<DaemonState>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_free = UNGUARDED_PATHS.contains(&path) || path.starts_with(INGEST_PATH_PREFIX);
    // HTTP/2 carries the host in the URI. A browser always sends a host, so a request without one is not from a
    // website.
    let authority = request.uri().authority().map(|authority| Ok(authority.as_str()));
    // Every value counts: a proxy may read the first one and this program the last.
    let named = request.headers().get_all(header::HOST).iter().map(|value| value.to_str().map_err(drop));
    let config = state.app.config();
    let mut named = authority.into_iter().chain(named);
    if is_free || named.all(|named| named.is_ok_and(|named| is_allowed_host(&config, named))) {
        return next.run(request).await;
    }
    let why = "Host name not allowed: requests are rejected to prevent DNS rebinding.\n\
               To use this name, set `public_url` or add the name to `allowed_hosts` in [serve].\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Returns `true` if a `Host` header names this server, an IP address, or a name that cannot be registered.
fn is_allowed_host(config: &Config, named: &str) -> bool {
    // Parsed as a URI, because a port or an IPv6 literal makes splitting by hand unreliable.
    let Ok(uri) = named.parse::<Uri>() else { return false };
    // No legitimate client sends user info in the host.
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let Some(host) = authority.map(|authority| authority.host()) else { return false };
    // A trailing dot names the same host, and names are not case-sensitive.
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    // Rebinding needs a name: an IP address cannot be redirected, and names without a dot are resolved by the local
    // network.
    if address.parse::<IpAddr>().is_ok() || !host.is_empty() && !host.contains('.') {
        return true;
    }
    // Below the suffix, with a dot in front: `evilinternal` is not below `internal`.
    let is_below = |end: &&str| host.strip_suffix(*end).is_some_and(|rest| rest.ends_with('.'));
    if PRIVATE_DNS_SUFFIXES.iter().any(is_below) {
        return true;
    }
    let public = config.serve.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
    let public = public.as_ref().and_then(Uri::host).map(|host| host.trim_end_matches('.'));
    let mut allowed = config.serve.allowed_hosts.iter().map(String::as_str);
    public.is_some_and(|public| public.eq_ignore_ascii_case(&host))
        // `*` is for setups in which a proxy in front validates the host.
        || allowed.any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_registered_are_rejected() {
        let mut config = Config::default();
        config.serve.public_url = Some("https://Watch.example.org:8443/".into());
        config.serve.allowed_hosts = vec!["metrics.corp.example".into()];
        for own in [
            "127.0.0.1:9797",
            "[::1]:9797",
            "10.1.2.3",
            "localhost:9797",
            "LOCALHOST",
            "sessionwatch:9797",
            "app.localhost",
            "watch.default.svc",
            "watch.monitoring.svc.cluster.local:9797",
            "db.internal",
            "watch.example.org",
            "WATCH.example.org.:443",
            "metrics.corp.example:9797",
            "x",
        ] {
            assert!(is_allowed_host(&config, own), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:9797",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "watch.example.org.evil.example",
            "xwatch.example.org",
            "notlocalhost.example",
            "evil-svc.com",
            "evil.xinternal",
            "",
            "a b",
            "evil.example@127.0.0.1:80x",
            ".",
        ] {
            assert!(!is_allowed_host(&config, foreign), "{foreign}");
        }
        config.serve.allowed_hosts = vec!["*".into()];
        assert!(is_allowed_host(&config, "evil.example"));
    }
}

//! Access levels of routes.

use std::sync::Arc;

use axum::http::Method;
use sessionwatch_app::app::{accounts::AccountRole, tokens::TokenScope};

/// The access level of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No authentication.
    Anyone,
    /// Logged-in users with at least this role.
    LoggedIn(AccountRole),
    /// API tokens with this scope.
    Token(TokenScope),
}

/// A route and its access level.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The HTTP method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: String,
    /// The access level.
    pub access: Access,
    /// The audit actions that the route records, separated by commas; empty for one that only reads.
    pub audit_action: &'static str,
}

/// The routes of a router.
#[derive(Clone, Debug)]
pub struct RouteTable(Arc<[RouteSpec]>);

impl RouteTable {
    /// Creates a table of routes.
    pub(crate) fn new(routes: impl IntoIterator<Item = RouteSpec>) -> Self {
        Self(routes.into_iter().collect())
    }

    /// Iterates over all routes.
    pub fn iter(&self) -> impl Iterator<Item = &RouteSpec> {
        self.0.iter()
    }

    /// Returns the route of a request. A HEAD request uses the GET route.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<&RouteSpec> {
        // axum answers HEAD with the GET handler, so both need the same access.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.iter().find(|route| route.path == path && route.method == *method)
    }

    /// Returns the methods allowed at a path, for the `Allow` header.
    pub(crate) fn allowed_methods(&self, path: &str) -> String {
        let here = self.iter().filter(|route| route.path == path);
        here.map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;

//! Who may use which route.

use std::sync::Arc;

use axum::http::Method;
use sessionwatch_app::app::{accounts::AccountRole, tokens::TokenScope};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches it.
    Anyone,
    /// Who is logged in, with at least this role.
    LoggedIn(AccountRole),
    /// Programs with a token for this.
    Token(TokenScope),
}

/// A route, and who may use it.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// How it is asked for.
    pub method: Method,
    /// Where it is.
    pub path: String,
    /// Who may use it.
    pub access: Access,
    /// What is recorded of it in the audit trail; empty for what only reads.
    pub audit_action: &'static str,
}

/// Every route of a router.
#[derive(Clone, Debug)]
pub struct RouteTable(Arc<[RouteSpec]>);

impl RouteTable {
    /// Of some routes.
    pub(crate) fn new(routes: impl IntoIterator<Item = RouteSpec>) -> Self {
        Self(routes.into_iter().collect())
    }

    /// Every route.
    pub fn iter(&self) -> impl Iterator<Item = &RouteSpec> {
        self.0.iter()
    }

    /// The route of a request. Whoever may read something may also ask for its head.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<&RouteSpec> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.iter().find(|route| route.path == path && route.method == *method)
    }

    /// The methods that are taken at a path.
    pub(crate) fn allowed_methods(&self, path: &str) -> String {
        let here = self.iter().filter(|route| route.path == path);
        here.map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ")
    }
}

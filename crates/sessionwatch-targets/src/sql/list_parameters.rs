//! Parameters of a list of sessions: filters, order and page.

use sessionwatch_core::timestamp::UtcTimestamp;

/// Filter by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedStatus {
    /// Not expired.
    Active,
    /// Expired.
    Expired,
    /// All, including sessions with an undecodable expiry.
    All,
}

/// A problem of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionProblem {
    /// The token occurs more than once.
    SharedToken,
    /// The user does not exist.
    Orphaned,
}

impl SessionProblem {
    /// Returns the value of a list's problem column.
    pub(super) const fn column_value(self) -> &'static str {
        match self {
            Self::SharedToken => "shared",
            Self::Orphaned => "orphaned",
        }
    }

    /// Parses the value of a list's problem column.
    pub(crate) fn from_column_value(value: &str) -> Option<Self> {
        [Self::SharedToken, Self::Orphaned].into_iter().find(|problem| problem.column_value() == value)
    }
}

/// Whether a list says what is wrong with each session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProblemSearch {
    /// No problem is looked for.
    #[default]
    Skip,
    /// Missing users, and shared tokens if the token column has an index.
    Indexed,
    /// Missing users and shared tokens. Without an index, this reads all tokens.
    Full,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSort {
    /// By expiry.
    Expires,
    /// By creation, or by expiry without a creation column.
    Created,
    /// By user.
    User,
    /// By row id.
    Id,
}

/// A list of sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionListQuery<'a> {
    /// Filter by status.
    pub status: ListedStatus,
    /// Only sessions of this user.
    pub user: Option<&'a str>,
    /// Only those of users whose ID, name, handle or email address contains this, in upper or lower case.
    pub user_like: Option<&'a str>,
    /// Only the session with this row id, or those with this token prefix.
    pub id_or_prefix: Option<&'a str>,
    /// Only sessions with this problem.
    pub problem: Option<SessionProblem>,
    /// Whether each session comes with its problem.
    pub problem_search: ProblemSearch,
    /// Only sessions with this IP address, if addresses are stored.
    pub ip: Option<&'a str>,
    /// Only sessions whose user agent contains this, in upper or lower case, if user agents are stored.
    pub agent_like: Option<&'a str>,
    /// Only sessions with one of these token prefixes; all if empty.
    pub token_prefixes: &'a [String],
    /// Only sessions created since then, if creation is stored.
    pub created_since: Option<UtcTimestamp>,
    /// Use an order that can be continued on the next page: by expiry or creation and then by row id, or by
    /// row id alone if every row has one.
    pub is_paged: bool,
    /// Only sessions after this one in that order.
    pub after: Option<SessionListCursor<'a>>,
    /// Order.
    pub sort: SessionSort,
    /// Ascending order.
    pub ascending: bool,
    /// Maximum number of sessions.
    pub limit: usize,
}

/// The last session of a page.
#[derive(Clone, Copy, Debug)]
pub struct SessionListCursor<'a> {
    /// Its expiry or creation in microseconds, or the largest number if it has none.
    pub sort_key: i64,
    /// Its row id.
    pub id: &'a str,
}

impl SessionListQuery<'_> {
    /// Creates the list of the operator guide: all sessions, latest expiry first.
    #[must_use]
    pub const fn all(limit: usize) -> Self {
        Self {
            status: ListedStatus::All,
            user: None,
            user_like: None,
            id_or_prefix: None,
            problem: None,
            problem_search: ProblemSearch::Skip,
            ip: None,
            agent_like: None,
            token_prefixes: &[],
            created_since: None,
            is_paged: false,
            after: None,
            sort: SessionSort::Expires,
            ascending: false,
            limit,
        }
    }
}

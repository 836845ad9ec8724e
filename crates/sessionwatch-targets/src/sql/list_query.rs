//! What a list of sessions is asked for: which of them, in which order, and which page.

use sessionwatch_core::timestamp::UtcTimestamp;

/// Which sessions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedStatus {
    /// Not ended.
    Active,
    /// Ended.
    Expired,
    /// Both, and those whose end cannot be read.
    All,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSort {
    /// By end.
    Expires,
    /// By creation; by end where creation is not stored.
    Created,
    /// By user.
    User,
    /// By row id.
    Id,
}

/// A list of sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionListQuery<'a> {
    /// Which.
    pub status: ListedStatus,
    /// Only this user's.
    pub user: Option<&'a str>,
    /// Only those of users whose ID, name, handle or email address contains this, in upper or lower case.
    pub user_like: Option<&'a str>,
    /// Only the one with this row id, or those whose tokens begin so (by the token prefix).
    pub id_or_prefix: Option<&'a str>,
    /// Only those whose tokens begin with one of these; all, if there are none.
    pub token_prefixes: &'a [String],
    /// Only those that were created since then, where the table says when.
    pub created_since: Option<UtcTimestamp>,
    /// In an order that pages can follow each other in: by end or creation, and then by row id, or by that alone, where
    /// every row has one.
    pub is_paged: bool,
    /// Only those that come after this one in that order.
    pub after: Option<SessionListCursor<'a>>,
    /// In which order.
    pub sort: SessionSort,
    /// Smallest first.
    pub ascending: bool,
    /// At most so many.
    pub limit: usize,
}

/// The last session of a page.
#[derive(Clone, Copy, Debug)]
pub struct SessionListCursor<'a> {
    /// Its end or creation in microseconds; the largest number where it has none.
    pub sort_key: i64,
    /// Its row id.
    pub id: &'a str,
}

impl SessionListQuery<'_> {
    /// The guide's list: every session, latest end first.
    #[must_use]
    pub const fn all(limit: usize) -> Self {
        Self {
            status: ListedStatus::All,
            user: None,
            user_like: None,
            id_or_prefix: None,
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

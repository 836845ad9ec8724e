//! Values of options that name engines, orders and formats.

use sessionwatch_app::{
    app::{
        sessions::{SessionSort, SessionStatus},
        target_reader::UserRank,
    },
    config::EngineKind,
};

/// The engine of a check run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum EngineChoice {
    /// Stream compact rows and aggregate locally
    Scan,
    /// Aggregate in the database
    Pushdown,
}

/// The sessions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum StatusChoice {
    /// Not expired
    Active,
    /// Expired
    Expired,
    /// All, including those with an unreadable expiry
    All,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SortChoice {
    /// Expiry
    Expires,
    /// Creation; expiry where creation is not stored
    Created,
    /// User
    User,
    /// Row ID
    Id,
}

/// The number by which users are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RankChoice {
    /// Active sessions
    Active,
    /// Sessions of any status
    Rows,
    /// Sessions created in the last hour
    Recent,
}

/// The format of a document that is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DocumentFormat {
    /// Human-readable text
    Table,
    /// One JSON document
    Json,
}

impl From<EngineChoice> for EngineKind {
    fn from(choice: EngineChoice) -> Self {
        match choice {
            EngineChoice::Scan => Self::Scan,
            EngineChoice::Pushdown => Self::Pushdown,
        }
    }
}

impl From<StatusChoice> for SessionStatus {
    fn from(choice: StatusChoice) -> Self {
        match choice {
            StatusChoice::Active => Self::Active,
            StatusChoice::Expired => Self::Expired,
            StatusChoice::All => Self::All,
        }
    }
}

impl From<SortChoice> for SessionSort {
    fn from(choice: SortChoice) -> Self {
        match choice {
            SortChoice::Expires => Self::Expires,
            SortChoice::Created => Self::Created,
            SortChoice::User => Self::User,
            SortChoice::Id => Self::Id,
        }
    }
}

impl From<RankChoice> for UserRank {
    fn from(choice: RankChoice) -> Self {
        match choice {
            RankChoice::Active => Self::Active,
            RankChoice::Rows => Self::Rows,
            RankChoice::Recent => Self::Recent,
        }
    }
}

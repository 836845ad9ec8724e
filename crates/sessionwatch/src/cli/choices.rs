//! How words on the command line name what the targets know.

use sessionwatch_app::{
    app::{
        sessions::{SessionSort, SessionStatus},
        target_reader::UserRank,
    },
    config::EngineKind,
};

/// Which engine a target is observed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum EngineChoice {
    /// Pull compact rows once and aggregate here.
    Scan,
    /// Aggregate in the database.
    Pushdown,
}

/// Which sessions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum StatusChoice {
    /// Not ended.
    Active,
    /// Ended.
    Expired,
    /// Both, and those whose end cannot be read.
    All,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SortChoice {
    /// By end.
    Expires,
    /// By creation; by end where creation is not stored.
    Created,
    /// By user.
    User,
    /// By row id.
    Id,
}

/// By what users are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RankChoice {
    /// Active sessions.
    Active,
    /// Rows of any status.
    Rows,
    /// Sessions created in the last hour.
    Recent,
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

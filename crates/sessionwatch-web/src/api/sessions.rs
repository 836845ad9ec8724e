//! Sessions and users of a target.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{LogEventDto, Rfc3339, SessionDto},
    app::{
        AppState, TargetOps,
        incidents::{self, FoundUser, USER_SEARCH_LIMIT},
        sessions::{
            self, SessionList, SessionPageCursor, SessionQuery, SessionRow, SessionSort, SessionStatus,
            sort_key,
        },
    },
};
use sessionwatch_core::plural::ListTotal;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedInt, BoundedText, ListPage, PathParams, QueryParams},
    targets::TargetPath,
};

/// A user of a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct UserPath {
    /// Name of the target
    #[param(inline)]
    target: BoundedText<200>,
    /// User ID
    #[param(inline)]
    user: BoundedText<200>,
}

/// The status of the sessions to list.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SessionStatusFilter {
    #[default]
    All,
    Active,
    Expired,
}

/// The sort order. Sorting by user returns a single page.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SessionSortKey {
    Expires,
    Created,
    User,
    Id,
}

/// The sort direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortDirection {
    /// Descending.
    #[default]
    Down,
    /// Ascending.
    Up,
}

/// The last session of a page, encoded as a letter for the sort order, the expiry or creation time in microseconds, and
/// the row ID in hexadecimal.
#[derive(Clone, Debug)]
struct SessionCursor {
    sort: SessionSort,
    key: i64,
    id: String,
}

impl<'de> Deserialize<'de> for SessionCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected the value of `next` from the previous page"))
    }
}

impl utoipa::PartialSchema for SessionCursor {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let text = utoipa::openapi::schema::ObjectBuilder::new();
        let text = text.schema_type(utoipa::openapi::schema::Type::String);
        text.pattern(Some(r"^[eci]-?[0-9]{1,19}\.([0-9a-f]{2}){0,200}$")).into()
    }
}

impl ToSchema for SessionCursor {}

impl SessionCursor {
    fn from_row(row: &SessionRow, sort: SessionSort) -> Self {
        Self { sort, key: sort_key(row, sort), id: row.id.clone().unwrap_or_default() }
    }

    /// Encodes the cursor as text that is safe in a URL.
    fn encode(&self) -> String {
        let order = match self.sort {
            SessionSort::Expires | SessionSort::User => 'e',
            // By user, the list has a single page, so its cursor is never used.
            SessionSort::Created => 'c',
            SessionSort::Id => 'i',
        };
        // Hexadecimal, because row IDs may contain any character.
        self.id
            .bytes()
            .fold(format!("{order}{}.", self.key), |text, byte| text + format!("{byte:02x}").as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let orders = [('e', SessionSort::Expires), ('c', SessionSort::Created), ('i', SessionSort::Id)];
        let (sort, text) =
            orders.iter().find_map(|(letter, sort)| Some((*sort, text.strip_prefix(*letter)?)))?;
        let (key, id) = text.split_once('.')?;
        let digits = key.strip_prefix('-').unwrap_or(key);
        let is_key = (1..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        // Bounded before it is decoded, since the cursor comes from the client.
        if !is_key || id.len() % 2 != 0 || id.len() > 400 || !id.bytes().all(hex) {
            return None;
        }
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let id: Vec<u8> = id.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
        // Any text of digits is accepted and clamped, as a cursor never has to be exact to be safe.
        let key = key.parse::<i128>().ok()?.clamp(i64::MIN.into(), i64::MAX.into());
        // Row IDs are valid UTF-8 without zero bytes: databases reject anything else, even in a comparison.
        let id = String::from_utf8_lossy(&id).replace('\0', "");
        Some(Self { sort, key: i64::try_from(key).ok()?, id })
    }
}

/// Filter, order and page of sessions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSessionsQuery {
    /// Status; all by default
    #[serde(default)]
    #[param(inline)]
    status: SessionStatusFilter,
    /// Sort order; with a cursor, that of the previous page. By default by expiry, or by row ID if a table of more than
    /// 100,000 rows has no index on the expiry and would be read completely for each page
    #[param(inline)]
    sort: Option<SessionSortKey>,
    /// Sort direction
    #[serde(default)]
    #[param(inline)]
    order: SortDirection,
    /// Only sessions of this user
    #[param(inline)]
    user: Option<BoundedText<200>>,
    /// Only the session with this row ID, or sessions with this token prefix
    #[param(inline)]
    token: Option<BoundedText<200>>,
    /// Page size; 100 by default
    #[param(inline)]
    limit: Option<BoundedInt<1_000>>,
    /// `next` from the previous page
    #[param(inline)]
    cursor: Option<SessionCursor>,
}

/// List sessions of a target, with token prefixes
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/sessions",
    tag = "targets",
    params(TargetPath, ListSessionsQuery),
    responses((status = 200, description = "A page of sessions", body = ListPage<SessionDto>))
)]
pub(super) async fn list_sessions(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
    QueryParams(wanted): QueryParams<ListSessionsQuery>,
) -> ApiResult<ListPage<SessionDto>> {
    let target = app.target(&of.target)?;
    let limit = wanted.limit.map_or(100, |BoundedInt(limit)| limit as usize);
    let text = |text: Option<BoundedText<200>>| text.map(|text| text.to_string());
    let sort = wanted.sort.map(|sort| match sort {
        SessionSortKey::Expires => SessionSort::Expires,
        SessionSortKey::Created => SessionSort::Created,
        SessionSortKey::User => SessionSort::User,
        SessionSortKey::Id => SessionSort::Id,
    });
    let asked = SessionQuery {
        status: match wanted.status {
            SessionStatusFilter::All => SessionStatus::All,
            SessionStatusFilter::Active => SessionStatus::Active,
            SessionStatusFilter::Expired => SessionStatus::Expired,
        },
        // A cursor is a position in its own sort order only, so that order wins.
        sort: wanted.cursor.as_ref().map(|place| place.sort).or(sort),
        paged: true,
        ascending: wanted.order == SortDirection::Up,
        user: text(wanted.user),
        row_id_or_prefix: text(wanted.token),
        after: wanted.cursor.map(|place| SessionPageCursor { key: place.key, id: place.id }),
        ..SessionQuery::first(limit)
    };
    let found = sessions::list_sessions(&app, &target, asked).await?;
    let session = |row: &SessionRow| SessionDto::from_row(row, &found.display, found.now);
    let last = found.rows.last().filter(|_| found.has_more && found.sort != SessionSort::User);
    let next = last.map(|row| SessionCursor::from_row(row, found.sort).encode());
    Ok(Json(ListPage { items: found.rows.iter().map(session).collect(), next }))
}

/// A user found by a search.
#[derive(Serialize, ToSchema)]
pub(super) struct MatchingUser {
    id: String,
    /// Name, handle or email, to recognize the user.
    display: Vec<String>,
    sessions: u64,
}

/// A search for users.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchUsersQuery {
    /// Part of the name, email, handle or ID
    #[param(inline)]
    find: BoundedText<200>,
}

/// Search users by a part of their name, email, handle or ID (at most 50)
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/users",
    tag = "targets",
    params(TargetPath, SearchUsersQuery),
    responses((status = 200, description = "The matching users", body = ListPage<MatchingUser>))
)]
pub(super) async fn search_users(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<TargetPath>,
    QueryParams(find): QueryParams<SearchUsersQuery>,
) -> ApiResult<ListPage<MatchingUser>> {
    // The caller is waiting, so the search uses the short timeout.
    let ops = TargetOps::new(&app, app.target(&of.target)?, &caller.actor()).with_short_timeout();
    let found = incidents::search_users(ops, find.find.to_string(), USER_SEARCH_LIMIT).await?;
    let candidate = |FoundUser { display, sessions }: FoundUser| {
        let mut shown = display.into_iter();
        let id = shown.next().unwrap_or_default();
        MatchingUser { id, display: shown.filter(|text| !text.is_empty()).collect(), sessions }
    };
    Ok(Json(ListPage::from_all(found.into_iter().map(candidate).collect())))
}

/// A user: stored sessions, log events and history.
#[derive(Serialize, ToSchema)]
pub(super) struct UserDetails {
    id: String,
    /// Up to 100 stored sessions, those that end last; null if the database is unavailable.
    sessions: Option<Vec<SessionDto>>,
    /// Number of stored sessions, counted up to 100,000; null if the database is unavailable.
    session_count: Option<u64>,
    /// The reason why the database is unavailable.
    unavailable: Option<String>,
    /// Up to 100 log events of the last 30 days.
    log_events: Vec<LogEventDto>,
    /// Findings and plans about the user's sessions, including sessions that no longer exist.
    history: Vec<UserHistoryEntry>,
}

/// An entry in the history of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserHistoryEntry {
    at: Rfc3339,
    text: String,
}

/// Get a user of a target
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/users/{user}",
    tag = "targets",
    params(UserPath),
    responses((status = 200, description = "The user", body = UserDetails))
)]
pub(super) async fn get_user(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<UserPath>,
) -> ApiResult<UserDetails> {
    let target = app.target(&of.target)?;
    // The stored activity first: it is available even while the database is not.
    let records = sessions::load_user_activity(&app, &target.name, &of.user).await?;
    let found = sessions::list_user_sessions(&app, &target, &of.user).await;
    // Not an error of the request: the history alone answers many questions.
    let unavailable = found.as_ref().err().map(ToString::to_string);
    let list = found.ok().map(|found| found.list);
    let session_dtos = |list: &SessionList| {
        let session = |line| SessionDto::from_row(line, &list.display, list.now);
        list.rows.iter().map(session).collect()
    };
    Ok(Json(UserDetails {
        id: of.user.to_string(),
        sessions: list.as_ref().map(session_dtos),
        session_count: list.as_ref().and_then(|list| list.total).map(ListTotal::counted),
        unavailable,
        log_events: records.log_events.iter().map(LogEventDto::from_record).collect(),
        history: records
            .history
            .into_iter()
            .map(|event| UserHistoryEntry { at: Rfc3339(event.at), text: event.summary })
            .collect(),
    }))
}

#[cfg(test)]
mod tests;

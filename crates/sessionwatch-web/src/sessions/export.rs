//! Exports of a list of sessions.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sessionwatch_app::{
    api_types,
    app::{
        AppState,
        sessions::{self, SessionList},
    },
    report,
};
use sessionwatch_clock as clock;

use super::filter::SessionFilter;
use crate::{
    format::sanitize_text,
    params::{PagePath, PageQuery},
    web_error::WebError,
};

/// Most sessions in an export, which is built in memory.
pub(super) const MAX_EXPORTED_SESSIONS: usize = 100_000;
/// Response header of exports: `true` if sessions are missing from the end.
const TRUNCATED_HEADER: HeaderName = HeaderName::from_static("sessionwatch-truncated");

pub(crate) async fn export_csv(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(filter): PageQuery<SessionFilter>,
) -> Result<Response, WebError> {
    let found = list_exported_sessions(&app, &name, &filter).await?;
    let mut text = "token_prefix,id,user,expires,status\n".to_owned();
    for line in &found.rows {
        let field = |text: &Option<String>| sanitize_text(text.as_deref().unwrap_or_default());
        let (token, id, user) = (field(&line.token_prefix), field(&line.id), field(&line.user));
        let expires = line.expires_at.map(clock::format_rfc3339).unwrap_or_default();
        text.push_str(&sessionwatch_app::output::csv::render_csv_line(&[
            &token,
            &id,
            &user,
            &expires,
            report::session_status(line.expires_at, found.now),
        ]));
    }
    // A browser does not show headers, so the file name says that the export is cut.
    let file_name = if found.has_more {
        format!("sessions-first-{MAX_EXPORTED_SESSIONS}.csv")
    } else {
        "sessions.csv".to_owned()
    };
    let disposition = format!("attachment; filename=\"{file_name}\"");
    let content_type = "text/csv; charset=utf-8".to_owned();
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, disposition)];
    Ok((export_headers(&found), headers, text).into_response())
}

pub(crate) async fn export_json(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(filter): PageQuery<SessionFilter>,
) -> Result<Response, WebError> {
    let found = list_exported_sessions(&app, &name, &filter).await?;
    let session = |line| api_types::SessionDto::from_row(line, &found.display, found.now);
    let sessions = found.rows.iter().map(session).collect::<Vec<_>>();
    let document = json!({ "schema": 2, "sessions": sessions, "truncated": found.has_more });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((export_headers(&found), headers, document.to_string()).into_response())
}

async fn list_exported_sessions(
    app: &Arc<AppState>,
    target: &str,
    filter: &SessionFilter,
) -> Result<SessionList, WebError> {
    let target = app.target(target)?;
    let query = filter.to_session_query(MAX_EXPORTED_SESSIONS, app.clock.now())?;
    Ok(sessions::list_sessions(app, &target, query).await?)
}

/// Returns the header that says whether an export holds only the first [`MAX_EXPORTED_SESSIONS`].
fn export_headers(found: &SessionList) -> [(HeaderName, &'static str); 1] {
    [(TRUNCATED_HEADER, if found.has_more { "true" } else { "false" })]
}

#[cfg(test)]
mod tests;

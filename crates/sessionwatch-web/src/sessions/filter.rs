//! The filter of a list of sessions, as it is in the URL.

use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError,
    session_totals::SessionTotals,
    sessions::{ProblemSearch, SessionPageCursor, SessionProblem, SessionQuery, SessionSort, SessionStatus},
};
use sessionwatch_core::{
    duration::{DAY, HOUR},
    timestamp::UtcTimestamp,
};

use crate::{
    components::{Icon, render_icon},
    format::{percent_encode, sanitize_text},
};

/// Sort orders, with their names in URLs.
const SORT_NAMES: [(SessionSort, &str); 4] = [
    (SessionSort::Expires, "expires"),
    (SessionSort::Created, "created"),
    (SessionSort::User, "user"),
    (SessionSort::Id, "id"),
];
/// Values of choices in URLs, with their labels.
const STATUS_OPTIONS: [(&str, &str); 3] = [("", "any"), ("active", "active"), ("expired", "expired")];
const CREATED_OPTIONS: [(&str, &str); 4] =
    [("", "at any time"), ("hour", "last hour"), ("day", "last day"), ("week", "last week")];
const PROBLEM_OPTIONS: [(&str, &str); 3] =
    [("", "any"), ("shared", "shared token"), ("orphaned", "user does not exist")];

/// The filter in the query string.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SessionFilter {
    pub(super) status: String,
    pub(super) created: String,
    pub(super) problem: String,
    pub(super) sort: String,
    pub(super) order: String,
    pub(super) user: String,
    pub(super) find: String,
    pub(super) agent: String,
    pub(super) ip: String,
    pub(super) token: String,
    pub(super) after: String,
    pub(super) id: String,
    /// Number of sessions on the pages before this one.
    pub(super) seen: String,
    /// Row ID of the session in the side panel.
    pub(super) open: String,
}

/// A condition of a filter.
struct FilterChip<'a> {
    /// Name in the URL.
    field: &'static str,
    label: &'static str,
    value: &'a str,
}

impl SessionFilter {
    fn parse_status(&self) -> Result<SessionStatus, AppError> {
        Ok(match self.status.as_str() {
            "" | "all" => SessionStatus::All,
            "active" => SessionStatus::Active,
            "expired" => SessionStatus::Expired,
            other => {
                return Err(AppError::Invalid(format!(
                    "Unknown status “{other}”. Use active, expired or all."
                )));
            }
        })
    }

    pub(super) fn parse_sort(&self) -> Result<Option<SessionSort>, AppError> {
        let wanted = SORT_NAMES.iter().find(|(_, name)| *name == self.sort).map(|(sort, _)| *sort);
        if wanted.is_none() && !self.sort.is_empty() {
            let message = format!("Unknown sort order “{}”. Use expires, created, user or id.", self.sort);
            return Err(AppError::Invalid(message));
        }
        Ok(wanted)
    }

    fn parse_problem(&self) -> Result<Option<SessionProblem>, AppError> {
        match self.problem.as_str() {
            "" => Ok(None),
            "shared" => Ok(Some(SessionProblem::SharedToken)),
            "orphaned" => Ok(Some(SessionProblem::Orphaned)),
            other => Err(AppError::Invalid(format!("Unknown problem “{other}”. Use shared or orphaned."))),
        }
    }

    fn parse_created_since(&self, now: UtcTimestamp) -> Result<Option<UtcTimestamp>, AppError> {
        match self.created.as_str() {
            "" => Ok(None),
            "hour" => Ok(Some(now - HOUR)),
            "day" => Ok(Some(now - DAY)),
            "week" => Ok(Some(now - 7 * DAY)),
            other => Err(AppError::Invalid(format!("Unknown period “{other}”. Use hour, day or week."))),
        }
    }

    /// Returns the query for at most `limit` sessions.
    pub(super) fn to_session_query(&self, limit: usize, now: UtcTimestamp) -> Result<SessionQuery, AppError> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let created_since = self.parse_created_since(now)?;
        // A list of new sessions begins with the newest.
        let sort = self.parse_sort()?.or(created_since.map(|_| SessionSort::Created));
        Ok(SessionQuery {
            status: self.parse_status()?,
            problem: self.parse_problem()?,
            created_since,
            sort,
            paged: true,
            ascending: self.order == "up",
            user: some(&self.user),
            user_like: some(&self.find),
            agent_like: some(&self.agent),
            ip: some(&self.ip),
            row_id_or_prefix: some(&self.token),
            after: self.page_cursor(),
            ..SessionQuery::first(limit)
        })
    }

    /// Returns how to look for the problems of the listed sessions. Without an index, shared tokens are worth a
    /// search only if there are any.
    pub(super) fn problem_search(&self, totals: &SessionTotals) -> ProblemSearch {
        let has_shared = self.problem == "shared" || totals.shared_tokens.is_some_and(|count| count > 0);
        if has_shared { ProblemSearch::Full } else { ProblemSearch::Indexed }
    }

    /// Returns the session after which this page begins; `None` on the first page.
    fn page_cursor(&self) -> Option<SessionPageCursor> {
        self.after.parse().ok().map(|key| SessionPageCursor { key, id: self.id.clone() })
    }

    /// Returns the number of sessions on the pages before this one; `None` if the link lacks it.
    pub(super) fn seen_before(&self) -> Option<u64> {
        if self.page_cursor().is_none() { Some(0) } else { self.seen.parse().ok() }
    }

    /// Returns the name of a sort order in URLs.
    pub(super) fn sort_name(sort: SessionSort) -> &'static str {
        SORT_NAMES.iter().find(|(one, _)| *one == sort).map_or("", |(_, name)| name)
    }

    /// Returns the filter as a query string, without the page and the open session.
    pub(super) fn to_query_string(&self) -> String {
        self.query_without("")
    }

    /// Returns the query string of this page of the list.
    pub(super) fn page_query_string(&self) -> String {
        let query = self.to_query_string();
        if self.after.is_empty() {
            return query;
        }
        let seen = self.seen_before().map(|seen| format!("&seen={seen}")).unwrap_or_default();
        let page = format!("after={}&id={}{seen}", percent_encode(&self.after), percent_encode(&self.id));
        if query.is_empty() { page } else { format!("{query}&{page}") }
    }

    fn query_without(&self, field: &str) -> String {
        let sorting = [("sort", self.sort.as_str()), ("order", self.order.as_str())];
        let conditions = self.conditions().map(|chip| (chip.field, chip.value));
        let set = conditions.into_iter().chain(sorting);
        set.filter(|(name, value)| !value.is_empty() && *name != field)
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect::<Vec<_>>()
            .join("&")
    }

    fn conditions(&self) -> [FilterChip<'_>; 8] {
        let chip = |field, label, value| FilterChip { field, label, value };
        [
            chip("status", "Status", &self.status),
            chip("problem", "Problem", &self.problem),
            chip("created", "Created", &self.created),
            chip("user", "User ID", &self.user),
            chip("find", "User contains", &self.find),
            chip("agent", "User agent contains", &self.agent),
            chip("ip", "IP address", &self.ip),
            chip("token", "ID or prefix", &self.token),
        ]
    }

    /// Returns `true` if nothing is filtered.
    pub(super) fn is_empty(&self) -> bool {
        self.conditions().iter().all(|chip| chip.value.is_empty() || chip.value == "all")
    }

    /// Returns `true` if the filter has conditions besides those of a tab.
    pub(super) fn is_narrowed(&self) -> bool {
        self.conditions()[3..].iter().any(|chip| !chip.value.is_empty())
    }

    /// Renders the conditions with links that remove them, and the form that adds more.
    pub(super) fn render_chips(&self, base: &str) -> Markup {
        html! {
            div.chips {
                @for chip in self.conditions().iter().filter(|chip| !chip.value.is_empty() && chip.value != "all") {
                    span.chip {
                        span { (chip.label) } b { (chip.shown_value()) }
                        @let href = format!("{base}/sessions?{}", self.query_without(chip.field));
                        a href=(href) aria-label={ "Remove filter " (chip.label) } { (render_icon(Icon::X)) }
                    }
                }
                button.chip.chip-add type="button" popovertarget="add-filter" { (render_icon(Icon::Plus)) "Add filter" }
                @if !self.is_empty() { a href={ (base) "/sessions" } { "Clear filters" } }
            }
            (self.render_form(base))
        }
    }

    fn render_form(&self, base: &str) -> Markup {
        html! {
            div.dialog id="add-filter" popover role="dialog" aria-labelledby="add-filter-title" {
                form method="get" action={ (base) "/sessions" } {
                    div.dialog-body {
                        h2.h2 id="add-filter-title" { "Filter sessions" }
                        div.grid-2 {
                            (choice_field("status", "Status", &self.status, &STATUS_OPTIONS))
                            (choice_field("created", "Created", &self.created, &CREATED_OPTIONS))
                        }
                        (choice_field("problem", "Problem", &self.problem, &PROBLEM_OPTIONS))
                        (text_field("find", "User name, email, handle or ID contains", &self.find))
                        div.grid-2 {
                            (text_field("user", "User ID", &self.user))
                            (text_field("ip", "IP address", &self.ip))
                            (text_field("agent", "User agent contains", &self.agent))
                            (text_field("token", "Row ID or token prefix", &self.token))
                        }
                        @if !self.sort.is_empty() { input type="hidden" name="sort" value=(self.sort); }
                        @if !self.order.is_empty() { input type="hidden" name="order" value=(self.order); }
                    }
                    div.dialog-foot {
                        button.btn type="button" popovertarget="add-filter" popovertargetaction="hide" { "Cancel" }
                        button.btn.btn-primary { "Show sessions" }
                    }
                }
            }
        }
    }
}

impl FilterChip<'_> {
    fn shown_value(&self) -> String {
        let options: &[(&str, &str)] = match self.field {
            "created" => &CREATED_OPTIONS,
            "problem" => &PROBLEM_OPTIONS,
            _ => &[],
        };
        let label =
            options.iter().find(|(value, _)| *value == self.value).map(|(_, label)| (*label).to_owned());
        label.unwrap_or_else(|| sanitize_text(self.value))
    }
}

fn choice_field(name: &str, label: &str, chosen: &str, options: &[(&str, &str)]) -> Markup {
    html! {
        label.field {
            span.label { (label) }
            select.input.select name=(name) {
                @for (value, text) in options { option value=(value) selected[*value == chosen] { (text) } }
            }
        }
    }
}

fn text_field(name: &str, label: &str, value: &str) -> Markup {
    html! { label.field { span.label { (label) } input.input name=(name) value=(value) maxlength="200"; } }
}

//! The frame of every page: navigation, target switcher, search, theme and account.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use maud::{DOCTYPE, Markup, html};
use sessionwatch_app::app::{
    AppState,
    accounts::AccountRole,
    login_sessions::CurrentUser,
    status_summary::{StatusSummary, load_status_summary},
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    assets::Asset,
    auth::LoggedIn,
    components::{AvatarSize, Icon, Menu, MenuItem, render_avatar, render_icon},
    format::{percent_encode, render_relative_time},
    web_error::WebError,
};

/// An entry of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NavSection {
    Overview,
    Sessions,
    Users,
    Alerts,
    Incidents,
    Logs,
    Cleanup,
    Reports,
    Audit,
    Settings,
}

/// The navigation in its groups.
const NAV_GROUPS: [&[NavSection]; 3] = [
    &[
        NavSection::Overview,
        NavSection::Sessions,
        NavSection::Users,
        NavSection::Alerts,
        NavSection::Incidents,
    ],
    &[NavSection::Logs, NavSection::Cleanup, NavSection::Reports, NavSection::Audit],
    &[NavSection::Settings],
];

impl NavSection {
    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Sessions => "Sessions",
            Self::Users => "Users",
            Self::Alerts => "Alerts",
            Self::Incidents => "Incidents",
            Self::Logs => "Logs",
            Self::Cleanup => "Cleanup",
            Self::Reports => "Reports",
            Self::Audit => "Audit",
            Self::Settings => "Settings",
        }
    }

    fn icon(self) -> Icon {
        match self {
            Self::Overview => Icon::LayoutDashboard,
            Self::Sessions => Icon::MonitorSmartphone,
            Self::Users => Icon::Users,
            Self::Alerts => Icon::Bell,
            Self::Incidents => Icon::Siren,
            Self::Logs => Icon::ScrollText,
            Self::Cleanup => Icon::BrushCleaning,
            Self::Reports => Icon::ClipboardCheck,
            Self::Audit => Icon::History,
            Self::Settings => Icon::Settings,
        }
    }

    /// Returns the path of the page, for a target where the page is about one.
    fn path(self, target: Option<&str>) -> String {
        let of_target = |page: &str| {
            // Without a target there is nothing to list, and the overview says how to add one.
            target.map_or_else(|| "/".to_owned(), |name| format!("/targets/{}/{page}", percent_encode(name)))
        };
        let with_target = |page: &str| match target {
            Some(name) => format!("{page}?target={}", percent_encode(name)),
            None => page.to_owned(),
        };
        match self {
            Self::Overview => "/".into(),
            Self::Sessions => of_target("sessions"),
            Self::Users => of_target("users"),
            Self::Alerts => "/alerts".into(),
            Self::Incidents => "/incidents".into(),
            Self::Logs => "/logs".into(),
            Self::Cleanup => with_target("/cleanup"),
            Self::Reports => of_target("report"),
            Self::Audit => "/audit".into(),
            Self::Settings => "/settings".into(),
        }
    }
}

/// Title and place of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageHead<'a> {
    /// Title of the browser tab.
    pub(super) title: &'a str,
    pub(super) section: NavSection,
    /// Target that the page is about; `None` for pages about all targets.
    pub(super) target: Option<&'a str>,
    /// `true` if the page refreshes itself.
    pub(super) live: bool,
}

/// The frame of a page for a logged-in user.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    pub(super) user: CurrentUser,
    pub(super) status: StatusSummary,
    pub(super) now: UtcTimestamp,
    is_memory_fallback: bool,
}

impl FromRequestParts<Arc<AppState>> for Shell {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<AppState>) -> Result<Self, WebError> {
        let LoggedIn(user) = LoggedIn::from_request_parts(parts, app).await?;
        let status = load_status_summary(app).await?;
        Ok(Self { user, status, now: app.clock.now(), is_memory_fallback: app.store.is_memory_fallback() })
    }
}

impl Shell {
    /// Returns `true` if the user's role permits to acknowledge, plan and apply.
    pub(super) fn can_respond(&self) -> bool {
        self.user.role >= AccountRole::Responder
    }

    /// Renders a page around its contents, which begin with the only `h1`.
    pub(super) fn render_page(&self, page: PageHead<'_>, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                (render_head(page.title))
                body {
                    a.skip href="#main" { "Skip to content" }
                    div.app {
                        aside.rail aria-label="Sidebar" {
                            div.rail-in {
                                (render_brand()) (self.render_navigation(page, "Main")) (self.render_rail_foot())
                            }
                        }
                        div {
                            (self.render_top_bar(page))
                            main.main id="main" data-live=[page.live.then_some("yes")] {
                                div.page { (body) (render_foot()) }
                            }
                        }
                    }
                    (self.render_drawer(page))
                    (render_search_dialog())
                    div.toasts id="toasts" role="status" {}
                }
            }
        }
    }

    fn render_navigation(&self, page: PageHead<'_>, label: &str) -> Markup {
        // A page about all targets links to the first one, which the switcher changes.
        let target = page.target.or(self.status.targets.first().map(|target| target.name.as_str()));
        html! {
            nav.nav aria-label=(label) {
                @for (index, group) in NAV_GROUPS.iter().enumerate() {
                    @if index > 0 { div.nav-sep role="presentation" {} }
                    @for section in *group {
                        @let current = (*section == page.section).then_some("page");
                        a href=(section.path(target)) aria-current=[current] title=(section.title()) {
                            (render_icon(section.icon())) span { (section.title()) } (self.render_badge(*section))
                        }
                    }
                }
            }
        }
    }

    fn render_badge(&self, section: NavSection) -> Markup {
        let (count, class, noun) = match section {
            NavSection::Alerts if self.status.has_critical => {
                (self.status.unacknowledged, "badge badge-critical", "unacknowledged")
            }
            NavSection::Alerts => (self.status.unacknowledged, "badge", "unacknowledged"),
            NavSection::Incidents => (self.status.open_incidents, "badge", "open"),
            _ => (0, "", ""),
        };
        html! {
            @if count > 0 {
                span class=(class) { (count) span.sr { " " (noun) } }
            }
        }
    }

    fn render_rail_foot(&self) -> Markup {
        html! {
            div.rail-foot {
                @if self.is_memory_fallback {
                    span.row title="New results are kept in memory until there is disk space again." {
                        span.dot.dot-bad {} "Disk full: state store in memory"
                    }
                } @else {
                    span.row { span.dot.dot-ok {} "sessionwatch is healthy" }
                }
                span.row { "Version " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }

    fn render_top_bar(&self, page: PageHead<'_>) -> Markup {
        html! {
            header.topbar {
                button.btn.btn-ghost.btn-icon.menu-button type="button" popovertarget="drawer"
                    aria-label="Open menu" { (render_icon(Icon::Menu)) }
                (render_brand())
                (self.render_target_switcher(page))
                button.search type="button" data-open-search popovertarget="search" {
                    (render_icon(Icon::Search))
                    span.grow.truncate { "Search users, tokens, checks…" }
                    span.kbd { "Ctrl K" }
                }
                span.grow {}
                (self.render_live_state(page))
                button.btn.btn-ghost.btn-icon.search-button type="button" data-open-search popovertarget="search"
                    aria-label="Search" { (render_icon(Icon::Search)) }
                button.btn.btn-ghost.btn-icon.theme type="button" data-theme-toggle hidden
                    aria-label="Switch theme" title="Switch theme" { (render_icon(Icon::SunMoon)) }
                (self.render_account_menu())
            }
        }
    }

    fn render_target_switcher(&self, page: PageHead<'_>) -> Markup {
        let dot = |state: &str| match state {
            "failing" => "dot dot-bad",
            "acknowledged" | "pending" => "dot dot-warn",
            "passing" => "dot dot-ok",
            _ => "dot",
        };
        let path = |name: Option<&str>| match (page.section, name) {
            (
                NavSection::Sessions | NavSection::Users | NavSection::Cleanup | NavSection::Reports,
                Some(_),
            ) => page.section.path(name),
            (_, Some(name)) => format!("/targets/{}", percent_encode(name)),
            (_, None) => "/".into(),
        };
        let item = |name: Option<&str>, state: &str, text: &str| MenuItem::Link {
            href: path(name),
            text: html! { @if name.is_some() { span class=(dot(state)) {} } (text) },
            is_current: page.target == name,
        };
        let mut items = vec![item(None, "", "All targets"), MenuItem::Separator];
        items.extend(self.status.targets.iter().map(|one| item(Some(&one.name), one.state, &one.name)));
        let shown = |name: &str| page.target.is_none_or(|target| target == name);
        let dots = self.status.targets.iter().filter(|one| shown(&one.name)).take(6);
        let name = page.target.unwrap_or("All targets");
        let button = html! {
            span.dots { @for one in dots { span class=(dot(one.state)) {} } }
            span.truncate { (name) }
            (render_icon(Icon::ChevronsUpDown))
        };
        let label = format!("Target: {name}");
        html! {
            @if !self.status.targets.is_empty() {
                (Menu { id: "targets", button, button_class: "btn target", label: &label, items }.render())
            }
        }
    }

    fn render_live_state(&self, page: PageHead<'_>) -> Markup {
        let shown = |name: &str| page.target.is_none_or(|target| target == name);
        let targets = || self.status.targets.iter().filter(|one| shown(&one.name));
        let latest = targets().filter_map(|one| one.last_run_at).max();
        let failed: Vec<_> = targets().filter(|one| one.last_run_failed).collect();
        html! {
            span.live-state id="live" role="status" {
                @match (failed.as_slice(), latest) {
                    (_, None) => span.live.live-off { "Not checked yet" },
                    ([], Some(at)) => span.live { "Checked " (render_relative_time(at, self.now)) },
                    ([one], _) => {
                        span.live.live-bad {
                            "Check of " (one.name) " failed "
                            @if let Some(at) = one.last_run_at { (render_relative_time(at, self.now)) }
                        }
                    },
                    (more, _) => {
                        span.live.live-bad { "Checks of " (more.len()) " targets failed" }
                    },
                }
            }
        }
    }

    fn render_account_menu(&self) -> Markup {
        let link = |href: &str, icon: Icon, text: &str| MenuItem::Link {
            href: href.into(),
            text: html! { (render_icon(icon)) (text) },
            is_current: false,
        };
        let log_out = html! {
            form method="post" action="/logout" {
                (render_csrf_field(&self.user))
                button { (render_icon(Icon::LogOut)) "Log out" }
            }
        };
        let items = vec![
            link("/settings#login-sessions", Icon::Monitor, "My login sessions"),
            link("/settings#password", Icon::KeyRound, "Change password"),
            link("/settings#tokens", Icon::Lock, "API tokens"),
            MenuItem::Separator,
            MenuItem::Form(log_out),
        ];
        let label = format!("Account: {}, {}", self.user.name, self.user.role.name());
        Menu {
            id: "account",
            button: render_avatar(&self.user.name, AvatarSize::Medium),
            button_class: "btn btn-ghost btn-icon",
            label: &label,
            items,
        }
        .render()
    }

    fn render_drawer(&self, page: PageHead<'_>) -> Markup {
        html! {
            div.drawer id="drawer" popover {
                (render_brand())
                (self.render_navigation(page, "Menu"))
                div.drawer-foot {
                    @for one in &self.status.targets {
                        a.btn href={ "/targets/" (percent_encode(&one.name)) } {
                            (render_icon(Icon::Database)) (one.name)
                        }
                    }
                    button.btn type="button" data-theme-toggle hidden { (render_icon(Icon::SunMoon)) "Switch theme" }
                }
            }
        }
    }
}

/// Renders a page for users who are not logged in. The contents begin with the only `h1`.
pub(super) fn render_public_page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (render_head(title))
            body { main.login id="main" { div.login-box { (body) } } }
        }
    }
}

/// Renders the mark and the only `h1` of a page for users who are not logged in, with a muted line below.
pub(super) fn render_public_head(title: &str, note: &str) -> Markup {
    html! {
        div.login-brand {
            (render_mark())
            div { h1 { (title) } @if !note.is_empty() { p.muted { (note) } } }
        }
    }
}

/// Renders the product's mark and name.
pub(super) fn render_brand() -> Markup {
    html! { a.brand href="/" { (render_mark()) span { "sessionwatch" } } }
}

/// Renders the product's mark.
pub(super) fn render_mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            rect.mark-bg width="24" height="24" rx="6" {}
            path.mark-fg d="M6 14.5a6.5 6.5 0 1 1 12 0" {}
            circle.mark-dot cx="12" cy="13" r="2.4" {}
        }
    }
}

fn render_head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · sessionwatch" }
            link rel="icon" href=(Asset::Favicon.url());
            // Not deferred: the stored theme must apply before the first paint.
            script src=(Asset::ThemeScript.url()) {}
            link rel="stylesheet" href=(Asset::Stylesheet.url());
            script src=(Asset::AppScript.url()) defer {}
        }
    }
}

/// Renders the search, which opens as a dialog, and works as a form without the script.
fn render_search_dialog() -> Markup {
    html! {
        div.dialog.palette id="search" popover role="dialog" aria-label="Search" {
            form action="/search" role="search" {
                div.palette-field {
                    (render_icon(Icon::Search))
                    input type="search" name="q" placeholder="User, email, token prefix, check, incident…"
                        aria-label="Search" autocomplete="off" autofocus maxlength="200";
                    span.kbd { "Esc" }
                }
            }
            div.palette-results id="search-results" aria-live="polite" {}
        }
    }
}

fn render_foot() -> Markup {
    html! { footer.foot { "Times are UTC." } }
}

/// Renders the hidden CSRF token of a form.
pub(super) fn render_csrf_field(user: &CurrentUser) -> Markup {
    html! { input type="hidden" name="form" value=(user.csrf_token.expose()); }
}

#[cfg(test)]
mod tests;

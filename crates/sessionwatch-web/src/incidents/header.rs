//! The head of an incident's page, and the dialog that closes the incident.

use maud::{Markup, html};
use sessionwatch_app::app::{
    incident_views::ContainmentClock,
    incidents::{IncidentState, collect_step_records},
};
use sessionwatch_core::{incident as rules, plural::format_count};

use super::{
    page::IncidentPage,
    wording::{describe_time_left, incident_headline, incident_summary, render_severity, render_state},
};
use crate::{
    components::{Crumb, Dialog, Icon, Menu, MenuItem, PageHeader, render_icon},
    format::{percent_encode, render_relative_time, sanitize_text},
    shell::render_csrf_field,
};

/// Id of the dialog that closes an incident.
const CLOSE_DIALOG: &str = "close-incident";

impl IncidentPage<'_> {
    pub(super) fn render_header(&self) -> Markup {
        let incident = &self.case.incident;
        let headline = incident_headline(incident);
        let (users, sessions) = (self.affected.user_ids().len() as u64, self.affected.sessions.len() as u64);
        let listed = if self.affected.is_cut { " listed" } else { "" };
        let meta = html! {
            span { (render_icon(Icon::User)) "Opened by " (sanitize_text(&incident.opened_by)) }
            span { (render_icon(Icon::Clock)) "Opened " (render_relative_time(incident.opened_at, self.shell.now)) }
            span {
                (render_icon(Icon::Database))
                a.plain href={ "/targets/" (percent_encode(&incident.target)) } { (sanitize_text(&incident.target)) }
            }
            @if sessions > 0 {
                span {
                    (render_icon(Icon::Users)) (format_count(users, "user", "users")) " and "
                    (format_count(sessions, "session", "sessions")) (listed)
                }
            }
        };
        PageHeader {
            picture: html! {},
            crumbs: vec![Crumb { href: "/incidents".into(), text: "Incidents".into() }],
            pills: html! { (render_severity(incident)) (render_state(incident.state)) },
            headline: &headline,
            id: &incident.id,
            lead: self.render_answer(&headline),
            meta,
            actions: self.render_actions(),
        }
        .render()
    }

    /// Renders what happens next in one sentence, after the rest of a long summary.
    fn render_answer(&self, headline: &str) -> Markup {
        let incident = &self.case.incident;
        let summary = incident_summary(incident);
        html! {
            @if summary != headline { (summary) " " }
            @if let (IncidentState::Closed, Some(at)) = (incident.state, incident.closed_at) {
                "Closed " (render_relative_time(at, self.shell.now)) "."
            } @else {
                @match self.progress.step {
                    Some(step) => { "Next: " b { (step.title) } "." },
                    None => "All steps are completed. Close the incident.",
                }
                @if let ContainmentClock::Running { is_reopened: true, .. } = self.clock {
                    " The incident was reopened."
                }
                @if let Some(left) = self.clock.time_left(incident) {
                    @if left.is_negative() { " Revoking the sessions is " (describe_time_left(left)) "." }
                    @else { " " (describe_time_left(left)) " to revoke the sessions." }
                }
            }
        }
    }

    fn render_actions(&self) -> Markup {
        let item = |href: String, icon: Icon, text: &str| MenuItem::Link {
            href,
            text: html! { (render_icon(icon)) (text) },
            is_current: false,
        };
        let mut items = vec![
            item(format!("{}/report?format=markdown", self.base), Icon::Download, "Report as Markdown"),
            item(
                format!("/targets/{}/sessions", percent_encode(&self.case.incident.target)),
                Icon::MonitorSmartphone,
                "Sessions of this target",
            ),
        ];
        // Once every step is finished, closing is the primary action of the page instead.
        if self.can_work() && self.progress.step.is_some() {
            items.push(MenuItem::Separator);
            items.push(MenuItem::OpenDialog {
                dialog: CLOSE_DIALOG,
                text: html! { (render_icon(Icon::CircleX)) "Close incident…" },
                is_dangerous: true,
            });
        }
        let menu = Menu {
            id: "more",
            button: render_icon(Icon::Ellipsis),
            button_class: "btn btn-icon",
            label: "More actions",
            items,
        };
        html! {
            a.btn href={ (self.base) "/report" } { (render_icon(Icon::FileText)) "Open report" }
            (menu.render())
        }
    }

    /// Renders the dialog that closes the incident before all steps are finished.
    pub(super) fn render_close_dialog(&self) -> Markup {
        html! {
            @if self.progress.step.is_some() {
                (Dialog {
                    id: CLOSE_DIALOG,
                    title: "Close with unfinished steps?",
                    action: &format!("{}/close", self.base),
                    body: self.render_close_fields(),
                    submit: "Close incident",
                    is_dangerous: true,
                }.render())
            }
        }
    }

    /// Renders the unfinished steps, and the field for the reason to close anyway.
    pub(super) fn render_close_fields(&self) -> Markup {
        let unfinished = self.unfinished_steps();
        html! {
            (render_csrf_field(&self.shell.user))
            @if !unfinished.is_empty() {
                p { (format_count(unfinished.len() as u64, "step is unfinished:", "steps are unfinished:")) }
                ul.bullets { @for step in &unfinished { li { (step) } } }
                label.field { span.label { "Reason for closing anyway" }
                    input.input name="reason" required maxlength="2000";
                    span.hint { "The report shows the reason and the unfinished steps." }
                }
            }
        }
    }

    /// Lists the steps that are skipped or not done.
    fn unfinished_steps(&self) -> Vec<String> {
        let incident = &self.case.incident;
        let records = collect_step_records(&self.case.timeline);
        let required = rules::INCIDENT_STEPS.iter().filter(|step| step.is_required_for(incident.severity));
        let describe = |step: &rules::IncidentStep| match records.iter().find(|record| record.step == step.id)
        {
            None => Some(step.title.to_owned()),
            Some(record) => record.skipped.then(|| format!("{} (skipped)", step.title)),
        };
        required.filter_map(describe).collect()
    }
}

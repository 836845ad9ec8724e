//! The page of a plan: its effect, its rows, and the button that applies it.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError, AppState, TargetOps,
    incidents::{self, IncidentOps},
    plans::{self as app_plans, ActionPlan, PlanWithTarget, Selection},
};
use sessionwatch_core::plural::format_number;

use super::{
    apply::{render_apply_dialog, render_outcome},
    history::render_restore_form,
    impact::{render_impact, render_notes, render_undo, render_warnings},
    phase::{PhaseInput, PlanPhase},
    plan_view::{Approval, PlanView},
    rows::{render_command, render_rows},
    wording::{describe_filter, format_span, plan_headline, plan_sentence},
};
use crate::{
    components::{Crumb, Icon, PageHeader, render_icon},
    format::{percent_encode, render_relative_time, sanitize_text},
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell, render_csrf_field},
    web_error::PageResult,
};

/// The incident from which a plan was opened; may be empty.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct IncidentRef {
    #[serde(default)]
    pub(super) incident: String,
}

pub(crate) async fn show_plan(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    PageQuery(course): PageQuery<IncidentRef>,
    shell: Shell,
) -> PageResult {
    let PlanWithTarget { plan, target } = app_plans::load_plan(&app, &id).await?;
    let archive = app_plans::find_archive(&app, &id).await?;
    let ops = TargetOps::new(&app, target.clone(), &shell.user.actor());
    let (job, plan_ttl) = (app.plan_jobs.get(&id), ops.config.actions.plan_ttl);
    // Checked again when the plan is applied; here it only decides which fields the form has.
    let missing_evidence = find_missing_evidence(&ops, &plan, &course).await?;
    let limit_text = app_plans::safety_limit_text(&ops, &plan);
    let retention = format_span(ops.config.actions.archive_retention);
    let view = PlanView {
        shell: &shell,
        plan: &plan,
        target: &target,
        phase: PlanPhase::of_plan(PhaseInput { plan: &plan, job: job.as_ref(), plan_ttl, now: shell.now }),
        job: job.as_ref(),
        archive: archive.as_ref(),
        limit_text: limit_text.as_deref(),
        missing_evidence: missing_evidence.as_deref(),
        approval: Approval::of_plan(&ops, &plan),
        incident: &course.incident,
        retention: &retention,
    };
    let page = PageHead {
        title: &plan_headline(&plan),
        section: NavSection::Cleanup,
        target: Some(&target.name),
        live: view.phase == PlanPhase::Applying,
    };
    Ok(shell.render_page(page, &view.render()))
}

/// Returns the evidence that is missing before a plan may revoke sessions in an incident, or `None`.
async fn find_missing_evidence(
    ops: &TargetOps,
    plan: &ActionPlan,
    course: &IncidentRef,
) -> Result<Option<String>, AppError> {
    // A restore destroys no evidence.
    if course.incident.is_empty() || matches!(plan.selection, Selection::Restore { .. }) {
        return Ok(None);
    }
    let IncidentOps { case, .. } = incidents::load_incident(&ops.app, &ops.actor, &course.incident).await?;
    Ok(case.missing_evidence()?)
}

impl PlanView<'_> {
    fn render(&self) -> Markup {
        html! {
            (self.render_header())
            (render_outcome(self))
            (render_impact(self.plan))
            @let warnings = html! { (render_warnings(self)) (render_undo(self)) };
            @if !warnings.0.is_empty() { div.stack-s { (warnings) } }
            (render_notes(self.plan))
            (render_rows(self))
            @if self.can_apply() { (render_command(self)) }
        }
    }

    fn render_header(&self) -> Markup {
        let cleanup = Crumb {
            href: format!("/cleanup?target={}", percent_encode(&self.target.name)),
            text: "Cleanup".to_owned(),
        };
        PageHeader {
            picture: html! {},
            crumbs: vec![cleanup],
            pills: self.phase.render(self.shell.now),
            headline: &plan_headline(self.plan),
            id: &self.plan.record.id,
            lead: html! { (plan_sentence(self.plan)) },
            meta: self.render_meta(),
            actions: html! { (self.render_links()) (self.render_actions()) },
        }
        .render()
    }

    fn render_meta(&self) -> Markup {
        let record = &self.plan.record;
        html! {
            span {
                (render_icon(Icon::Database))
                a href={ "/targets/" (percent_encode(&self.target.name)) } { (self.target.name) }
                @if let Some(place) = self.plan.describe_table() { span.muted { (sanitize_text(&place)) } }
            }
            span {
                (render_icon(Icon::User)) "Created by "
                @if self.plan.summary.by_policy { "the schedule" } @else { (sanitize_text(&record.created_by)) }
                " " (render_relative_time(record.created_at, self.shell.now))
            }
            @if let Some(second) = &record.approved_by {
                span { (render_icon(Icon::UserRoundCheck)) "Approved by " (sanitize_text(second)) }
            }
            @if let Selection::Where(filter) = &self.plan.selection {
                span { (render_icon(Icon::ListFilter)) "Conditions: " (describe_filter(filter).join(", ")) }
            }
            @if let Selection::Expired { grace } = &self.plan.selection {
                span { (render_icon(Icon::ListFilter)) "Expired at least " (format_span(*grace)) " ago" }
            }
            @if let Selection::Excess { keep } = &self.plan.selection {
                span { (render_icon(Icon::ListFilter)) "Keeps " (format_number(*keep)) " per user" }
            }
        }
    }

    fn render_links(&self) -> Markup {
        html! {
            @if !self.incident.is_empty() {
                a.btn href={ "/incidents/" (percent_encode(self.incident)) } { "Back to incident" }
            }
            @if matches!(self.phase, PlanPhase::Expired | PlanPhase::Empty) {
                a.btn href={ "/cleanup?target=" (percent_encode(&self.target.name)) } { "All plans" }
            }
            @if self.phase == PlanPhase::Applied && self.shell.can_respond() {
                @if let Some(archive) = self.archive && archive.can_be_restored() {
                    (render_restore_form(self.shell, archive))
                }
            }
        }
    }

    /// Renders the next step: approve, confirm or apply the plan.
    fn render_actions(&self) -> Markup {
        let needs_text = self.limit_text.is_some() || self.missing_evidence.is_some();
        let form = |action: &str, label: &str| {
            html! {
                form method="post" action={ "/plans/" (self.plan.record.id) "/" (action) } {
                    (render_csrf_field(&self.shell.user))
                    input type="hidden" name="incident" value=(self.incident);
                    button.btn.btn-primary { (label) }
                }
            }
        };
        html! {
            @if self.can_apply() {
                @match self.approval {
                    Approval::Missing => (form("approve", "Approve plan")),
                    Approval::OwnOnly => {}
                    Approval::Complete if needs_text => {
                        button.btn.btn-primary type="button" popovertarget="apply" { "Apply plan…" }
                        (render_apply_dialog(self))
                    }
                    Approval::Complete => (form("apply", "Apply plan")),
                }
            }
        }
    }
}

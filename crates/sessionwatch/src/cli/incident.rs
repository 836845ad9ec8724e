//! `incident`: guided incident response.

mod documents;
mod drill;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    api_types,
    app::{
        Actor, TargetOps,
        incidents::{
            self, ContainmentScope, FindIncidentError, FoundUser, IncidentOps, IncidentRecord,
            IncidentSelector, REPORT_FIELDS, StepResponse,
        },
        state_store::StoreRequirement,
    },
    output::{OutputFormat, table::OutputTable},
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    incident::IncidentSeverity,
    plural::{ListTotal, format_count},
};

use super::{
    Failure,
    actor::{self, ActorArgs},
    lists::{cut_list, filtered_noun, note_if_cut, render_list},
    opening,
    remediation::{self, ApplyOptions, RemediationArgs},
    target_args::{ConfigArgs, TargetArgs, require_known_filter},
};

/// Users that a search lists.
const USER_SEARCH_LIMIT: u32 = 100;

/// Guided incident response
#[derive(Debug, clap::Subcommand)]
pub(super) enum IncidentCommand {
    /// Open an incident
    Open {
        /// P0: confirmed leak; P1: possible leak; P2: orphaned sessions or alerts; P3: routine cleanup
        #[arg(long, value_parser = parse_severity)]
        severity: IncidentSeverity,
        /// What happened, in one sentence
        #[arg(long, default_value = "", value_name = "TEXT")]
        summary: String,
        #[command(flatten)]
        responder: ResponderArgs,
    },
    /// Show the status and the timeline
    Status {
        #[command(flatten)]
        incident: LatestIncidentArgs,
    },
    /// List incidents
    List {
        /// Only incidents of this target
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Work through the steps
    #[command(subcommand)]
    Step(StepCommand),
    /// Find users by ID, name, handle or email
    Find {
        /// Part of the user ID, name, handle or email address
        #[arg(value_name = "TEXT")]
        part: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Revoke sessions of affected users
    Contain {
        /// Sessions to revoke
        #[arg(value_enum, value_name = "SCOPE")]
        scope: ContainmentScope,
        /// ID of a user whose sessions to revoke; repeatable
        #[arg(long = "user", value_name = "ID")]
        users: Vec<String>,
        /// Reason for proceeding without complete evidence
        #[arg(long, value_name = "REASON", requires = "apply")]
        without_evidence: Option<String>,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Export leaked rows, log events and audit entries, encrypted
    ///
    /// The file is named after the incident unless you pass --output. `sessionwatch incident verify` decrypts it and
    /// checks every part.
    Evidence {
        #[command(flatten)]
        incident: IncidentArgs,
        /// Evidence file
        #[arg(long, short, value_name = "FILE", help_heading = super::GLOBAL_OPTIONS, display_order = 904)]
        output: Option<PathBuf>,
    },
    /// Verify an evidence file
    Verify {
        /// Evidence file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Private key that decrypts it [default: `archive_identity` in [actions], else sessionwatch-archive.key next
        /// to the state store file, or in the current directory]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Add a note to the timeline
    Note {
        /// Text of the note
        #[arg(value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        incident: IncidentArgs,
    },
    /// Fill in fields of the report
    #[command(subcommand)]
    Field(FieldCommand),
    /// Print the incident report
    Report {
        /// Output format
        #[arg(long, value_enum, default_value = "markdown")]
        format: IncidentReportFormat,
        #[command(flatten)]
        incident: LatestIncidentArgs,
    },
    /// Draft the message to affected users
    Message {
        /// Template file. Fields, written as {{ date }}: application (a placeholder), date, whose ("your" or
        /// "everybody's"), summary, id, severity
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
        #[command(flatten)]
        incident: LatestIncidentArgs,
    },
    /// Close an incident
    Close {
        /// Reason for closing with unfinished steps
        #[arg(long = "override", value_name = "REASON")]
        override_reason: Option<String>,
        #[command(flatten)]
        incident: IncidentArgs,
    },
    /// Practice incident response on a copy with a planted leak
    Drill(drill::DrillArgs),
}

/// Work through the steps of an incident
#[derive(Debug, clap::Subcommand)]
pub(super) enum StepCommand {
    /// Show the next step, and detect if it is done
    Check {
        #[command(flatten)]
        incident: IncidentArgs,
    },
    /// Mark the next step as done
    Done {
        /// Result of the step
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        incident: IncidentArgs,
    },
    /// Skip the next step
    Skip {
        /// Reason
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        incident: IncidentArgs,
    },
    /// Reopen a step that was done or skipped
    Reopen {
        /// Step ID, as `incident status` shows it
        #[arg(value_name = "STEP")]
        step: String,
        /// Reason
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        incident: IncidentArgs,
    },
}

/// Fill in fields of the report
#[derive(Debug, clap::Subcommand)]
pub(super) enum FieldCommand {
    /// Set a field of the report
    Set {
        /// Field name
        #[arg(value_parser = REPORT_FIELDS, value_name = "FIELD")]
        name: String,
        /// Text of the field
        #[arg(value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        incident: IncidentArgs,
    },
}

/// The format of an incident report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum IncidentReportFormat {
    /// For wikis and issues
    Markdown,
    /// For a browser
    Html,
}

/// An incident to work on, its target, and the person who works on it.
#[derive(Debug, clap::Args)]
pub(super) struct IncidentArgs {
    /// Incident ID [default: the target's open incident]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    responder: ResponderArgs,
}

/// An incident to read, which may be closed.
#[derive(Debug, clap::Args)]
pub(super) struct LatestIncidentArgs {
    /// Incident ID [default: the target's latest incident]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// The target of an incident, and the person who works on it.
#[derive(Debug, clap::Args)]
pub(super) struct ResponderArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    actor: ActorArgs,
}

fn parse_severity(text: &str) -> Result<IncidentSeverity, String> {
    text.parse().map_err(|_| "expected P0, P1, P2 or P3".into())
}

impl ResponderArgs {
    fn target_ops(&self, need: StoreRequirement) -> Result<TargetOps, Failure> {
        open_ops(&self.target, &self.actor.actor(), need)
    }
}

impl IncidentArgs {
    /// Returns the incident to work on: by its ID, or the open one of the target.
    fn open_case(&self) -> Result<IncidentOps, Failure> {
        let ops = self.responder.target_ops(StoreRequirement::Existing)?;
        find_case(ops, self.id.clone().map_or(IncidentSelector::Open, IncidentSelector::Id))
    }
}

impl LatestIncidentArgs {
    /// Returns the incident to read: by its ID, or the latest of the target, open or closed.
    fn latest_case(&self) -> Result<IncidentOps, Failure> {
        let ops = open_ops_to_read(&self.target, StoreRequirement::Existing)?;
        find_case(ops, self.id.clone().map_or(IncidentSelector::Latest, IncidentSelector::Id))
    }
}

/// Same as [`open_ops`], for a command that records nothing, so that the name does not matter.
fn open_ops_to_read(target: &TargetArgs, need: StoreRequirement) -> Result<TargetOps, Failure> {
    open_ops(target, &Actor::from_command_line(actor::system_account()), need)
}

fn open_ops(target: &TargetArgs, actor: &Actor, need: StoreRequirement) -> Result<TargetOps, Failure> {
    let (config, target) = target.choose_one()?;
    Ok(TargetOps::new(&opening::open_app(config, need)?, target, actor))
}

fn find_case(ops: TargetOps, wanted: IncidentSelector) -> Result<IncidentOps, Failure> {
    let target = sanitize_text(&ops.target.name);
    let named = match &wanted {
        IncidentSelector::Id(id) => id.clone(),
        IncidentSelector::Open | IncidentSelector::Latest => String::new(),
    };
    let found = super::block_on(async { Ok(incidents::find_incident(ops, wanted).await) })?;
    found.map_err(|error| match error {
        FindIncidentError::NotFound => Failure::Usage(format!(
            "there is no incident `{named}`; `sessionwatch incident list` shows all incidents"
        )),
        FindIncidentError::NoneOpen => Failure::Usage(format!(
            "`{target}` has no open incident; `sessionwatch incident open --severity P1` opens one"
        )),
        FindIncidentError::OtherTarget(other) => {
            Failure::Usage(format!("incident `{named}` belongs to the target `{other}`"))
        }
        FindIncidentError::App(error) => error.into(),
    })
}

pub(super) fn run(args: &IncidentCommand) -> Result<ExitCode, Failure> {
    match args {
        IncidentCommand::Open { responder, severity, summary } => {
            steps::open_incident(responder, *severity, summary)
        }
        IncidentCommand::Step(command) => run_step(command),
        IncidentCommand::Contain { scope, act, users, without_evidence } => {
            plan_containment(*scope, users, act, without_evidence.as_deref())
        }
        IncidentCommand::Find { part, target } => search_users(part, target),
        IncidentCommand::Status { incident } => steps::print_status(&incident.latest_case()?),
        IncidentCommand::List { target, format, config } => {
            list_incidents(config, target.as_deref(), *format)
        }
        IncidentCommand::Note { text, incident } => {
            let work = incident.open_case()?;
            super::block_on(async { Ok(incidents::add_note(work, text.clone()).await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        IncidentCommand::Field(FieldCommand::Set { name, text, incident }) => {
            let work = incident.open_case()?;
            let set = incidents::set_report_field(work, name.clone(), text.clone());
            super::block_on(async { Ok(set.await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        IncidentCommand::Evidence { incident, output } => {
            documents::write_evidence(incident.open_case()?, output.as_deref())
        }
        IncidentCommand::Verify { file, identity, config } => {
            documents::verify_evidence(file, identity.as_deref(), config)
        }
        IncidentCommand::Report { incident, format } => {
            documents::print_report(&incident.latest_case()?, *format)
        }
        IncidentCommand::Message { incident, template } => {
            documents::print_message_draft(&incident.latest_case()?, template.as_deref())
        }
        IncidentCommand::Close { incident, override_reason } => {
            steps::close_incident(incident.open_case()?, override_reason.clone())
        }
        IncidentCommand::Drill(args) => drill::run(args),
    }
}

fn run_step(command: &StepCommand) -> Result<ExitCode, Failure> {
    match command {
        StepCommand::Check { incident } => {
            steps::advance_incident(incident.open_case()?, StepResponse::Check)
        }
        StepCommand::Done { note, incident } => {
            steps::advance_incident(incident.open_case()?, StepResponse::Done(note.clone()))
        }
        StepCommand::Skip { reason, incident } => {
            steps::advance_incident(incident.open_case()?, StepResponse::Skip(reason.clone()))
        }
        StepCommand::Reopen { step, reason, incident } => {
            steps::reopen_step(incident.open_case()?, step, reason)
        }
    }
}

fn plan_containment(
    scope: ContainmentScope,
    users: &[String],
    act: &RemediationArgs,
    without_evidence: Option<&str>,
) -> Result<ExitCode, Failure> {
    if scope != ContainmentScope::Users && !users.is_empty() {
        return Err(Failure::Usage("--user is only valid with `contain users`".into()));
    }
    let selection = scope.selection(users).ok_or_else(|| {
        Failure::Usage("name the users with --user ID; `sessionwatch incident find TEXT` finds IDs".into())
    })?;
    let work = find_case(act.open_target_ops(StoreRequirement::Existing)?, IncidentSelector::Open)?;
    if let Some(missing) = work.case.missing_evidence()?.filter(|_| !act.apply) {
        super::print_note(&format!("applying this plan waits for complete evidence: {missing}"));
    }
    let (ops, incident) = (work.ops.clone(), work.case.incident.id.clone());
    let plan = super::block_on(async { Ok(incidents::plan_containment(work, selection).await?) })?;
    let options = ApplyOptions { incident: Some(&incident), without_evidence, identity: None };
    remediation::print_or_apply(&ops, &plan, act, options)
}

fn search_users(part: &str, target: &TargetArgs) -> Result<ExitCode, Failure> {
    let ops = open_ops_to_read(target, StoreRequirement::EmptyIfMissing)?;
    let search = incidents::search_users(ops, part.to_owned(), USER_SEARCH_LIMIT as usize + 1);
    let mut users = super::block_on(async { Ok(search.await?) })?;
    if cut_list(&mut users, USER_SEARCH_LIMIT) {
        // Counting all matches would read the whole table of users again.
        let total = ListTotal::MoreThan(USER_SEARCH_LIMIT.into());
        note_if_cut("users", users.len(), total, "search for a longer text");
    }
    if users.is_empty() {
        return Err(Failure::Usage(format!(
            "no user ID, name, handle or email address contains `{}`",
            sanitize_text(part)
        )));
    }
    for FoundUser { display, sessions } in &users {
        let shown: Vec<String> =
            display.iter().filter(|text| !text.is_empty()).map(|text| sanitize_text(text)).collect();
        super::print_text(&format!(
            "{}  user {}\n",
            format_count(*sessions, "session", "sessions"),
            shown.join("  ")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list_incidents(
    args: &ConfigArgs,
    target: Option<&str>,
    format: OutputFormat,
) -> Result<ExitCode, Failure> {
    let app = opening::open_existing_app(args)?;
    let mut found = super::block_on(async { Ok(incidents::list_incidents(&app).await?) })?;
    found.retain(|incident| target.is_none_or(|name| incident.target == name));
    require_known_filter(&app.config(), target, found.is_empty())?;
    let summary = |incident: &IncidentRecord| incident.report_field("summary").unwrap_or_default();
    let row = |incident: &IncidentRecord| {
        vec![
            incident.id.clone(),
            incident.target.clone(),
            incident.severity.name().to_owned(),
            incident.state.name().to_owned(),
            clock::format_utc(incident.opened_at),
            summary(incident),
        ]
    };
    let document =
        |incident: &IncidentRecord| api_types::to_json_value(api_types::IncidentDto::from_record(incident));
    let header = ["incident", "target", "severity", "state", "opened at", "summary"];
    let sheet = OutputTable {
        json_key: "incidents",
        header: header.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found.iter().map(document).collect::<Result<_, _>>()?,
    };
    super::print_text(&render_list(&sheet, format, &filtered_noun("incidents", target.is_some())))?;
    Ok(ExitCode::SUCCESS)
}

//! `incident`: leads a person through an emergency.

mod drill;
mod papers;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use credentials::Secret;
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
use sessionwatch_core::{incident::IncidentSeverity, plural::format_count};

use super::{
    Failure,
    acting::{self, ApplyOptions, RemediationArgs},
    actor::ActorArgs,
    opening,
    target::{ConfigArgs, TargetArgs},
};

/// Users that are listed when one is looked for.
const USER_SEARCH_LIMIT: usize = 100;

/// Lead through an emergency: open, next, contain, evidence, report, close
#[derive(Debug, clap::Subcommand)]
pub(super) enum IncidentCommand {
    /// Open an incident, with a look at the target as it is now
    Open {
        #[command(flatten)]
        whose: IncidentArgs,
        /// How bad it is: P0 active leakage is confirmed, P1 shared tokens or a possible leak, P2 orphans or alerts, P3 routine
        #[arg(long, value_parser = parse_severity)]
        severity: IncidentSeverity,
        /// What happened, in a sentence
        #[arg(long, default_value = "")]
        summary: String,
    },
    /// Show the next step; find out, or say, that it is done
    Next {
        #[command(flatten)]
        whose: IncidentArgs,
        /// The step is done
        #[arg(long, conflicts_with = "skip")]
        done: bool,
        /// The step is passed over, which needs a reason
        #[arg(long, requires = "reason")]
        skip: bool,
        /// Why it is passed over
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// What there is to say of it
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Reopen a step that was marked as done, or passed over, by mistake
    Reopen {
        /// The step: its ID, as `incident status` shows it
        step: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        whose: IncidentArgs,
    },
    /// End sessions: first as a plan, then by --apply
    Contain {
        /// Whose
        #[arg(value_enum)]
        whose: ContainmentScope,
        #[command(flatten)]
        act: RemediationArgs,
        /// Ids of the users whose sessions are ended
        #[arg(long = "user", value_name = "ID")]
        users: Vec<String>,
        /// Do not wait for complete evidence, for this reason
        #[arg(long, value_name = "REASON", requires = "apply")]
        without_evidence: Option<String>,
    },
    /// Find users by a part of their id, name or handle, in upper or lower case
    Find {
        /// The part
        part: String,
        #[command(flatten)]
        whose: IncidentArgs,
    },
    /// Show where an incident stands
    Status {
        #[command(flatten)]
        whose: IncidentArgs,
    },
    /// List the incidents
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Put a note on the timeline
    Note {
        /// What there is to say
        text: String,
        #[command(flatten)]
        whose: IncidentArgs,
    },
    /// Say what the report is to say
    Set {
        /// Which part
        #[arg(value_parser = REPORT_FIELDS)]
        name: String,
        /// What it says
        text: String,
        #[command(flatten)]
        whose: IncidentArgs,
    },
    /// Write the evidence into one sealed file
    Evidence {
        #[command(flatten)]
        whose: IncidentArgs,
        /// The file [default: named after the incident]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Make sure that evidence is what was written
    Verify {
        /// The file
        file: PathBuf,
        /// The file with the identity that opens it
        #[arg(long, value_name = "FILE", default_value = "sessionwatch-archive.key")]
        identity: PathBuf,
    },
    /// Write the report, filled in from what was recorded
    Report {
        #[command(flatten)]
        whose: IncidentArgs,
        /// How it is written
        #[arg(long, value_enum, default_value = "markdown")]
        format: IncidentReportFormat,
    },
    /// Draft the message to users
    Message {
        #[command(flatten)]
        whose: IncidentArgs,
        /// A template of your own, with {{ summary }} and the like
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
    },
    /// Close an incident, if nothing speaks against it
    Close {
        #[command(flatten)]
        whose: IncidentArgs,
        /// Close it all the same, for this reason
        #[arg(long = "override", value_name = "REASON")]
        overridden: Option<String>,
    },
    /// Rehearse: a copy with a leak in it, and the clock running
    Drill(drill::DrillArgs),
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum IncidentReportFormat {
    /// For wikis and issues
    Markdown,
    /// For a browser
    Html,
}

/// Which incident, of which target, and who works on it.
#[derive(Debug, clap::Args)]
pub(super) struct IncidentArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The incident [default: the one of the target that is not closed; `status`, `report` and `message` also show the last closed one]
    #[arg(long, value_name = "INCIDENT")]
    id: Option<String>,
    /// Address of the target with the acting role [default: `act_url` of the target]
    #[arg(long, env = "SESSIONWATCH_ACT_URL", value_name = "URL", hide_env_values = true)]
    act_url: Option<Secret>,
    #[command(flatten)]
    actor: ActorArgs,
}

fn parse_severity(text: &str) -> Result<IncidentSeverity, String> {
    text.parse().map_err(|_| "P0, P1, P2 or P3 is meant".into())
}

impl IncidentArgs {
    fn target_ops(&self, need: StoreRequirement) -> Result<TargetOps, Failure> {
        acting::open_target_ops(&self.target, self.act_url.as_ref(), &self.actor.actor(), need)
    }

    /// The same for what only reads, and records nothing.
    fn read_only_ops(&self, need: StoreRequirement) -> Result<TargetOps, Failure> {
        let actor = Actor::from_command_line(self.actor.name_unrecorded());
        acting::open_target_ops(&self.target, self.act_url.as_ref(), &actor, need)
    }

    /// The incident that is worked on: without an id, the one of the target that is not closed.
    fn open_case(&self) -> Result<IncidentOps, Failure> {
        let ops = self.target_ops(StoreRequirement::Existing)?;
        find_case(ops, self.id.clone().map_or(IncidentSelector::Open, IncidentSelector::Id))
    }

    /// The same for what is read after an incident too: without an id, the last one of the target.
    fn latest_case(&self) -> Result<IncidentOps, Failure> {
        let ops = self.read_only_ops(StoreRequirement::Existing)?;
        find_case(ops, self.id.clone().map_or(IncidentSelector::Latest, IncidentSelector::Id))
    }
}

fn find_case(ops: TargetOps, wanted: IncidentSelector) -> Result<IncidentOps, Failure> {
    let target = sanitize_text(&ops.target.name);
    let named = match &wanted {
        IncidentSelector::Id(id) => id.clone(),
        IncidentSelector::Open | IncidentSelector::Latest => String::new(),
    };
    let found = super::block_on(async { Ok(incidents::find_incident(ops, wanted).await) })?;
    found.map_err(|error| match error {
        FindIncidentError::NotFound => {
            Failure::Usage(format!("there is no incident `{named}`: `sessionwatch incident list` shows them"))
        }
        FindIncidentError::NoneOpen => Failure::Usage(format!(
            "no incident of `{target}` is open: `sessionwatch incident open --severity P1` opens one"
        )),
        FindIncidentError::OtherTarget(other) => {
            Failure::Usage(format!("`{named}` is about the target `{other}`"))
        }
        FindIncidentError::App(error) => error.into(),
    })
}

pub(super) fn run(args: &IncidentCommand) -> Result<ExitCode, Failure> {
    match args {
        IncidentCommand::Open { whose, severity, summary } => steps::open_incident(whose, *severity, summary),
        IncidentCommand::Next { whose, done, skip, reason, note } => {
            let response = if *skip {
                StepResponse::Skip(reason.clone().unwrap_or_default())
            } else if *done {
                StepResponse::Done(note.clone())
            } else {
                StepResponse::Check
            };
            steps::advance_incident(whose.open_case()?, response)
        }
        IncidentCommand::Reopen { step, reason, whose } => {
            steps::reopen_step(whose.open_case()?, step, reason)
        }
        IncidentCommand::Contain { whose, act, users, without_evidence } => {
            plan_or_apply_containment(*whose, users, act, without_evidence.as_deref())
        }
        IncidentCommand::Find { part, whose } => search_users(part, whose),
        IncidentCommand::Status { whose } => steps::print_status(&whose.latest_case()?),
        IncidentCommand::List { config, format } => list_incidents(config, *format),
        IncidentCommand::Note { text, whose } => {
            let work = whose.open_case()?;
            super::block_on(async { Ok(incidents::add_note(work, text.clone()).await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        IncidentCommand::Set { name, text, whose } => {
            let work = whose.open_case()?;
            let set = incidents::set_report_field(work, name.clone(), text.clone());
            super::block_on(async { Ok(set.await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        IncidentCommand::Evidence { whose, to } => papers::write_evidence(whose.open_case()?, to.as_deref()),
        IncidentCommand::Verify { file, identity } => papers::verify_evidence(file, identity),
        IncidentCommand::Report { whose, format } => papers::print_report(&whose.latest_case()?, *format),
        IncidentCommand::Message { whose, template } => {
            papers::print_message_draft(&whose.latest_case()?, template.as_deref())
        }
        IncidentCommand::Close { whose, overridden } => {
            steps::close_incident(whose.open_case()?, overridden.clone())
        }
        IncidentCommand::Drill(args) => drill::run(args),
    }
}

fn plan_or_apply_containment(
    whose: ContainmentScope,
    users: &[String],
    act: &RemediationArgs,
    without_evidence: Option<&str>,
) -> Result<ExitCode, Failure> {
    if whose != ContainmentScope::Users && !users.is_empty() {
        return Err(Failure::Usage("--user goes with `contain users` only".into()));
    }
    let selection = whose.selection(users).ok_or_else(|| {
        Failure::Usage(
            "name whose sessions are to be ended with --user ID; `sessionwatch incident find PART` finds ids"
                .into(),
        )
    })?;
    let work = find_case(act.open_target_ops(StoreRequirement::Existing)?, IncidentSelector::Open)?;
    let Some(id) = &act.apply else {
        if let Some(why) = work.case.missing_evidence()? {
            super::print_note(&format!("--apply waits for complete evidence: {why}"));
        }
        let ops = work.ops.clone();
        let plan = super::block_on(async { Ok(incidents::plan_containment(work, selection).await?) })?;
        acting::print_plan(&ops, &plan, act.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = acting::find_plan(&work.ops, id, &selection)?;
    let incident = Some(work.case.incident.id.as_str());
    acting::apply_plan(&work.ops, &plan, act, ApplyOptions { incident, without_evidence, identity: None })
}

fn search_users(part: &str, whose: &IncidentArgs) -> Result<ExitCode, Failure> {
    let ops = whose.read_only_ops(StoreRequirement::EmptyIfMissing)?;
    let search = incidents::search_users(ops, part.to_owned(), USER_SEARCH_LIMIT);
    let users = super::block_on(async { Ok(search.await?) })?;
    if users.is_empty() {
        return Err(Failure::Usage(format!(
            "no user's id, name or handle contains `{}`",
            sanitize_text(part)
        )));
    }
    for FoundUser { display: shown, sessions } in &users {
        let shown: Vec<String> =
            shown.iter().filter(|text| !text.is_empty()).map(|text| sanitize_text(text)).collect();
        super::print_text(&format!(
            "{}  user {}\n",
            format_count(*sessions, "session", "sessions"),
            shown.join("  ")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list_incidents(args: &ConfigArgs, format: OutputFormat) -> Result<ExitCode, Failure> {
    let app = opening::open_existing_app(args)?;
    let found = super::block_on(async { Ok(incidents::list_incidents(&app).await?) })?;
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
    let header = ["incident", "target", "severity", "is", "opened at", "what happened"];
    let sheet = OutputTable {
        json_key: "incidents",
        header: header.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found.iter().map(document).collect::<Result<_, _>>()?,
    };
    super::print_text(&sheet.render(format))?;
    Ok(ExitCode::SUCCESS)
}

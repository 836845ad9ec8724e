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
            self, CaseOps, CaseRef, Contained, FindCaseError, FoundUser, Incident, REPORT_FIELDS,
            StepResponse,
        },
        state_store::StoreNeed,
    },
    output::{Format, table::Sheet},
    sanitize::printable,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{incident::IncidentSeverity, plural::counted};

use super::{
    Failure,
    acting::{self, ActArgs, ApplyOptions},
    actor::ActorArgs,
    opening,
    target::{ConfigArgs, TargetArgs},
};

/// Users that are listed when one is looked for.
const FOUND_USERS: usize = 100;

/// Lead through an emergency: open, next, contain, evidence, report, close
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Open an incident, with a look at the target as it is now
    Open {
        #[command(flatten)]
        whose: Whose,
        /// How bad it is: P0 active leakage is confirmed, P1 shared tokens or a possible leak, P2 orphans or alerts, P3 routine
        #[arg(long, value_parser = grade)]
        severity: IncidentSeverity,
        /// What happened, in a sentence
        #[arg(long, default_value = "")]
        summary: String,
    },
    /// Show the next step; find out, or say, that it is done
    Next {
        #[command(flatten)]
        whose: Whose,
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
        whose: Whose,
    },
    /// End sessions: first as a plan, then by --apply
    Contain {
        /// Whose
        #[arg(value_enum)]
        whose: Contained,
        #[command(flatten)]
        act: ActArgs,
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
        whose: Whose,
    },
    /// Show where an incident stands
    Status {
        #[command(flatten)]
        whose: Whose,
    },
    /// List the incidents
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Put a note on the timeline
    Note {
        /// What there is to say
        text: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Say what the report is to say
    Set {
        /// Which part
        #[arg(value_parser = REPORT_FIELDS)]
        name: String,
        /// What it says
        text: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write the evidence into one sealed file
    Evidence {
        #[command(flatten)]
        whose: Whose,
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
        whose: Whose,
        /// How it is written
        #[arg(long, value_enum, default_value = "markdown")]
        format: Paper,
    },
    /// Draft the message to users
    Message {
        #[command(flatten)]
        whose: Whose,
        /// A template of your own, with {{ summary }} and the like
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
    },
    /// Close an incident, if nothing speaks against it
    Close {
        #[command(flatten)]
        whose: Whose,
        /// Close it all the same, for this reason
        #[arg(long = "override", value_name = "REASON")]
        overridden: Option<String>,
    },
    /// Rehearse: a copy with a leak in it, and the clock running
    Drill(drill::DrillArgs),
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Paper {
    /// For wikis and issues
    Markdown,
    /// For a browser
    Html,
}

/// Which incident, of which target, and who works on it.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
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

fn grade(text: &str) -> Result<IncidentSeverity, String> {
    text.parse().map_err(|_| "P0, P1, P2 or P3 is meant".into())
}

impl Whose {
    fn target_ops(&self, need: StoreNeed) -> Result<TargetOps, Failure> {
        acting::target_ops(&self.target, self.act_url.as_ref(), &self.actor.actor(), need)
    }

    /// The same for what only reads, and records nothing.
    fn reading_ops(&self, need: StoreNeed) -> Result<TargetOps, Failure> {
        let actor = Actor::of_command(self.actor.name_unrecorded());
        acting::target_ops(&self.target, self.act_url.as_ref(), &actor, need)
    }

    /// The incident that is worked on: without an id, the one of the target that is not closed.
    fn case(&self) -> Result<CaseOps, Failure> {
        let ops = self.target_ops(StoreNeed::Existing)?;
        find_case(ops, self.id.clone().map_or(CaseRef::Current, CaseRef::Id))
    }

    /// The same for what is read after an incident too: without an id, the last one of the target.
    fn case_to_read(&self) -> Result<CaseOps, Failure> {
        let ops = self.reading_ops(StoreNeed::Existing)?;
        find_case(ops, self.id.clone().map_or(CaseRef::Latest, CaseRef::Id))
    }
}

fn find_case(ops: TargetOps, wanted: CaseRef) -> Result<CaseOps, Failure> {
    let target = printable(&ops.target.name);
    let named = match &wanted {
        CaseRef::Id(id) => id.clone(),
        CaseRef::Current | CaseRef::Latest => String::new(),
    };
    let found = super::block_on(async { Ok(incidents::find_case(ops, wanted).await) })?;
    found.map_err(|error| match error {
        FindCaseError::NotFound => {
            Failure::Usage(format!("there is no incident `{named}`: `sessionwatch incident list` shows them"))
        }
        FindCaseError::NoneOpen => Failure::Usage(format!(
            "no incident of `{target}` is open: `sessionwatch incident open --severity P1` opens one"
        )),
        FindCaseError::OtherTarget(other) => {
            Failure::Usage(format!("`{named}` is about the target `{other}`"))
        }
        FindCaseError::App(error) => error.into(),
    })
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::Open { whose, severity, summary } => steps::open(whose, *severity, summary),
        Args::Next { whose, done, skip, reason, note } => {
            let response = if *skip {
                StepResponse::Skip(reason.clone().unwrap_or_default())
            } else if *done {
                StepResponse::Done(note.clone())
            } else {
                StepResponse::FindOut
            };
            steps::next(whose.case()?, response)
        }
        Args::Reopen { step, reason, whose } => steps::reopen(whose.case()?, step, reason),
        Args::Contain { whose, act, users, without_evidence } => {
            contain(*whose, users, act, without_evidence.as_deref())
        }
        Args::Find { part, whose } => find(part, whose),
        Args::Status { whose } => steps::status(&whose.case_to_read()?),
        Args::List { config, format } => list(config, *format),
        Args::Note { text, whose } => {
            let work = whose.case()?;
            super::block_on(async { Ok(incidents::add_note(work, text.clone()).await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Set { name, text, whose } => {
            let work = whose.case()?;
            let set = incidents::set_report_field(work, name.clone(), text.clone());
            super::block_on(async { Ok(set.await?) })?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Evidence { whose, to } => papers::evidence(whose.case()?, to.as_deref()),
        Args::Verify { file, identity } => papers::verify(file, identity),
        Args::Report { whose, format } => papers::report(&whose.case_to_read()?, *format),
        Args::Message { whose, template } => papers::message(&whose.case_to_read()?, template.as_deref()),
        Args::Close { whose, overridden } => steps::close(whose.case()?, overridden.clone()),
        Args::Drill(args) => drill::run(args),
    }
}

fn contain(
    whose: Contained,
    users: &[String],
    act: &ActArgs,
    without_evidence: Option<&str>,
) -> Result<ExitCode, Failure> {
    if whose != Contained::Users && !users.is_empty() {
        return Err(Failure::Usage("--user goes with `contain users` only".into()));
    }
    let selection = whose.selection(users).ok_or_else(|| {
        Failure::Usage(
            "name whose sessions are to be ended with --user ID; `sessionwatch incident find PART` finds ids"
                .into(),
        )
    })?;
    let work = find_case(act.target_ops(StoreNeed::Existing)?, CaseRef::Current)?;
    let Some(id) = &act.apply else {
        if let Some(why) = work.case.lacks_evidence()? {
            super::complain_of(&format!("--apply waits for complete evidence: {why}"));
        }
        let ops = work.ops.clone();
        let plan = super::block_on(async { Ok(incidents::plan_containment(work, selection).await?) })?;
        acting::show(&ops, &plan, act.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = acting::find_plan(&work.ops, id, &selection)?;
    let incident = Some(work.case.incident.id.as_str());
    acting::apply(&work.ops, &plan, act, ApplyOptions { incident, without_evidence, identity: None })
}

fn find(part: &str, whose: &Whose) -> Result<ExitCode, Failure> {
    let ops = whose.reading_ops(StoreNeed::OrEmpty)?;
    let search = incidents::search_users(ops, part.to_owned(), FOUND_USERS);
    let users = super::block_on(async { Ok(search.await?) })?;
    if users.is_empty() {
        return Err(Failure::Usage(format!("no user's id, name or handle contains `{}`", printable(part))));
    }
    for FoundUser { shown, sessions } in &users {
        let shown: Vec<String> =
            shown.iter().filter(|text| !text.is_empty()).map(|text| printable(text)).collect();
        super::print(&format!("{}  user {}\n", counted(*sessions, "session", "sessions"), shown.join("  ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ConfigArgs, format: Format) -> Result<ExitCode, Failure> {
    let app = opening::open_existing(args)?;
    let found = super::block_on(async { Ok(incidents::list_incidents(&app).await?) })?;
    let summary = |incident: &Incident| incident.field("summary").unwrap_or_default();
    let row = |incident: &Incident| {
        vec![
            incident.id.clone(),
            incident.target.clone(),
            incident.grade.name().to_owned(),
            incident.state.name().to_owned(),
            clock::readable(incident.opened_at),
            summary(incident),
        ]
    };
    let document = |incident: &Incident| api_types::json(api_types::Incident::of(incident));
    let header = ["incident", "target", "severity", "is", "opened at", "what happened"];
    let sheet = Sheet {
        kind: "incidents",
        header: header.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        documents: found.iter().map(document).collect::<Result<_, _>>()?,
    };
    super::print(&sheet.render(format))?;
    Ok(ExitCode::SUCCESS)
}

//! `incident`: leads a person through an emergency.

mod drill;
mod papers;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_core::plural::counted;

use super::{
    Failure,
    acting::{self, ActArgs, Acting},
    actor::ActorArgs,
    opening::{self, Opening},
    target::{ConfigArgs, TargetArgs},
};
use crate::{
    actions::affected,
    api_types, clock,
    incident::{
        NewEntry,
        work::{self, Contained, Said},
    },
    output::{Format, table::Sheet},
    sanitize::printable,
    secret::Secret,
    store::incidents::{self, Incident},
};

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
        #[arg(value_parser = work::FIELDS)]
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
    IncidentSeverity::parse(text).ok_or_else(|| "P0, P1, P2 or P3 is meant".into())
}

/// An incident that is worked on.
pub(super) struct Case {
    acting: Acting,
    work: work::Case,
}

impl Whose {
    fn acting(&self, opening: Opening) -> Result<Acting, Failure> {
        Acting::with(&self.target, (self.act_url.as_ref(), self.actor.name()), opening)
    }

    /// The same for what only reads.
    fn reading(&self, opening: Opening) -> Result<Acting, Failure> {
        let actor = self.actor.name_unrecorded();
        Acting::with(&self.target, (self.act_url.as_ref(), actor), opening)
    }
}

impl Case {
    fn of(whose: &Whose) -> Result<Self, Failure> {
        let acting = whose.acting(Opening::Existing)?;
        Self::with(acting, whose.id.as_deref())
    }

    /// The same for what is read after an incident too: without an id, the last one of the target is meant.
    fn to_read(whose: &Whose) -> Result<Self, Failure> {
        let acting = whose.reading(Opening::Existing)?;
        let target = &acting.target.name;
        let latest = match &whose.id {
            Some(id) => Some(id.clone()),
            None => acting.store.read(|db| incidents::latest(db, target))?.map(|incident| incident.id),
        };
        Self::with(acting, latest.as_deref())
    }

    fn with(acting: Acting, id: Option<&str>) -> Result<Self, Failure> {
        let target = &acting.target.name;
        let incident = match id {
            Some(id) => acting.store.read(|db| incidents::get(db, id))?.ok_or_else(|| {
                Failure::Usage(format!("there is no incident `{id}`: `sessionwatch incident list` shows them"))
            })?,
            None => acting.store.read(|db| incidents::current(db, target))?.ok_or_else(|| {
                let printable = printable(target);
                Failure::Usage(format!(
                    "no incident of `{printable}` is open: `sessionwatch incident open --severity P1` opens one"
                ))
            })?,
        };
        if incident.target != *target {
            return Err(Failure::Usage(format!(
                "`{}` is about the target `{}`",
                incident.id, incident.target
            )));
        }
        let timeline = acting.store.read(|db| incidents::timeline(db, &incident.id))?;
        Ok(Self { acting, work: work::Case { incident, timeline } })
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::Open { whose, severity, summary } => steps::open(whose, *severity, summary),
        Args::Next { whose, done, skip, reason, note } => {
            let said = if *skip {
                Said::Skip(reason.as_deref().unwrap_or_default())
            } else if *done {
                Said::Done(note)
            } else {
                Said::Nothing
            };
            steps::next(Case::of(whose)?, said)
        }
        Args::Reopen { step, reason, whose } => {
            let mut case = Case::of(whose)?;
            case.work.reopen_step(case.acting.context(), step, reason)?;
            steps::next(case, Said::Nothing)
        }
        Args::Contain { whose, act, users, without_evidence } => {
            contain((*whose, users), act, without_evidence.as_deref())
        }
        Args::Find { part, whose } => find(part, whose),
        Args::Status { whose } => steps::status(&Case::to_read(whose)?),
        Args::List { config, format } => list(config, *format),
        Args::Note { text, whose } => {
            let mut case = Case::of(whose)?;
            case.work
                .add(case.acting.context(), NewEntry { kind: "note", step: "", said: text, detail: None })?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Set { name, text, whose } => papers::set(&Case::of(whose)?, (name, text)),
        Args::Evidence { whose, to } => papers::evidence(Case::of(whose)?, to.as_deref()),
        Args::Verify { file, identity } => papers::verify(file, identity),
        Args::Report { whose, format } => papers::report(&Case::to_read(whose)?, *format),
        Args::Message { whose, template } => papers::message(&Case::to_read(whose)?, template.as_deref()),
        Args::Close { whose, overridden } => steps::close(&Case::of(whose)?, overridden.as_deref()),
        Args::Drill(args) => drill::run(args),
    }
}

fn contain(
    (whose, users): (Contained, &[String]),
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
    let mut case = Case::with(Acting::of(act, Opening::Existing)?, None)?;
    if act.apply.is_some() {
        case.work.require_evidence(case.acting.context(), without_evidence)?;
    } else if let Some(why) = case.work.lacks_evidence()? {
        super::complain_of(&format!("--apply waits for complete evidence: {why}"));
    }
    let Some((plan, applied)) = acting::carried_out(&case.acting, act, &selection)? else {
        return Ok(ExitCode::SUCCESS);
    };
    case.work.ended(case.acting.context(), &plan, &applied)?;
    acting::report(&plan, &applied, act.format)
}

fn find(part: &str, whose: &Whose) -> Result<ExitCode, Failure> {
    const SHOWN: usize = 100;
    let acting = whose.reading(Opening::OrEmpty)?;
    let users = super::block_on(async { Ok(affected::users(acting.context(), part, SHOWN).await?) })?;
    if users.is_empty() {
        return Err(Failure::Usage(format!("no user's id, name or handle contains `{}`", printable(part))));
    }
    for (shown, sessions) in &users {
        let shown: Vec<String> =
            shown.iter().filter(|text| !text.is_empty()).map(|text| printable(text)).collect();
        super::print(&format!("{}  user {}\n", counted(*sessions, "session", "sessions"), shown.join("  ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ConfigArgs, format: Format) -> Result<ExitCode, Failure> {
    let (_, store) = opening::existing(args)?;
    let found = store.read(incidents::list)?;
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
        documents: found.iter().map(document).collect(),
    };
    super::print(&sheet.render(format))?;
    Ok(ExitCode::SUCCESS)
}

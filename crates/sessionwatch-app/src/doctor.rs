//! The doctor: what about a target keeps its sessions from being safe, or sessionwatch from seeing them, and the SQL
//! that mends it. Pure: facts in, findings out.

mod connection;
mod constraints;
mod row_ids;
mod users;
mod values;
mod visit;

use jiff::SignedDuration;
use sessionwatch_core::local_time::Doubts;
use sessionwatch_targets::{
    address::Address,
    connect::ConnectedTarget,
    examination::{Impersonations, RowIdSequence},
    layout::{detect::Candidate, doubt::Weight},
    remedies::Remedies,
    server_info::ServerInfo,
    side_effects::SideEffect,
    sql::tables::TableKind,
};

pub use self::visit::visit;
use crate::{
    api_types::Examined,
    clock_difference::Difference,
    config::Config,
    incident::drill::{
        self,
        leftovers::{self, Leftover},
    },
};

/// Clocks that differ by more are worth a word; by more than the other, wrong.
const CLOCK_WARN: SignedDuration = SignedDuration::from_secs(2);
const CLOCK_FAIL: SignedDuration = SignedDuration::from_secs(60);
/// The fewest characters that hold 64 random bits as hexadecimal digits, the least that OWASP asks of a session id.
const MIN_TOKEN_LENGTH: u64 = 16;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Pass,
    /// Could be better.
    Warn,
    /// Must be mended.
    Fail,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was examined, kebab-case.
    pub id: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub summary: String,
    /// SQL, or words, that mend it.
    pub fix: Option<String>,
}

impl From<&Finding> for Examined {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id,
            level: finding.level.name(),
            summary: finding.summary.clone(),
            fix: finding.fix.clone(),
        }
    }
}

/// A target as examined.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// What was found in it.
    pub opened: &'a ConnectedTarget,
    /// What it says of itself.
    pub audit: &'a ServerInfo,
    /// The database's clock and this machine's.
    pub clocks: Difference,
    /// The instants in it that are not believed.
    pub doubts: &'a Doubts,
    /// The role that acts, where one is configured.
    pub acting: Option<&'a Acting>,
    /// What ending sessions does besides.
    pub side_effects: &'a [SideEffect],
    /// Characters of the shortest token of a sample; `None` if there is no session.
    pub shortest_token: Option<u64>,
    /// Ends that are stored in another unit than the others.
    pub ends_in_other_unit: u64,
    /// Sessions whose user is written in a form that no key of a user has.
    pub users_in_other_form: u64,
    /// Where the row ids stand, where they are small numbers of a sequence.
    pub row_ids: Option<&'a RowIdSequence>,
    /// What every token of a sample begins with, as far as it is shown; nothing if they differ, or are few.
    pub common_prefix: Option<&'a str>,
    /// Active sessions in which somebody acts for a user for more than an hour: who, how many, and since when at the earliest.
    pub impersonations: &'a [Impersonations],
    /// Databases that drills may have left on the server.
    pub drills: &'a [Leftover],
}

/// The role that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acting {
    /// Its name, whether it may do everything, and what it lacks, each as `PRIVILEGE ON what`.
    Asked {
        /// Its name.
        name: String,
        /// May do everything.
        superuser: bool,
        /// What it lacks.
        lacks: Vec<String>,
        /// The tables of which it does not see every row.
        hidden: Vec<String>,
    },
    /// Why it could not be asked.
    Unknown(String),
}

impl<'a> Patient<'a> {
    /// What mends its tables.
    fn remedies(&self) -> Remedies<'a> {
        Remedies::new(&self.opened.layout)
    }

    /// The name of the role that checks run as.
    fn role_name(&self) -> Option<&'a str> {
        self.audit.role.as_ref().map(|role| role.name.as_str())
    }
}

impl Level {
    /// The word for it in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn pass(id: &'static str, summary: impl Into<String>) -> Finding {
    Finding { id, level: Level::Pass, summary: summary.into(), fix: None }
}

fn warn(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { id, level: Level::Warn, summary: summary.into(), fix: Some(fix.into()) }
}

fn fail(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { level: Level::Fail, ..warn(id, summary, fix) }
}

/// Examines a target.
#[must_use]
pub fn examine(patient: Patient<'_>) -> Vec<Finding> {
    let mut findings = vec![pass("server", connection::server(patient.audit))];
    findings.extend(connection::transport(patient));
    findings.extend(connection::pooler(patient.address));
    findings.push(recognition(patient.opened));
    findings.extend(elsewhere(patient.opened));
    findings.extend(connection::role(patient));
    findings.extend(connection::search_path(patient));
    findings.extend(patient.acting.map(|acting| connection::acting_role(patient, acting)));
    let mapping = &patient.opened.layout.candidate.mapping;
    let sessions = patient.opened.layout.schema.table(&mapping.sessions);
    if let Some(table) = sessions {
        findings.push(constraints::visibility(patient, table));
        findings.extend(constraints::users_visibility(patient));
        if [TableKind::Table, TableKind::Partitioned].contains(&table.kind) {
            findings.push(constraints::token_unique(patient, table));
            findings.extend(constraints::token_comparison(patient, table));
            findings.push(constraints::user_exists(patient, table));
            findings.extend(constraints::indexes(patient, table));
            findings.extend(constraints::statistics(patient, table));
        } else {
            let fix =
                "examine the tables behind it: name one under [target.mapping], if it holds every session";
            findings.push(warn("table", "not a table of its own: it has no constraints and no indexes", fix));
        }
    }
    findings.extend(users::examine(patient));
    findings.extend(row_ids::examine(patient));
    findings.extend(values::token_length(patient));
    findings.extend(values::alike(patient));
    findings.push(values::expiry(patient));
    findings.push(values::creation(patient));
    findings.extend(connection::clock(patient));
    findings.extend(connection::journal(patient));
    findings.extend(values::units(patient));
    findings.extend(values::impersonation(patient));
    findings.push(side_effects(patient));
    findings.extend(drills(patient));
    findings
}

/// Names the files that drills may have left beside the store and in the present folder.
#[must_use]
pub fn left_files(config: &Config) -> Option<Finding> {
    let left = leftovers::files_of(&drill::folder(&config.serve.store));
    let names: Vec<String> = left
        .iter()
        .filter(|left| left.state != leftovers::State::Running)
        .map(leftovers::LeftFiles::names)
        .collect();
    let names = names.join(" ");
    (!names.is_empty()).then(|| {
        warn(
            "drill-files",
            format!("drills left files: {names}"),
            format!("if no drill is running: rm {names}"),
        )
    })
}

/// Names the databases that drills may have left, which hold user ids.
fn drills(patient: Patient<'_>) -> Option<Finding> {
    let said: Vec<String> = patient.drills.iter().map(Leftover::said).collect();
    let statements: Vec<String> = patient.drills.iter().map(Leftover::drop_statement).collect();
    (!said.is_empty()).then(|| {
        let fix = format!("if no drill is running, as their owner:\n{}", statements.join("\n"));
        warn("drill-leftovers", format!("on this server: {}", said.join("; ")), fix)
    })
}

fn side_effects(patient: Patient<'_>) -> Finding {
    const ID: &str = "side-effects";
    let effects: Vec<String> = patient.side_effects.iter().map(SideEffect::text).collect();
    if effects.is_empty() {
        return pass(ID, "ending sessions changes no other table, and runs no trigger or rule");
    }
    let fix = if patient.side_effects.iter().all(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; they are archived, and restored with their sessions"
    } else if patient.side_effects.iter().any(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; the archive holds those that ON DELETE CASCADE deletes, as the plan says, and nothing else"
    } else {
        "each plan counts these rows and has to be confirmed; what happens to them cannot be undone by a restore"
    };
    warn(
        ID,
        format!(
            "ending sessions concerns other tables, or runs code of the database: {}",
            effects.join(", ")
        ),
        fix,
    )
}

fn recognition(opened: &ConnectedTarget) -> Finding {
    let Candidate { mapping, title, why, .. } = &opened.layout.candidate;
    let summary = format!("{title} in {}: {}", mapping.sessions, why.join("; "));
    match &opened.layout.doubt {
        None => pass("recognition", summary),
        Some(doubt) if doubt.weight == Weight::Weak => fail("recognition", doubt.to_string(), doubt.hint()),
        Some(doubt) => warn("recognition", format!("{summary}; {doubt}"), doubt.hint()),
    }
}

/// Log-ins that do not end with their rows, as far as the tables show that.
fn elsewhere(opened: &ConnectedTarget) -> Vec<Finding> {
    let fix = "end log-ins there too, whenever rows are ended here: docs/acting.md says how";
    opened.layout.candidate.elsewhere.iter().map(|says| warn("elsewhere", says, fix)).collect()
}

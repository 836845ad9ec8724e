//! The doctor: what about a target keeps its sessions from being safe, or sessionwatch from seeing them, and the SQL
//! that mends it. Pure: facts in, findings out.

mod collect;
mod connection;
mod constraints;
mod row_ids;
mod users;
mod values;

use jiff::SignedDuration;
use sessionwatch_core::local_time::TimeZoneDoubts;
use sessionwatch_targets::{
    address::TargetAddress,
    connect::ConnectedTarget,
    doctor_fixes::DoctorFixes,
    doctor_queries::{ImpersonatorSummary, RowIdSequence},
    layout::{detect::LayoutCandidate, uncertainty::UncertaintyLevel},
    server_info::ServerInfo,
    side_effects::SideEffect,
    sql::tables::TableKind,
};

pub use self::collect::examine_target;
use crate::{
    api_types::DoctorFindingDto,
    clock_difference::ClockDifference,
    config::Config,
    incident::drill::{
        self,
        leftovers::{self, LeftoverDatabase},
    },
};

/// Clocks that differ by more are worth a word; by more than the other, wrong.
const CLOCK_WARN_THRESHOLD: SignedDuration = SignedDuration::from_secs(2);
const CLOCK_FAIL_THRESHOLD: SignedDuration = SignedDuration::from_secs(60);
/// The fewest characters that hold 64 random bits as hexadecimal digits, the least that OWASP asks of a session id.
const MIN_TOKEN_LENGTH: u64 = 16;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum DiagnosticLevel {
    /// As it should be.
    Pass,
    /// Could be better.
    Warn,
    /// Must be mended.
    Fail,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What was examined, kebab-case.
    pub id: &'static str,
    /// How it is.
    pub level: DiagnosticLevel,
    /// What was found.
    pub summary: String,
    /// SQL, or words, that mend it.
    pub fix: Option<String>,
}

impl From<&Diagnostic> for DoctorFindingDto {
    fn from(finding: &Diagnostic) -> Self {
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
pub struct DoctorInput<'a> {
    /// Where it is.
    pub address: &'a TargetAddress,
    /// What was found in it.
    pub connected: &'a ConnectedTarget,
    /// What it says of itself.
    pub server_info: &'a ServerInfo,
    /// The database's clock and this machine's.
    pub clocks: ClockDifference,
    /// The instants in it that are not believed.
    pub doubts: &'a TimeZoneDoubts,
    /// The role that acts, where one is configured.
    pub write_role: Option<&'a WriteRoleInfo>,
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
    pub impersonations: &'a [ImpersonatorSummary],
    /// Databases that drills may have left on the server.
    pub drill_databases: &'a [LeftoverDatabase],
}

/// The role that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteRoleInfo {
    /// Its name, whether it may do everything, and what it lacks, each as `PRIVILEGE ON what`.
    Inspected {
        /// Its name.
        name: String,
        /// May do everything.
        superuser: bool,
        /// What it lacks.
        missing_privileges: Vec<String>,
        /// The tables of which it does not see every row.
        hidden_tables: Vec<String>,
    },
    /// Why it could not be asked.
    Unknown(String),
}

impl<'a> DoctorInput<'a> {
    /// What mends its tables.
    fn remedies(&self) -> DoctorFixes<'a> {
        DoctorFixes::new(&self.connected.layout)
    }

    /// The name of the role that checks run as.
    fn role_name(&self) -> Option<&'a str> {
        self.server_info.role.as_ref().map(|role| role.name.as_str())
    }
}

impl DiagnosticLevel {
    /// The word for it in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn diagnostic_pass(id: &'static str, summary: impl Into<String>) -> Diagnostic {
    Diagnostic { id, level: DiagnosticLevel::Pass, summary: summary.into(), fix: None }
}

fn diagnostic_warn(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
    Diagnostic { id, level: DiagnosticLevel::Warn, summary: summary.into(), fix: Some(fix.into()) }
}

fn diagnostic_fail(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
    Diagnostic { level: DiagnosticLevel::Fail, ..diagnostic_warn(id, summary, fix) }
}

/// Examines a target.
#[must_use]
pub fn diagnose_target(patient: DoctorInput<'_>) -> Vec<Diagnostic> {
    let mut findings = vec![diagnostic_pass("server", connection::describe_server(patient.server_info))];
    findings.extend(connection::diagnose_transport(patient));
    findings.extend(connection::diagnose_pooler(patient.address));
    findings.push(diagnose_layout(patient.connected));
    findings.extend(diagnose_external_logins(patient.connected));
    findings.extend(connection::diagnose_watch_role(patient));
    findings.extend(connection::diagnose_search_path(patient));
    findings.extend(patient.write_role.map(|acting| connection::diagnose_write_role(patient, acting)));
    let mapping = &patient.connected.layout.candidate.mapping;
    let sessions = patient.connected.layout.schema.table(&mapping.sessions);
    if let Some(table) = sessions {
        findings.push(constraints::diagnose_visibility(patient, table));
        findings.extend(constraints::diagnose_users_visibility(patient));
        if [TableKind::Table, TableKind::Partitioned].contains(&table.kind) {
            findings.push(constraints::diagnose_token_uniqueness(patient, table));
            findings.extend(constraints::diagnose_token_comparison(patient, table));
            findings.push(constraints::diagnose_user_foreign_key(patient, table));
            findings.extend(constraints::diagnose_indexes(patient, table));
            findings.extend(constraints::diagnose_statistics(patient, table));
        } else {
            let fix =
                "examine the tables behind it: name one under [target.mapping], if it holds every session";
            findings.push(diagnostic_warn(
                "table",
                "not a table of its own: it has no constraints and no indexes",
                fix,
            ));
        }
    }
    findings.extend(users::diagnose_users(patient));
    findings.extend(row_ids::diagnose_row_ids(patient));
    findings.extend(values::diagnose_token_length(patient));
    findings.extend(values::diagnose_token_prefix(patient));
    findings.push(values::diagnose_expiry(patient));
    findings.push(values::diagnose_creation(patient));
    findings.extend(connection::diagnose_clock(patient));
    findings.extend(connection::diagnose_journal_mode(patient));
    findings.extend(values::diagnose_expiry_units(patient));
    findings.extend(values::diagnose_impersonation(patient));
    findings.push(diagnose_side_effects(patient));
    findings.extend(diagnose_drill_databases(patient));
    findings
}

/// Names the files that drills may have left beside the store and in the present folder.
#[must_use]
pub fn diagnose_drill_files(config: &Config) -> Option<Diagnostic> {
    let left = leftovers::find_leftover_files(&drill::drill_folder(&config.serve.store));
    let names: Vec<String> = left
        .iter()
        .filter(|left| left.state != leftovers::DrillState::Running)
        .map(leftovers::LeftoverFiles::joined_names)
        .collect();
    let names = names.join(" ");
    (!names.is_empty()).then(|| {
        diagnostic_warn(
            "drill-files",
            format!("drills left files: {names}"),
            format!("if no drill is running: rm {names}"),
        )
    })
}

/// Names the databases that drills may have left, which hold user ids.
fn diagnose_drill_databases(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let said: Vec<String> = patient.drill_databases.iter().map(LeftoverDatabase::describe).collect();
    let statements: Vec<String> =
        patient.drill_databases.iter().map(LeftoverDatabase::drop_statement).collect();
    (!said.is_empty()).then(|| {
        let fix = format!("if no drill is running, as their owner:\n{}", statements.join("\n"));
        diagnostic_warn("drill-leftovers", format!("on this server: {}", said.join("; ")), fix)
    })
}

fn diagnose_side_effects(patient: DoctorInput<'_>) -> Diagnostic {
    const DIAGNOSTIC_ID: &str = "side-effects";
    let effects: Vec<String> = patient.side_effects.iter().map(SideEffect::describe).collect();
    if effects.is_empty() {
        return diagnostic_pass(
            DIAGNOSTIC_ID,
            "ending sessions changes no other table, and runs no trigger or rule",
        );
    }
    let fix = if patient.side_effects.iter().all(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; they are archived, and restored with their sessions"
    } else if patient.side_effects.iter().any(|effect| effect.archived) {
        "each plan counts these rows and has to be confirmed; the archive holds those that ON DELETE CASCADE deletes, as the plan says, and nothing else"
    } else {
        "each plan counts these rows and has to be confirmed; what happens to them cannot be undone by a restore"
    };
    diagnostic_warn(
        DIAGNOSTIC_ID,
        format!(
            "ending sessions concerns other tables, or runs code of the database: {}",
            effects.join(", ")
        ),
        fix,
    )
}

fn diagnose_layout(opened: &ConnectedTarget) -> Diagnostic {
    let LayoutCandidate { mapping, title, reasons: why, .. } = &opened.layout.candidate;
    let summary = format!("{title} in {}: {}", mapping.sessions, why.join("; "));
    match &opened.layout.uncertainty {
        None => diagnostic_pass("recognition", summary),
        Some(doubt) if doubt.level == UncertaintyLevel::Weak => {
            diagnostic_fail("recognition", doubt.to_string(), doubt.hint())
        }
        Some(doubt) => diagnostic_warn("recognition", format!("{summary}; {doubt}"), doubt.hint()),
    }
}

/// Log-ins that do not end with their rows, as far as the tables show that.
fn diagnose_external_logins(opened: &ConnectedTarget) -> Vec<Diagnostic> {
    let fix = "end log-ins there too, whenever rows are ended here: docs/acting.md says how";
    opened
        .layout
        .candidate
        .other_login_hints
        .iter()
        .map(|says| diagnostic_warn("elsewhere", says, fix))
        .collect()
}

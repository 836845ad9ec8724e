//! Diagnostics: problems of a target that endanger its sessions or hide them from sessionwatch, with SQL fixes. The
//! rules are pure functions of collected facts.

mod collect;
mod connection;
mod constraints;
mod row_ids;
mod schema_tool;
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
    sql::table_info::TableKind,
};

pub use self::collect::examine_target;
use self::schema_tool::{SchemaChange, SchemaTool};
use crate::{
    api_types::DoctorFindingDto,
    clock_difference::ClockDifference,
    config::Config,
    incident::drill::{
        self,
        leftovers::{self, LeftoverDatabase},
    },
};

/// Clock differences above which a finding is a warning, and an error.
const CLOCK_WARN_THRESHOLD: SignedDuration = SignedDuration::from_secs(2);
const CLOCK_FAIL_THRESHOLD: SignedDuration = SignedDuration::from_secs(60);
/// Minimum token length: 64 random bits as hexadecimal digits, the least that OWASP requires of a session id.
const MIN_TOKEN_LENGTH: u64 = 16;

/// Level of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum DiagnosticLevel {
    /// No problem.
    Pass,
    /// Warning.
    Warn,
    /// Error that must be fixed.
    Fail,
}

/// Finding of the diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable id, in kebab-case.
    pub id: &'static str,
    /// Level.
    pub level: DiagnosticLevel,
    /// Description.
    pub summary: String,
    /// Fix, as SQL or as text.
    pub fix: Option<String>,
    /// The same fix for the tool that manages the schema, where there is one.
    pub schema_fix: Option<String>,
}

impl From<&Diagnostic> for DoctorFindingDto {
    fn from(finding: &Diagnostic) -> Self {
        Self {
            id: finding.id,
            level: finding.level.name(),
            summary: finding.summary.clone(),
            fix: finding.fix.clone(),
            schema_fix: finding.schema_fix.clone(),
        }
    }
}

/// Collected facts about a target.
#[derive(Clone, Copy, Debug)]
pub struct DoctorInput<'a> {
    /// Address.
    pub address: &'a TargetAddress,
    /// Connection and detected layout.
    pub connected: &'a ConnectedTarget,
    /// Facts about the server.
    pub server_info: &'a ServerInfo,
    /// Difference between the clocks of the database and this machine.
    pub clocks: ClockDifference,
    /// Columns whose times are not trusted.
    pub doubts: &'a TimeZoneDoubts,
    /// Write role, if one is configured.
    pub write_role: Option<&'a WriteRoleInfo>,
    /// Side effects of revoking sessions.
    pub side_effects: &'a [SideEffect],
    /// Characters of the shortest token in a sample; `None` without sessions.
    pub shortest_token: Option<u64>,
    /// Number of expiry times stored in a different unit than the others.
    pub ends_in_other_unit: u64,
    /// Number of sessions whose user id is written differently from the users table.
    pub users_in_other_form: u64,
    /// Sequence of the row ids, if they are numbers that may run out.
    pub row_ids: Option<&'a RowIdSequence>,
    /// Common prefix of every token in a sample, cut to the displayed length; `None` if they differ, or are too few.
    pub common_prefix: Option<&'a str>,
    /// Impersonators with active sessions older than an hour.
    pub impersonations: &'a [ImpersonatorSummary],
    /// Databases on the server that drills may have left behind.
    pub drill_databases: &'a [LeftoverDatabase],
}

/// Facts about the write role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteRoleInfo {
    /// The role was inspected.
    Inspected {
        /// Name.
        name: String,
        /// The role is a superuser.
        superuser: bool,
        /// Missing privileges, each as `PRIVILEGE ON table`.
        missing_privileges: Vec<String>,
        /// Tables in which row-level security hides rows from it.
        hidden_tables: Vec<String>,
    },
    /// The role could not be inspected, with the reason.
    Unknown(String),
}

impl<'a> DoctorInput<'a> {
    /// Returns the SQL fixes for its tables.
    fn remedies(&self) -> DoctorFixes<'a> {
        DoctorFixes::new(&self.connected.layout)
    }

    /// Adds to a finding how the tool that manages the schema makes a change.
    fn with_schema_fix(&self, finding: Diagnostic, change: SchemaChange<'_>) -> Diagnostic {
        let sessions = &self.connected.layout.candidate.mapping.sessions.name;
        let tool = SchemaTool::detect(&self.connected.layout.schema);
        Diagnostic { schema_fix: tool.map(|tool| tool.describe_change(sessions, change)), ..finding }
    }

    /// Returns the name of the watch role.
    fn role_name(&self) -> Option<&'a str> {
        self.server_info.role.as_ref().map(|role| role.name.as_str())
    }
}

impl DiagnosticLevel {
    /// Returns the name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn diagnostic_pass(id: &'static str, summary: impl Into<String>) -> Diagnostic {
    Diagnostic { id, level: DiagnosticLevel::Pass, summary: summary.into(), fix: None, schema_fix: None }
}

fn diagnostic_warn(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
    Diagnostic {
        id,
        level: DiagnosticLevel::Warn,
        summary: summary.into(),
        fix: Some(fix.into()),
        schema_fix: None,
    }
}

fn diagnostic_fail(id: &'static str, summary: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
    Diagnostic { level: DiagnosticLevel::Fail, ..diagnostic_warn(id, summary, fix) }
}

/// Runs the diagnostics of a target.
#[must_use]
pub fn diagnose_target(input: DoctorInput<'_>) -> Vec<Diagnostic> {
    // The server first, as its version explains many of the other findings.
    let mut findings = vec![diagnostic_pass("server", connection::describe_server(input.server_info))];
    findings.extend(connection::diagnose_transport(input));
    findings.extend(connection::diagnose_pooler(input.address));
    findings.push(diagnose_layout(input.connected));
    findings.extend(diagnose_external_logins(input.connected));
    findings.extend(connection::diagnose_watch_role(input));
    findings.extend(connection::diagnose_search_path(input));
    findings.extend(input.write_role.map(|role| connection::diagnose_write_role(input, role)));
    let mapping = &input.connected.layout.candidate.mapping;
    let sessions = input.connected.layout.schema.table(&mapping.sessions);
    if let Some(table) = sessions {
        findings.push(constraints::diagnose_visibility(input, table));
        findings.extend(constraints::diagnose_users_visibility(input));
        // Views and foreign tables have no constraints and indexes of their own.
        if [TableKind::Table, TableKind::Partitioned].contains(&table.kind) {
            findings.push(constraints::diagnose_token_uniqueness(input, table));
            findings.extend(constraints::diagnose_token_comparison(input, table));
            findings.push(constraints::diagnose_user_foreign_key(input, table));
            findings.extend(constraints::diagnose_indexes(input, table));
            findings.extend(constraints::diagnose_statistics(input, table));
        } else {
            let fix =
                "check the underlying tables, and name one in [target.mapping] if it holds every session";
            findings.push(diagnostic_warn(
                "table",
                "the sessions are in a view or foreign table, which has no constraints and indexes",
                fix,
            ));
        }
    }
    findings.extend(users::diagnose_users(input));
    findings.extend(row_ids::diagnose_row_ids(input));
    findings.extend(values::diagnose_token_length(input));
    findings.extend(values::diagnose_token_prefix(input));
    findings.push(values::diagnose_expiry(input));
    findings.push(values::diagnose_creation(input));
    findings.extend(connection::diagnose_clock(input));
    findings.extend(connection::diagnose_journal_mode(input));
    findings.extend(values::diagnose_expiry_units(input));
    findings.extend(values::diagnose_impersonation(input));
    findings.push(diagnose_side_effects(input));
    findings.extend(diagnose_drill_databases(input));
    findings
}

/// Reports files that drills may have left beside the store and in the current folder.
#[must_use]
pub fn diagnose_drill_files(config: &Config) -> Option<Diagnostic> {
    let left = leftovers::find_leftover_files(&drill::drill_folder(&config.serve.store));
    let names: Vec<String> = left
        .iter()
        // A running drill still needs its files.
        .filter(|left| left.state != leftovers::DrillState::Running)
        .map(leftovers::LeftoverFiles::joined_names)
        .collect();
    let names = names.join(" ");
    (!names.is_empty()).then(|| {
        diagnostic_warn(
            "drill-files",
            format!("leftover files of drills: {names}"),
            format!("if no drill is running: rm {names}"),
        )
    })
}

/// Reports databases that drills may have left behind, which contain user ids.
fn diagnose_drill_databases(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let leftovers: Vec<String> = input.drill_databases.iter().map(LeftoverDatabase::describe).collect();
    let statements: Vec<String> =
        input.drill_databases.iter().map(LeftoverDatabase::drop_statement).collect();
    (!leftovers.is_empty()).then(|| {
        // As text with a condition, so that nobody pastes the statements while a drill is running.
        let fix = format!("if no drill is running, as their owner:\n{}", statements.join("\n"));
        diagnostic_warn("drill-leftovers", format!("leftovers on this server: {}", leftovers.join("; ")), fix)
    })
}

fn diagnose_side_effects(input: DoctorInput<'_>) -> Diagnostic {
    const DIAGNOSTIC_ID: &str = "side-effects";
    let effects: Vec<String> = input.side_effects.iter().map(SideEffect::describe).collect();
    if effects.is_empty() {
        return diagnostic_pass(
            DIAGNOSTIC_ID,
            "revoking sessions changes no other table, and runs no trigger or rule",
        );
    }
    // The wording must not promise more than a restore can do.
    let fix = if input.side_effects.iter().all(|effect| effect.archived) {
        "each plan counts these rows and must be confirmed; they are archived, and \
         restored with their sessions"
    } else if input.side_effects.iter().any(|effect| effect.archived) {
        "each plan counts these rows and must be confirmed; only rows deleted by ON DELETE CASCADE \
         are archived, as the plan says"
    } else {
        "each plan counts these rows and must be confirmed; a restore does not undo the changes to them"
    };
    diagnostic_warn(
        DIAGNOSTIC_ID,
        format!(
            "revoking sessions affects other tables, or runs code in the database: {}",
            effects.join(", ")
        ),
        fix,
    )
}

fn diagnose_layout(opened: &ConnectedTarget) -> Diagnostic {
    let LayoutCandidate { mapping, title, reasons, .. } = &opened.layout.candidate;
    let summary = format!("{title} in {}: {}", mapping.sessions, reasons.join("; "));
    match &opened.layout.uncertainty {
        None => diagnostic_pass("layout", summary),
        // A weak match may be another application's table, in which cleanup would do harm.
        Some(doubt) if doubt.level == UncertaintyLevel::Weak => {
            diagnostic_fail("layout", doubt.to_string(), doubt.hint())
        }
        Some(doubt) => diagnostic_warn("layout", format!("{summary}; {doubt}"), doubt.hint()),
    }
}

/// Reports logins that survive the deletion of their rows, as far as the tables show that.
fn diagnose_external_logins(opened: &ConnectedTarget) -> Vec<Diagnostic> {
    let fix = "whenever you revoke sessions, end these logins too: see docs/cleanup.md";
    opened
        .layout
        .candidate
        .other_login_hints
        .iter()
        .map(|says| diagnostic_warn("other-stores", says, fix))
        .collect()
}

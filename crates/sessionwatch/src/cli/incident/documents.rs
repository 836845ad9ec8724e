//! The documents of an incident: evidence, report, and the message to users.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::incidents::{self, EvidenceFile, IncidentOps, PackedEvidence},
    incident::evidence_bundle::{self, VerifiedEvidence},
    preflight,
    remediation::{ActionError, archive_keys},
};
use sessionwatch_archive::Identity;

use super::{ConfigArgs, Failure, IncidentReportFormat};

pub(super) fn write_evidence(work: IncidentOps, output: Option<&Path>) -> Result<ExitCode, Failure> {
    let (recipient, made) =
        archive_keys::load_or_create_recipient(&work.ops.config).map_err(ActionError::from)?;
    if let Some(path) = made {
        crate::cli::print_note(&archive_keys::new_identity_advice(&recipient, &path));
    }
    let packed = crate::cli::block_on(async { Ok(incidents::pack_evidence(&work).await?) })?;
    let name = work.case.evidence_file_name(work.ops.app.clock.now(), &packed);
    let path =
        output.map_or_else(|| Path::new(&name).to_owned(), |output| choose_evidence_path(output, &packed));
    evidence_bundle::write_evidence(&path, &packed.bytes, &recipient)?;
    let name = path.display().to_string();
    let (note, missing) = (format!("wrote {name}, encrypted to {recipient}"), packed.describe_gaps());
    let file = EvidenceFile { name: name.clone(), note };
    let recorded = crate::cli::block_on(async { Ok(incidents::record_evidence(work, file, packed).await?) });
    crate::cli::print_text(&format!("Wrote {name}, encrypted to {recipient}.\n"))?;
    recorded?;
    Ok(match missing {
        Some(missing) => report_incomplete(
            &format!("the evidence is incomplete: {missing}"),
            "the step stays open, and containment waits for it; repeat `sessionwatch incident evidence` once \
             the missing part can be read",
        ),
        None => ExitCode::SUCCESS,
    })
}

/// Returns the path for the evidence. Incomplete evidence goes to a new file beside: the one of `--output` is complete,
/// or is not there.
fn choose_evidence_path(output: &Path, packed: &PackedEvidence) -> PathBuf {
    if packed.is_complete() {
        return output.to_owned();
    }
    let beside = |end: &str| {
        let mut name = output.to_owned().into_os_string();
        name.push(format!(".incomplete{end}"));
        PathBuf::from(name)
    };
    let numbered = (2..).map(|number: u32| beside(&format!("-{number}")));
    let mut names = std::iter::once(beside("")).chain(numbered);
    names.find(|path| !path.exists()).unwrap_or_else(|| beside(""))
}

/// Reports incomplete evidence: exit code 3, since nobody knows what is missing.
fn report_incomplete(message: &str, hint: &str) -> ExitCode {
    crate::cli::print_error(message, Some(hint));
    ExitCode::from(3)
}

pub(super) fn verify_evidence(
    file: &Path,
    identity: Option<&Path>,
    config: &ConfigArgs,
) -> Result<ExitCode, Failure> {
    let sealed =
        std::fs::read(file).map_err(|_| Failure::Usage(format!("cannot read {}", file.display())))?;
    let identity = match identity {
        Some(path) => path.to_owned(),
        None => archive_keys::identity_path(&preflight::load_config(config.config.as_deref())?),
    };
    let identity = Identity::read_file(&identity).map_err(ActionError::from)?;
    let packed = identity.open(&sealed, "another key").map_err(ActionError::from)?;
    match evidence_bundle::verify_evidence(&packed) {
        Ok(VerifiedEvidence { manifest, gaps }) => {
            crate::cli::print_text(&format!(
                "Evidence intact: every part matches its hash.\n{manifest:#}\n"
            ))?;
            if gaps.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            Ok(report_incomplete(
                &format!("{} is incomplete: {}", file.display(), evidence_bundle::describe_gaps(&gaps)),
                "look for complete evidence in the timeline: `sessionwatch incident status`",
            ))
        }
        Err(error) => {
            crate::cli::print_error(&format!("{}: {error}", file.display()), None);
            Ok(ExitCode::from(1))
        }
    }
}

pub(super) fn print_report(work: &IncidentOps, format: IncidentReportFormat) -> Result<ExitCode, Failure> {
    crate::cli::print_text(&match format {
        IncidentReportFormat::Markdown => incidents::render_report_markdown(&work.case)?,
        IncidentReportFormat::Html => incidents::render_report_html(&work.case)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_message_draft(work: &IncidentOps, template: Option<&Path>) -> Result<ExitCode, Failure> {
    let own = template.map(|path| {
        std::fs::read_to_string(path).map_err(|_| Failure::Usage(format!("cannot read {}", path.display())))
    });
    crate::cli::print_text(&incidents::render_message_draft(
        &work.case.incident,
        own.transpose()?.as_deref(),
    )?)?;
    Ok(ExitCode::SUCCESS)
}

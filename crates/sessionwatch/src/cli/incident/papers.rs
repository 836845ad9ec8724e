//! What is written about an incident: evidence, report, message.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::incidents::{self, EvidenceFile, IncidentOps, PackedEvidence},
    incident::evidence::{self, VerifiedEvidence},
    remediation::{ActionError, archive_keys},
};
use sessionwatch_archive::Identity;

use super::{Failure, IncidentReportFormat};

pub(super) fn write_evidence(work: IncidentOps, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let (recipient, made) =
        archive_keys::load_or_create_recipient(&work.ops.config).map_err(ActionError::from)?;
    if let Some(path) = made {
        crate::cli::print_note(&archive_keys::new_identity_advice(&recipient, &path));
    }
    let packed = crate::cli::block_on(async { Ok(incidents::pack_evidence(&work).await?) })?;
    let name = work.case.evidence_file_name(work.ops.app.clock.now(), &packed);
    let path = to.map_or_else(|| Path::new(&name).to_owned(), |to| choose_evidence_path(to, &packed));
    evidence::write_evidence(&path, &packed.bytes, &recipient)?;
    let name = path.display().to_string();
    let (said, missing) = (format!("{name} was written, sealed to {recipient}"), packed.describe_gaps());
    let file = EvidenceFile { name, note: said.clone() };
    let noted = crate::cli::block_on(async { Ok(incidents::record_evidence(work, file, packed).await?) });
    crate::cli::print_text(&format!("{said}.\n"))?;
    noted?;
    Ok(match missing {
        Some(missing) => report_incomplete(
            &format!("the evidence is incomplete: {missing}"),
            "the step is not done, and ending sessions waits for it: once that can be read again, run `sessionwatch incident evidence` again",
        ),
        None => ExitCode::SUCCESS,
    })
}

/// The file that was asked for holds complete evidence or none; what is incomplete goes to a new file beside it.
fn choose_evidence_path(to: &Path, packed: &PackedEvidence) -> PathBuf {
    if packed.is_complete() {
        return to.to_owned();
    }
    let beside = |end: &str| {
        let mut name = to.to_owned().into_os_string();
        name.push(format!(".incomplete{end}"));
        PathBuf::from(name)
    };
    let numbered = (2..).map(|number: u32| beside(&format!("-{number}")));
    let mut names = std::iter::once(beside("")).chain(numbered);
    names.find(|path| !path.exists()).unwrap_or_else(|| beside(""))
}

/// Complains of evidence that lacks something: nobody knows what is missing.
fn report_incomplete(message: &str, hint: &str) -> ExitCode {
    crate::cli::print_error(message, Some(hint));
    ExitCode::from(3)
}

pub(super) fn verify_evidence(file: &Path, identity: &Path) -> Result<ExitCode, Failure> {
    let sealed =
        std::fs::read(file).map_err(|_| Failure::Usage(format!("cannot read {}", file.display())))?;
    let identity = Identity::read_file(identity).map_err(ActionError::from)?;
    let packed = identity.open(&sealed, "somebody else").map_err(ActionError::from)?;
    match evidence::verify_evidence(&packed) {
        Ok(VerifiedEvidence { manifest, gaps }) => {
            crate::cli::print_text(&format!("Every part is what was written.\n{manifest:#}\n"))?;
            if gaps.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            Ok(report_incomplete(
                &format!("{} is incomplete: {}", file.display(), evidence::describe_gaps(&gaps)),
                "look for complete evidence on the timeline: `sessionwatch incident status`",
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

//! What is written about an incident: evidence, report, message.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::incidents::{self, CaseOps, EvidenceFile, Packed},
    incident::evidence::{self, Verified},
    remediation::{ActError, keys},
};
use sessionwatch_archive::Identity;

use super::{Failure, Paper};

pub(super) fn evidence(work: CaseOps, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let (recipient, made) = keys::recipient(&work.ops.config).map_err(ActError::from)?;
    if let Some(path) = made {
        crate::cli::complain_of(&keys::advice(&recipient, &path));
    }
    let packed = crate::cli::block_on(async { Ok(incidents::pack_evidence(&work).await?) })?;
    let name = work.case.evidence_name(work.ops.app.clock.now(), &packed);
    let path = to.map_or_else(|| Path::new(&name).to_owned(), |to| named(to, &packed));
    evidence::write(&path, &packed.bytes, &recipient)?;
    let name = path.display().to_string();
    let (said, missing) = (format!("{name} was written, sealed to {recipient}"), packed.missing());
    let file = EvidenceFile { name, said: said.clone() };
    let noted = crate::cli::block_on(async { Ok(incidents::record_evidence(work, file, packed).await?) });
    crate::cli::print(&format!("{said}.\n"))?;
    noted?;
    Ok(match missing {
        Some(missing) => incomplete(
            &format!("the evidence is incomplete: {missing}"),
            "the step is not done, and ending sessions waits for it: once that can be read again, run `sessionwatch incident evidence` again",
        ),
        None => ExitCode::SUCCESS,
    })
}

/// The file that was asked for holds complete evidence or none; what is incomplete goes to a new file beside it.
fn named(to: &Path, packed: &Packed) -> PathBuf {
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
fn incomplete(message: &str, hint: &str) -> ExitCode {
    crate::cli::complain(message, Some(hint));
    ExitCode::from(3)
}

pub(super) fn verify(file: &Path, identity: &Path) -> Result<ExitCode, Failure> {
    let sealed =
        std::fs::read(file).map_err(|_| Failure::Usage(format!("cannot read {}", file.display())))?;
    let identity = Identity::read(identity).map_err(ActError::from)?;
    let packed = identity.open(&sealed, "somebody else").map_err(ActError::from)?;
    match evidence::verify(&packed) {
        Ok(Verified { manifest, gaps }) => {
            crate::cli::print(&format!("Every part is what was written.\n{manifest:#}\n"))?;
            if gaps.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            Ok(incomplete(
                &format!("{} is incomplete: {}", file.display(), evidence::missing(&gaps)),
                "look for complete evidence on the timeline: `sessionwatch incident status`",
            ))
        }
        Err(error) => {
            crate::cli::complain(&format!("{}: {error}", file.display()), None);
            Ok(ExitCode::from(1))
        }
    }
}

pub(super) fn report(work: &CaseOps, format: Paper) -> Result<ExitCode, Failure> {
    crate::cli::print(&match format {
        Paper::Markdown => incidents::report_markdown(&work.case)?,
        Paper::Html => incidents::report_html(&work.case)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn message(work: &CaseOps, template: Option<&Path>) -> Result<ExitCode, Failure> {
    let own = template.map(|path| {
        std::fs::read_to_string(path).map_err(|_| Failure::Usage(format!("cannot read {}", path.display())))
    });
    crate::cli::print(&incidents::message_draft(&work.case.incident, own.transpose()?.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}

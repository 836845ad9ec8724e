//! What is written about an incident: evidence, report, message.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{Case, Failure, Paper};
use crate::{
    actions::ActError,
    archive::sealing::Identity,
    incident::{
        evidence::{self, Verified},
        message, report,
        work::Packed,
    },
};

pub(super) fn set(case: &Case, (name, text): (&str, &str)) -> Result<ExitCode, Failure> {
    case.work.set(case.acting.context(), name, text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn evidence(mut case: Case, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let recipient = case.acting.recipient()?;
    let now = case.acting.clock.now();
    let context = case.acting.context();
    let packed = crate::cli::block_on(async { Ok(case.work.evidence(context).await?) })?;
    let name = case.work.evidence_name(now, &packed);
    let path = to.map_or_else(|| Path::new(&name).to_owned(), |to| named(to, &packed));
    evidence::write(&path, &packed.bytes, &recipient)?;
    let file = path.display().to_string();
    let said = format!("{file} was written, sealed to {recipient}");
    let noted = case.work.froze(context, &said, &file, &packed);
    crate::cli::print(&format!("{said}.\n"))?;
    noted?;
    Ok(match packed.missing() {
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

pub(super) fn report(case: &Case, format: Paper) -> Result<ExitCode, Failure> {
    crate::cli::print(&match format {
        Paper::Markdown => report::markdown(&case.work.incident, &case.work.timeline)?,
        Paper::Html => report::html(&case.work.incident, &case.work.timeline)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn message(case: &Case, template: Option<&Path>) -> Result<ExitCode, Failure> {
    let own = template.map(|path| {
        std::fs::read_to_string(path).map_err(|_| Failure::Usage(format!("cannot read {}", path.display())))
    });
    let template = own.transpose()?.unwrap_or_else(|| message::DRAFT.to_owned());
    crate::cli::print(&message::draft(&case.work.incident, &template).map_err(Failure::Usage)?)?;
    Ok(ExitCode::SUCCESS)
}

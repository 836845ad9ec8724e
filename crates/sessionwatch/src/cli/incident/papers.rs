//! What is written about an incident: evidence, report, message.

use std::{path::Path, process::ExitCode};

use serde_json::json;

use super::{Case, Failure, Paper};
use crate::{
    actions::ActError,
    archive::sealing::Identity,
    incident::{evidence, message, report},
};

pub(super) fn set(case: &Case, (name, text): (&str, &str)) -> Result<ExitCode, Failure> {
    case.work.set(case.acting.context(), (name, text))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn evidence(mut case: Case, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let recipient = case.acting.recipient()?;
    let now = case.acting.clock.now();
    let name = case.work.evidence_name(now);
    let path = to.map_or_else(|| Path::new(&name).to_owned(), Path::to_owned);
    let context = case.acting.context();
    let packed = crate::cli::block_on(async { Ok(case.work.evidence(context).await?) })?;
    evidence::write(&path, &packed, &recipient)?;
    let said = format!("{} was written, sealed to {recipient}", path.display());
    let detail = json!({ "file": path.display().to_string(), "bytes": packed.len() });
    case.work.froze(context, (&said, &detail))?;
    crate::cli::print(&format!("{said}.\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(file: &Path, identity: &Path) -> Result<ExitCode, Failure> {
    let sealed =
        std::fs::read(file).map_err(|_| Failure::Usage(format!("cannot read {}", file.display())))?;
    let identity = Identity::read(identity).map_err(ActError::from)?;
    let packed = identity.open(&sealed, "somebody else").map_err(ActError::from)?;
    match evidence::verify(&packed) {
        Ok(manifest) => {
            crate::cli::print(&format!("Every part is what was written.\n{manifest:#}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            crate::cli::complain(&format!("{}: {error}", file.display()), None);
            Ok(ExitCode::from(1))
        }
    }
}

pub(super) fn report(case: &Case, format: Paper) -> Result<ExitCode, Failure> {
    crate::cli::print(&match format {
        Paper::Markdown => report::markdown(&case.work.incident, &case.work.timeline),
        Paper::Html => report::html(&case.work.incident, &case.work.timeline),
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

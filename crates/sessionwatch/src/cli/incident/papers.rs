//! What is written about an incident: evidence, report, message.

use std::{path::Path, process::ExitCode};

use serde_json::json;

use super::{Case, Failure, Paper};
use crate::{
    actions::ActError,
    archive::sealing::Identity,
    incident::{self, evidence, message, report},
    store::incidents,
};

pub(super) fn set(case: Case, (name, text): (&str, &str)) -> Result<ExitCode, Failure> {
    let said = incident::with_field(&case.incident, name, text);
    let detail = json!({ "name": name });
    let entry = incident::entry(case.acting.context(), ("set", ""), &format!("{name}: {text}"), &detail);
    case.acting.store.write(|db| {
        incidents::put(db, &said)?;
        incidents::add(db, &said.id, &entry)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn evidence(mut case: Case, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let recipient = case.acting.recipient()?;
    let now = case.acting.clock.now();
    let name = format!("{}-{}.tar.age", case.incident.id, now.micros() / 1_000_000);
    let path = to.map_or_else(|| Path::new(&name).to_owned(), Path::to_owned);
    let packed = crate::cli::block_on(async {
        let parts = evidence::gather(case.acting.context(), (&case.incident, &case.timeline)).await?;
        Ok(evidence::pack(&parts, now)?)
    })?;
    evidence::write(&path, &packed, &recipient)?;
    let said = format!("{} was written, sealed to {recipient}", path.display());
    case.add(
        ("evidence", "evidence"),
        &said,
        &json!({ "file": path.display().to_string(), "bytes": packed.len() }),
    )?;
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
        Paper::Markdown => report::markdown(&case.incident, &case.timeline),
        Paper::Html => report::html(&case.incident, &case.timeline),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn message(case: &Case, template: Option<&Path>) -> Result<ExitCode, Failure> {
    let own = template.map(|path| {
        std::fs::read_to_string(path).map_err(|_| Failure::Usage(format!("cannot read {}", path.display())))
    });
    let template = own.transpose()?.unwrap_or_else(|| message::DRAFT.to_owned());
    crate::cli::print(&message::draft(&case.incident, &template).map_err(Failure::Usage)?)?;
    Ok(ExitCode::SUCCESS)
}

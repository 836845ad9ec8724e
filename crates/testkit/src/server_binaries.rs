//! Where the programs of each version of PostgreSQL are.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::processes::run_as;

/// The major versions of PostgreSQL that the project is tested on.
pub const POSTGRES_VERSIONS: [u32; 6] = [13, 14, 15, 16, 17, 18];

/// Where `cargo xtask setup` keeps what it fetches.
const TOOLS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools");

/// The server programs that TimescaleDB was added to.
pub(crate) fn find_timescale_binaries() -> Result<PathBuf> {
    let bin = Path::new(TOOLS_FOLDER).join("timescaledb/native/bin");
    ensure!(
        bin.join("initdb").exists(),
        "TimescaleDB was not fetched: run `cargo xtask setup`, which says why where it cannot be fetched"
    );
    Ok(bin)
}

/// The server programs of that major version: the installed ones, else those that were fetched.
pub(crate) fn find_version_binaries(major: u32) -> Result<PathBuf> {
    let installed = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let fetched = Path::new(TOOLS_FOLDER).join(format!("postgresql-{major}/native/bin"));
    [installed, fetched].into_iter().find(|bin| bin.join("initdb").exists()).with_context(|| {
        format!(
            "PostgreSQL {major} is neither installed nor fetched: run `cargo xtask setup`, which says what to do \
             where it cannot be fetched"
        )
    })
}

/// The programs at a place where the server's user can run them: where the repository lies in a folder that only root may
/// enter, a copy in the server's folder.
pub(crate) fn make_accessible(bin: PathBuf, folder: &Path, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let Some((user, group)) = owner else { return Ok(bin) };
    let initdb = bin.join("initdb");
    if run_as(owner, Path::new("test"), &["-x", &initdb.display().to_string()]).is_ok() {
        return Ok(bin);
    }
    // Programs find their libraries by where they are: all of it moves together.
    let (from, to) =
        (bin.parent().context("a folder of programs has a parent")?.canonicalize()?, folder.join("native"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).stderr(Stdio::null()).status()?;
    ensure!(copied.success(), "{} could not be copied to {}", from.display(), to.display());
    // Its own rights may be as narrow as those of the folder that it comes from.
    let opened = Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(&to).status()?;
    ensure!(opened.success(), "{} could not be given to the server's user", to.display());
    Ok(to.join("bin"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, chown},
    };

    use super::*;
    use crate::processes::find_unprivileged_user;

    #[test]
    fn programs_that_only_root_can_reach_are_copied() {
        let owner = find_unprivileged_user().unwrap();
        let hidden = tempfile::tempdir().unwrap();
        fs::set_permissions(hidden.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let bin = hidden.path().join("native/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/true", bin.join("initdb")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let reached = make_accessible(bin.clone(), folder.path(), owner).unwrap();
        assert_eq!(reached == bin, owner.is_none(), "it is copied only where the server has another user");
        run_as(owner, &reached.join("initdb"), &[]).unwrap();
    }

    #[test]
    fn a_version_that_is_missing_is_named_with_the_way_to_get_it() {
        let said = find_version_binaries(9).unwrap_err().to_string();
        assert!(said.contains("PostgreSQL 9 ") && said.contains("cargo xtask setup"), "{said}");
    }
}

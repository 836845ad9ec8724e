//! Benchmark of log files: `logs scan`, which parses fields, against `rg -c` and `grep -c`, which count lines with the
//! same literals, and `wc -l`, which only counts lines.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sessionwatch_logs::matchers::Matchers;
use wait4::Wait4 as _;

const PROGRAM_PATH: &str = "target/release/sessionwatch";
const SESSIONWATCH_SCAN: &str = "sessionwatch logs scan";
const RIPGREP_COUNT: &str = "rg -c -F";

/// A linear congruential generator: the same numbers in every run.
struct DeterministicRng(u64);

impl DeterministicRng {
    fn next_below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Writes an application log of about `bytes` bytes, in which one line in `one_in` is about sessions.
fn generate_log(path: &Path, bytes: u64, one_in: u64) -> Result<()> {
    // Seeded by the ratio, so that both files are the same in every run.
    let (mut draw, mut written, mut number) = (DeterministicRng(one_in), 0, 0_u64);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    while written < bytes {
        number += 1;
        let (second, user) = (number / 200, draw.next_below(20_000));
        let time = format!(
            "2026-11-25T{:02}:{:02}:{:02}.{:03}Z",
            second / 3_600 % 24,
            second / 60 % 60,
            second % 60,
            number % 1_000
        );
        let line = if draw.next_below(one_in) == 0 {
            session_line(&mut draw, &time, user)
        } else {
            unrelated_line(&mut draw, &time, user)
        };
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    Ok(file.flush()?)
}

/// Generates a line about a session, in one of the known formats.
fn session_line(draw: &mut DeterministicRng, time: &str, user: u64) -> String {
    let token = format!("{:08x}", draw.next_below(u64::from(u32::MAX)));
    match draw.next_below(20) {
        0..=9 => format!(
            "{time} [AUTH-ADAPTER] Session created {{ sessionToken: '{token}...', userId: {user}, \
               userName: 'User {user}', expires: 2026-12-25T12:00:00.000Z }}\n"
        ),
        10..=13 => format!(
            "{time} [SESSION-CALLBACK] Session refreshed {{\n  sessionToken: '{token}...',\n  userId: {user},\
             \n  expires: 2026-12-25T12:00:00.000Z\n}}\n"
        ),
        14..=17 => format!(
            "{{\"level\":\"info\",\"timestamp\":\"{time}\",\"event\":\"session_destroyed\",\"reason\":\"logout\",\"userId\":\"{user}\",\"sessionToken\":\"{token}...\"}}\n"
        ),
        18 => format!(
            "{time} [SESSION-CALLBACK] CRITICAL: User ID mismatch {{ sessionToken: '{token}...', \
               sessionUserId: {user}, dbUserId: {} }}\n",
            user + 1
        ),
        _ => format!(
            "{time} [auth][error] AdapterError: Read more at https://errors.authjs.dev#adaptererror\n"
        ),
    }
}

/// Generates a line about something else.
fn unrelated_line(draw: &mut DeterministicRng, time: &str, user: u64) -> String {
    let (took, id) = (draw.next_below(900), draw.next_below(1_000_000));
    match draw.next_below(6) {
        0 => format!("{time} GET /api/posts/{id}?page={took} 200 in {took}ms (user {user})\n"),
        1 => format!(
            "{time} prisma:query SELECT \"public\".\"posts\".\"id\", \"public\".\"posts\".\"title\" \
               FROM \"public\".\"posts\" WHERE \"public\".\"posts\".\"authorId\" = $1 LIMIT $2 OFFSET $3 -- {took}ms\n"
        ),
        2 => format!(
            "{{\"level\":\"info\",\"timestamp\":\"{time}\",\"message\":\"request finished\",\
             \"path\":\"/api/auth/session\",\"status\":200,\"ms\":{took},\"requestId\":\"iad1::{id:08x}\"}}\n"
        ),
        3 => format!("{time} [CACHE] hit key=user:{user}:profile ttl={took}\n"),
        4 => format!(
            "{time} warn: rate limit for user {user} is near: {took} of 1000 requests in this window\n"
        ),
        _ => format!(
            "{time} rendered /profile/{user} in {took} ms, streamed {id} bytes, cache MISS, region fra1\n"
        ),
    }
}

/// Races on files of `bytes` bytes, and prints the results.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(bytes: u64, runs: usize) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let mut figures = Vec::new();
    for one_in in [1_000, 3] {
        let path = folder.path().join(format!("one-in-{one_in}.log"));
        generate_log(&path, bytes, one_in)?;
        let size = std::fs::metadata(&path)?.len();
        println!("\n{size} bytes, one line in {one_in} about sessions");
        println!(
            "{:<28} {:>9} {:>9} {:>8} {:>9} {:>9}",
            "", "median ms", "min", "GB/s", "rg ÷ row", "peak MiB"
        );
        let candidates = list_candidates(&path);
        let mut times = vec![Vec::new(); candidates.len()];
        let mut peaks = vec![0; candidates.len()];
        // Round 0 fills the page cache, and is not counted.
        for round in 0..=runs {
            for (at, (_, command)) in candidates.iter().enumerate() {
                let (took, peak) = measure_command(command)?;
                if round > 0 {
                    times[at].push(took);
                }
                peaks[at] = peak;
            }
        }
        for list in &mut times {
            list.sort_by(f64::total_cmp);
        }
        let median = |at: usize| times[at][times[at].len() / 2];
        let rg = candidates.iter().position(|(name, _)| *name == RIPGREP_COUNT).map(median);
        for (at, (name, _)) in candidates.iter().enumerate() {
            let speed = bytes_as_gigabytes(size) / (median(at) / 1_000.0);
            let ratio = rg.map_or(f64::NAN, |rg| rg / median(at));
            let (least, peak) = (times[at][0], peaks[at] / 1_048_576);
            println!("{name:<28} {:>9.1} {least:>9.1} {speed:>8.2} {ratio:>9.2} {peak:>9}", median(at));
            figures.push(json!({
                "file": format!("one in {one_in}"), "name": name, "median_ms": median(at), "min_ms": least,
                "bytes": size, "rg_over_it": rg.map(|rg| rg / median(at)), "peak_bytes": peaks[at],
            }));
        }
        std::fs::remove_file(&path)?;
    }
    Ok(json!({ "logs": figures }))
}

/// Lists the candidates that are installed.
fn list_candidates(path: &Path) -> Vec<(&'static str, Vec<String>)> {
    let path = path.display().to_string();
    let literals: Vec<String> =
        Matchers::literals().flat_map(|literal| ["-e".to_owned(), literal.to_owned()]).collect();
    let counting = |program: &str| {
        let flags = [program, "-c", "-F"].map(str::to_owned).to_vec();
        [flags, literals.clone(), vec![path.clone()]].concat()
    };
    let plain = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let all = [
        (SESSIONWATCH_SCAN, plain(&[PROGRAM_PATH, "logs", "scan", &path, "--format", "json"])),
        (RIPGREP_COUNT, counting("rg")),
        ("grep -c -F", counting("grep")),
        ("wc -l", plain(&["wc", "-l", &path])),
    ];
    // A path is the program under test, and a missing build must be an error.
    all.into_iter().filter(|(_, command)| command[0].contains('/') || is_available(&command[0])).collect()
}

fn is_available(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn measure_command(command: &[String]) -> Result<(f64, u64)> {
    let started = Instant::now();
    let child = Command::new(&command[0])
        .args(&command[1..])
        // In the C locale, in which grep need not decode UTF-8.
        .env("LC_ALL", "C")
        // Not /dev/null: grep and rg detect it, and stop at the first match.
        .stdout(tempfile::tempfile()?)
        .spawn()
        .with_context(|| format!("cannot run `{}`", command[0]))?;
    let ended = child.wait4()?;
    match ended.status.code() {
        // Exit code 1 is no error: `grep` found no line, or sessionwatch found severe events.
        Some(0 | 1) => Ok((started.elapsed().as_secs_f64() * 1_000.0, ended.rusage.maxrss)),
        code => bail!("`{}` failed with exit code {code:?}", command[0]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rounded speed")]
fn bytes_as_gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

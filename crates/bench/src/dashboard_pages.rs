//! Benchmark of the dashboard's pages, with a large table, a long history and many open pages. `wrk` sends the
//! requests.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::PostgresServer;

use crate::ingest::{PROGRAM_PATH, ServeProcess};

/// Number of sessions in the table.
const SESSION_COUNT: u64 = 1_000_000;
/// Number of alert events in the history.
const ALERT_COUNT: u64 = 100_000;
/// Number of open pages that receive live events.
const VIEWER_COUNT: usize = 200;
/// Numbers of concurrent requests.
const CONCURRENCY_LEVELS: [u32; 2] = [1, 4];
/// Budget of a page for the 99th percentile, in milliseconds.
const PAGE_BUDGET_MS: f64 = 50.0;

/// Pages to measure.
const PAGE_PATHS: [&str; 14] = [
    "/",
    "/targets/app",
    "/targets/app/checks/duplicate-tokens",
    "/alerts",
    "/alerts?days=400&text=nothing",
    "/logs",
    "/incidents",
    "/cleanup?target=app",
    "/targets/app/report",
    "/audit",
    "/settings",
    "/targets/app/users/42",
    "/targets/app/sessions",
    "/targets/app/sessions?sort=expires",
];

/// Pages to measure again once the table has the index that `doctor` recommends: the first page, one in the middle, and
/// the sessions that expire next.
const INDEXED_PAGE_PATHS: [&str; 3] = [
    "/targets/app/sessions",
    "/targets/app/sessions?after=MIDDLE&id=c",
    "/targets/app/sessions?status=active&order=up",
];

/// Requests each page for `seconds` seconds, and prints the response times.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(seconds: u64) -> Result<Value> {
    let server = PostgresServer::start(&["shared_buffers = '512MB'"])?;
    let database = server.create_database(None)?;
    crate::load_guide_tables(&database, SESSION_COUNT)?;
    let folder = tempfile::tempdir()?;
    let config = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), config)?;
    // Through the program, so that the stored hash has the real cost.
    create_account(folder.path())?;
    insert_alert_history(&folder.path().join("sessionwatch-state.db"))?;
    // After the history was written straight to the file, which only the daemon may do while it runs.
    let (_daemon, address) = ServeProcess::start(folder.path())?;
    let cookie = log_in(&address)?;
    // Kept open during all measurements: each page view of a team holds such a stream.
    let _streams =
        (0..VIEWER_COUNT).map(|_| open_event_stream(&address, &cookie)).collect::<Result<Vec<_>>>()?;
    println!(
        "\n{SESSION_COUNT} sessions, {ALERT_COUNT} alerts in the history, {VIEWER_COUNT} viewers; {seconds} s per page"
    );
    println!(
        "{:<66} {:>7} {:>8} {:>8} {:>9} {:>8}",
        "page", "at once", "p50 ms", "p99 ms", "pages/s", "budget"
    );
    let mut figures = vec![];
    let mut measure = |page: &str, note: &str| {
        for concurrency in CONCURRENCY_LEVELS {
            let [p50, p99, rate] =
                run_wrk(&format!("http://{address}{page}"), &cookie, concurrency, seconds)?;
            // By the 99th percentile, because people notice the slow pages.
            let verdict = if p99 < PAGE_BUDGET_MS { "met" } else { "NOT met" };
            let page = format!("{page}{note}");
            println!("{page:<66} {concurrency:>7} {p50:>8.1} {p99:>8.1} {rate:>9.0} {verdict:>8}");
            figures.push(json!({
                "page": page, "at_once": concurrency, "p50_ms": p50, "p99_ms": p99, "pages_a_second": rate,
            }));
        }
        anyhow::Ok(())
    };
    PAGE_PATHS.iter().try_for_each(|page| measure(page, ""))?;
    database.psql("CREATE INDEX sessions_expires ON sessions (expires)")?;
    let middle =
        database.psql("SELECT (EXTRACT(EPOCH FROM now() + interval '15 days') * 1000000)::bigint")?;
    for page in INDEXED_PAGE_PATHS {
        measure(&page.replace("MIDDLE", middle.trim()), ", by index")?;
    }
    Ok(json!({ "pages": figures }))
}

fn create_account(folder: &Path) -> Result<()> {
    let mut child = Command::new(std::fs::canonicalize(PROGRAM_PATH)?)
        .args(["accounts", "add", "ada", "--role", "admin"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run sessionwatch")?;
    child.stdin.take().context("standard input is not piped")?.write_all(b"a sentence is a good one")?;
    if child.wait()?.success() { Ok(()) } else { bail!("cannot create the account") }
}

/// Inserts a year's history of alerts into the state store, as the daemon would have recorded it.
fn insert_alert_history(store: &Path) -> Result<()> {
    // One event per 300 s: 100,000 of them span 347 days.
    let connection = rusqlite::Connection::open(store)?;
    connection.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
         INSERT INTO events (id, at, target, check_id, kind, summary, detail)
         SELECT n, (strftime('%s', 'now') - (?1 - n) * 300) * 1000000, 'app', 'duplicate-tokens',
           CASE n % 2 WHEN 0 THEN 'resolved' ELSE 'firing' END, n || ' tokens on more than one row',
           '{\"severity\":\"critical\",\"finding\":{\"evidence\":[{\"user\":\"' || n || '\"}]}}' FROM n",
        [i64::try_from(ALERT_COUNT)?],
    )?;
    Ok(())
}

fn log_in(address: &str) -> Result<String> {
    let body = "name=ada&password=a+sentence+is+a+good+one";
    let length = body.len();
    let mut stream = TcpStream::connect(address)?;
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:";
    write!(stream, "{head} {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).context("the login failed")?;
    Ok(cookie.to_owned())
}

/// Opens the event stream of a page.
fn open_event_stream(address: &str, cookie: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /events HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    if line.contains(" 200 ") { Ok(stream) } else { bail!("cannot open the event stream: {line}") }
}

/// Returns the median and the 99th percentile in milliseconds, and pages per second.
fn run_wrk(url: &str, cookie: &str, concurrency: u32, seconds: u64) -> Result<[f64; 3]> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--latency", "--timeout", "30s"])
        .args(["--connections", &concurrency.to_string(), "--duration", &format!("{seconds}s")])
        .args(["--header", &format!("Cookie: {cookie}"), url])
        .output()
        .context("cannot run `wrk` (Debian: `apt-get install wrk`)")?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    // wrk exits with 0 even if every response is an error.
    if !output.status.success() || report.contains("Non-2xx") {
        bail!("{url}: {report}");
    }
    let after = |word: &str| report.lines().find_map(|line| line.trim().strip_prefix(word).map(str::trim));
    let [p50, p99, rate] = ["50%", "99%", "Requests/sec:"].map(after);
    let read = || Some([parse_millis(p50?)?, parse_millis(p99?)?, rate?.parse().ok()?]);
    read().with_context(|| format!("cannot parse the output of wrk: {report}"))
}

/// Converts a time such as `1.23ms` or `450us`, as `wrk` prints it, to milliseconds.
fn parse_millis(text: &str) -> Option<f64> {
    // `s` is last, because the other units end with it.
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)];
    units.into_iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

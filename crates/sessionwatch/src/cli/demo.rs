//! `demo`: a small application with everything wrong, looked at; then one that lives, and the dashboard.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    check_run::{self, Request},
    config::{Address, Config, Target},
    daemon::{Daemon, Door},
    demo::{self, DemoError, application::Application},
    output::Format,
    report,
};
use sessionwatch_clock as clock;
use sessionwatch_clock::Clock;
use sessionwatch_web as web;
use tokio_util::sync::CancellationToken;

use super::Failure;

/// Look at a small application with everything wrong; then serve the dashboard, with one that lives and begins to leak
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the SQLite file is made
    #[arg(long, default_value = "sessionwatch-demo.db")]
    path: PathBuf,
    /// Only look, and serve nothing
    #[arg(long)]
    once: bool,
    /// Where the dashboard is served; port 0 takes a free one [default: 127.0.0.1:9797, or a free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match demo::create(&args.path, clock::now()) {
        Ok(()) => super::print(&format!("Made a small application in {}.\n\n", args.path.display()))?,
        Err(DemoError::Exists) => {
            super::print(&format!("Using the application in {}.\n\n", args.path.display()))?
        }
        Err(error) => return Err(error.into()),
    }
    let (config, target) = (Config::default(), Target::ad_hoc(Address::of_file(args.path.clone())));
    let (catalogue, rules) = (config.catalogue.as_slice(), &config.rules);
    let request = Request { target: &target, catalogue, rules, deep: false, only: &[], watched: None };
    let report = super::block_on(async { Ok(check_run::run_checks_once(request).await) })?;
    super::print_readable(&report::render(&[report], Format::Table))?;
    let path = args.path.display();
    super::print(&format!(
        "\nTry next:\n  sessionwatch check {path} --format json\n  sessionwatch doctor {path}\n  sessionwatch sessions list {path} --status active --limit 10\n  \
         sessionwatch sql duplicate-tokens {path}\n  sessionwatch cleanup duplicates {path}\n  sessionwatch incident drill --demo\n"
    ))?;
    if args.once { Ok(ExitCode::SUCCESS) } else { live(args) }
}

/// Where the dashboard is served: on the usual port, or on a free one where that is taken.
fn free(listen: Option<SocketAddr>) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 9797));
    let taken = || std::net::TcpListener::bind(usual).is_err();
    listen.unwrap_or_else(|| if taken() { SocketAddr::new(usual.ip(), 0) } else { usual })
}

/// What is watched: the application, and the log-ins to the dashboard itself.
fn configuration(listen: SocketAddr) -> String {
    format!(
        "[[target]]\nname = \"demo\"\nurl = \"app.db\"\n\
         [[target]]\nname = \"dashboard\"\nurl = \"watch.db\"\n\
         [target.mapping]\nsessions = \"logins\"\ntoken = \"hash\"\nexpires = \"expires_at\"\ndecoder = \"epoch-ms\"\n\
         user = \"account\"\nip = \"address\"\nagent = \"agent\"\nusers = \"accounts\"\nusers_key = \"name\"\ndisplay = [\"role\"]\n\
         [serve]\nlisten = \"{listen}\"\nstore = \"watch.db\"\n[[logs]]\nname = \"app\"\ntarget = \"demo\"\nfile = \"app.log\"\n\
         [checks.creation-rate]\nmax = 5000\n[checks.active-sessions]\nmin = 1\n"
    )
}

/// An application at work, and the dashboard that watches it, in a folder of their own that goes with them.
fn live(args: &Args) -> Result<ExitCode, Failure> {
    let kept = args.path.display();
    let folder = std::env::temp_dir().join(format!("sessionwatch-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (database, log) = (folder.join("app.db"), folder.join("app.log"));
    demo::create_healthy(&database, clock::now())?;
    let application = Application::open(&database, &log)?;
    let config = Config::parse(&folder.join("sessionwatch.toml"), &configuration(free(args.listen)))?;
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        let commands = super::serve::commands(None)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let link = match daemon.door().await? {
            Door::SetUp(link) | Door::Open(link) => link,
            Door::Closed => return Err(Failure::Usage("the demonstration is for this machine alone: --listen 127.0.0.1:9797".into())),
        };
        super::print(&format!(
            "\nAnother simulated application is at work now, and the watch looks at it. Make an account, and wait for twenty seconds:\n\n  {link}\n\n\
             Then a leak appears. Its check says what it means, and opens an incident that leads through it; Clean-up plans to end the\n\
             shared token, and the archive undoes a wrong step. The target `dashboard` is this dashboard's own table of log-ins.\n\
             Ctrl-C ends the demonstration and removes this application; {kept} stays.\n"
        ))?;
        let dashboard = web::router(&daemon.state().app);
        let stop = CancellationToken::new();
        let application = tokio::spawn(application.run(stop.clone()));
        let stopped = daemon.serve(dashboard, commands).await;
        stop.cancel();
        // How the application ended changes nothing.
        let _ = application.await;
        let stopped = stopped?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    runtime.shutdown_background();
    // It was made for this alone.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

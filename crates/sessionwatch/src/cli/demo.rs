//! `demo`: a small application with everything wrong, looked at; then one that lives, and the dashboard.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    check_run::{self, CheckRunRequest},
    config::{Config, Target, TargetAddress},
    daemon::{Daemon, DashboardAccess},
    demo::{self, DemoError, application::DemoApplication},
    output::OutputFormat,
    report,
};
use sessionwatch_clock as clock;
use sessionwatch_clock::Clock;
use sessionwatch_web as web;
use tokio_util::sync::CancellationToken;

use super::Failure;

/// Look at a small application with everything wrong; then serve the dashboard, with one that lives and begins to leak
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
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

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    match demo::create_database(&args.path, clock::now()) {
        Ok(()) => super::print_text(&format!("Made a small application in {}.\n\n", args.path.display()))?,
        Err(DemoError::Exists) => {
            super::print_text(&format!("Using the application in {}.\n\n", args.path.display()))?
        }
        Err(error) => return Err(error.into()),
    }
    let (config, target) =
        (Config::default(), Target::ad_hoc(TargetAddress::from_file_path(args.path.clone())));
    let (catalogue, rules) = (config.catalogue.as_slice(), &config.checks);
    let request = CheckRunRequest {
        target: &target,
        catalogue,
        settings: rules,
        ignore_constraints: false,
        requested_ids: &[],
        history: None,
    };
    let report = super::block_on(async { Ok(check_run::run_checks_once(request).await) })?;
    super::print_readable(&report::render_reports(&[report], OutputFormat::Table))?;
    let path = args.path.display();
    super::print_text(&format!(
        "\nTry next:\n  sessionwatch check {path} --format json\n  sessionwatch doctor {path}\n  sessionwatch sessions list {path} --status active --limit 10\n  \
         sessionwatch sql duplicate-tokens {path}\n  sessionwatch cleanup duplicates {path}\n  sessionwatch incident drill --demo\n"
    ))?;
    if args.once { Ok(ExitCode::SUCCESS) } else { run_live_demo(args) }
}

/// Where the dashboard is served: on the usual port, or on a free one where that is taken.
fn choose_listen_address(listen: Option<SocketAddr>) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 9797));
    let taken = || std::net::TcpListener::bind(usual).is_err();
    listen.unwrap_or_else(|| if taken() { SocketAddr::new(usual.ip(), 0) } else { usual })
}

/// What is watched: the application, and the log-ins to the dashboard itself.
fn render_demo_config(listen: SocketAddr) -> String {
    format!(
        "[[target]]\nname = \"demo\"\nurl = \"app.db\"\n\
         [[target]]\nname = \"dashboard\"\nurl = \"watch.db\"\n\
         [target.mapping]\nsessions = \"logins\"\ntoken = \"hash\"\nexpires = \"expires_at\"\ndecoder = \"epoch-ms\"\n\
         user = \"account\"\nip = \"address\"\nuser_agent = \"agent\"\nusers = \"accounts\"\nusers_key = \"name\"\ndisplay = [\"role\"]\n\
         [serve]\nlisten = \"{listen}\"\nstore = \"watch.db\"\n[[logs]]\nname = \"app\"\ntarget = \"demo\"\nfile = \"app.log\"\n\
         [checks.creation-rate]\nmax = 5000\n[checks.active-sessions]\nmin = 1\n"
    )
}

/// An application at work, and the dashboard that watches it, in a folder of their own that goes with them.
fn run_live_demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let kept = args.path.display();
    let folder = std::env::temp_dir().join(format!("sessionwatch-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (database, log) = (folder.join("app.db"), folder.join("app.log"));
    demo::create_healthy_database(&database, clock::now())?;
    let application = DemoApplication::open(&database, &log)?;
    let config = Config::parse(
        &folder.join("sessionwatch.toml"),
        &render_demo_config(choose_listen_address(args.listen)),
    )?;
    let runtime = super::build_runtime()?;
    let outcome = runtime.block_on(async {
        let commands = super::serve::spawn_signal_handler(None)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let link = match daemon.dashboard_access().await? {
            DashboardAccess::SetupLink(link) | DashboardAccess::Login(link) => link,
            DashboardAccess::Unavailable => return Err(Failure::Usage("the demonstration is for this machine alone: --listen 127.0.0.1:9797".into())),
        };
        super::print_text(&format!(
            "\nAnother simulated application is at work now, and the watch looks at it. Make an account, and wait for twenty seconds:\n\n  {link}\n\n\
             Then a leak appears. Its check says what it means, and opens an incident that leads through it; Clean-up plans to end the\n\
             shared token, and the archive undoes a wrong step. The target `dashboard` is this dashboard's own table of log-ins.\n\
             Ctrl-C ends the demonstration and removes this application; {kept} stays.\n"
        ))?;
        let dashboard = web::build_router(&daemon.state().app);
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

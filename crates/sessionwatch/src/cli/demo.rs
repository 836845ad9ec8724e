//! `demo`: checks a broken sample database, then runs a simulated application with the dashboard.

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

use super::{Failure, serve::ServeOverrides};

/// Check a sample database, then open the dashboard
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// SQLite file of the sample database
    #[arg(long, default_value = "sessionwatch-demo.db", value_name = "FILE")]
    path: PathBuf,
    /// Check only; do not start the dashboard
    #[arg(long)]
    once: bool,
    /// Address of the dashboard [default: 127.0.0.1:9797, or a free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    match demo::create_database(&args.path, clock::now()) {
        Ok(()) => super::print_text(&format!("Created a sample database: {}\n\n", args.path.display()))?,
        Err(DemoError::Exists) => {
            super::print_text(&format!("Using the sample database: {}\n\n", args.path.display()))?
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

/// Returns the address of the dashboard: the usual port, or a free one if that is taken.
fn choose_listen_address(listen: Option<SocketAddr>) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 9797));
    // The port is free again right away, since the listener is dropped.
    let taken = || std::net::TcpListener::bind(usual).is_err();
    listen.unwrap_or_else(|| if taken() { SocketAddr::new(usual.ip(), 0) } else { usual })
}

/// Renders the configuration of the demo: the application, and the login sessions of the dashboard itself.
fn render_demo_config(listen: SocketAddr) -> String {
    format!(
        "[[target]]\nname = \"demo\"\nurl = \"app.db\"\n\
         [[target]]\nname = \"dashboard\"\nurl = \"watch.db\"\n\
         [target.mapping]\nsessions = \"login_sessions\"\ntoken = \"hash\"\nexpires = \"expires_at\"\ndecoder = \"epoch-ms\"\n\
         user = \"account\"\nip = \"address\"\nuser_agent = \"agent\"\nusers = \"accounts\"\nusers_key = \"name\"\ndisplay = [\"role\"]\n\
         [serve]\nlisten = \"{listen}\"\nstore = \"watch.db\"\n[[logs]]\nname = \"app\"\ntarget = \"demo\"\nfile = \"app.log\"\n\
         [checks.creation-rate]\nmax = 5000\n[checks.active-sessions]\nmin = 1\n"
    )
}

/// Runs the simulated application and the dashboard, in a temporary folder.
fn run_live_demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let kept = args.path.display();
    // Named after the process, so that two demos do not share a folder.
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
        let commands = super::serve::spawn_signal_handler(None, ServeOverrides::default())?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let link = match daemon.dashboard_access().await? {
            DashboardAccess::SetupLink(link) | DashboardAccess::Login(link) => link,
            DashboardAccess::Unavailable => return Err(Failure::Usage("the demo only listens on this machine: --listen 127.0.0.1:9797".into())),
        };
        super::print_text(&format!(
            "\nA second, simulated application is running and being monitored. Create an account and wait twenty seconds:\n\n  {link}\n\n\
             A leak appears. The check explains it, the incident page guides you through containment, and anything revoked by\n\
             mistake can be restored from the archive. The target `dashboard` is this dashboard's own login table.\n\
             Press Ctrl-C to stop and delete this application; {kept} stays.\n"
        ))?;
        let dashboard = web::build_router(&daemon.state().app);
        let stop = CancellationToken::new();
        let application = tokio::spawn(application.run(stop.clone()));
        let stopped = daemon.serve(dashboard, commands).await;
        // After the daemon, so that its last check run still finds the application's database.
        stop.cancel();
        // An error of the simulated application changes nothing now.
        let _ = application.await;
        let stopped = stopped?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    // Not awaited: a blocked thread must not keep the program from ending.
    runtime.shutdown_background();
    // The folder was created for this run.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

//! `demo`: checks a broken sample database, then runs a simulated application with the dashboard.

use std::{
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sessionwatch_app::{
    app::random_tokens,
    check_run::{self, CheckRunRequest},
    config::{Config, Target, TargetAddress},
    daemon::Daemon,
    demo::{self, DemoError, live_shop::DemoApplication},
    demo_history::{self, DemoHistoryError, PreparedDemo},
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
        Err(error) => return Err(DemoHistoryError::from(error).into()),
    }
    let (config, target) =
        (Config::default(), Target::ad_hoc(TargetAddress::from_file_path(args.path.clone())));
    let (catalogue, settings) = (config.catalogue.as_slice(), &config.checks);
    let request = CheckRunRequest {
        target: &target,
        catalogue,
        settings,
        ignore_constraints: false,
        requested_ids: &[],
        history: None,
    };
    let report = super::block_on(async { Ok(check_run::run_checks_once(request).await) })?;
    super::print_readable(&report::render_reports(&[report], OutputFormat::Table))?;
    let path = args.path.display();
    super::print_text(&format!(
        "\nTry next:\n  sessionwatch check {path} --format json\n  sessionwatch doctor {path}\n  \
         sessionwatch sessions list {path} --status active --limit 10\n  \
         sessionwatch sql duplicate-tokens {path}\n  sessionwatch cleanup duplicates {path}\n  \
         sessionwatch incident drill --demo\n"
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

/// Characters that distinguish the temporary folders of demos.
const FOLDER_SUFFIX_LENGTH: usize = 12;

/// Runs the simulated application and the dashboard, in a temporary folder.
fn run_live_demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let listen = choose_listen_address(args.listen);
    // The link needs no password, so nobody else may reach it.
    if !listen.ip().is_loopback() {
        return Err(Failure::Usage("the demo only listens on this machine: --listen 127.0.0.1:9797".into()));
    }
    // New and unpredictable: a folder of that name could be a killed demo's, or prepared by another user.
    let suffix: String = random_tokens::random_token().chars().take(FOLDER_SUFFIX_LENGTH).collect();
    let folder = std::env::temp_dir().join(format!("sessionwatch-demo-{suffix}"));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let outcome = serve_live_demo(args, &folder, listen);
    // The folder was created for this run.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn serve_live_demo(args: &DemoArgs, folder: &Path, listen: SocketAddr) -> Result<ExitCode, Failure> {
    let runtime = super::build_runtime()?;
    let outcome = runtime.block_on(async {
        let commands = super::serve::spawn_signal_handler(None, ServeOverrides::default())?;
        let PreparedDemo { config, leak_at } =
            demo_history::prepare_demo(folder, listen, clock::now()).await?;
        let application = DemoApplication::open(
            &folder.join(demo_history::SHOP_DATABASE),
            &folder.join(demo_history::SHOP_LOG),
            leak_at,
        )
        .map_err(DemoHistoryError::from)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let app = &daemon.state().app;
        let token = app.auth.create_demo_link(app.clock.now());
        super::print_text(&render_invitation(args, daemon.listen_address()?, &token))?;
        let dashboard = web::build_router(app);
        let stop = CancellationToken::new();
        let application = tokio::spawn(application.run(stop.clone()));
        let stopped = daemon.serve(dashboard, commands).await;
        // After the daemon, so that its last check run still finds the application's database.
        stop.cancel();
        // An error of the simulated application changes nothing now.
        let _ = application.await;
        Ok(if stopped? { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    // Not awaited: a blocked thread must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

fn render_invitation(args: &DemoArgs, address: SocketAddr, token: &str) -> String {
    format!(
        "\nA second, simulated application is running and being monitored: a web shop with two weeks of history.\n\
         Open this link to log in to its dashboard. It works once, within an hour, on this machine:\n\n  \
         http://{address}/setup/{token}\n\n\
         After twenty seconds, session tokens leak. The check explains it, the incident page guides you through\n\
         containment, and anything revoked by mistake can be restored from the archive. The target `{}`\n\
         is this dashboard's own login table. Press Ctrl-C to stop and delete this application; {} stays.\n",
        demo_history::DASHBOARD_TARGET,
        args.path.display()
    )
}

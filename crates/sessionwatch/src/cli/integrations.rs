//! `integrations`: what Prometheus and Grafana need.

use std::process::ExitCode;

use sessionwatch_app::integrations::{dashboard, rules};

use super::Failure;

/// Print what other programs need to work with the watch
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Print alerting and recording rules for Prometheus, as YAML
    PrometheusRules {
        /// Folder or address of the documentation, for the runbook of each alert
        #[arg(long, default_value = "docs", value_name = "PLACE")]
        docs: String,
    },
    /// Print a dashboard for Grafana, as JSON to import
    GrafanaDashboard,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::PrometheusRules { docs } => rules::yaml(docs).map_err(std::io::Error::other)?,
        Args::GrafanaDashboard => format!("{:#}\n", dashboard::dashboard()),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

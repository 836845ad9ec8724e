//! `integrations`: what Prometheus and Grafana need.

use std::process::ExitCode;

use sessionwatch_app::integrations::{grafana, prometheus_rules};

use super::Failure;

/// Print what other programs need to work with the watch
#[derive(Debug, clap::Subcommand)]
pub(super) enum IntegrationsCommand {
    /// Print alerting and recording rules for Prometheus, as YAML
    PrometheusRules {
        /// Folder or address of the documentation, for the runbook of each alert
        #[arg(long, default_value = "docs", value_name = "PLACE")]
        docs: String,
    },
    /// Print a dashboard for Grafana, as JSON to import
    GrafanaDashboard,
}

pub(super) fn run(args: &IntegrationsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        IntegrationsCommand::PrometheusRules { docs } => {
            prometheus_rules::render_yaml(docs).map_err(std::io::Error::other)?
        }
        IntegrationsCommand::GrafanaDashboard => format!("{:#}\n", grafana::build_dashboard()),
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

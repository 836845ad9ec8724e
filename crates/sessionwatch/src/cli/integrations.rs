//! `integrations`: files for Prometheus and Grafana.

use std::process::ExitCode;

use sessionwatch_app::integrations::{grafana, prometheus_rules};

use super::Failure;

/// Print Prometheus rules and a Grafana dashboard
#[derive(Debug, clap::Subcommand)]
pub(super) enum IntegrationsCommand {
    /// Print Prometheus alerting and recording rules
    PrometheusRules {
        /// Base URL of the documentation, for runbook links
        #[arg(long, default_value = "docs", value_name = "URL")]
        docs: String,
    },
    /// Print a Grafana dashboard
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

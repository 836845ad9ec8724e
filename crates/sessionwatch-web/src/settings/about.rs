//! This instance: version, state store, and the configuration in use, without secrets.

use maud::{Markup, html};
use sessionwatch_app::{app::store_info::StoreInfo, config::Config};
use sessionwatch_core::plural::format_count;

use crate::{components::Card, format::sanitize_text};

/// Renders facts about this instance. The state store is shown to admins only.
pub(super) fn render_about(config: &Config, store: Option<&StoreInfo>) -> Markup {
    let serve = &config.serve;
    let file = config.file.as_ref().map_or("Built-in defaults".to_owned(), |file| file.display().to_string());
    let days = serve.history_retention.as_hours().unsigned_abs() / 24;
    let windows = serve.maintenance_windows.len() as u64;
    let body = html! {
        dl.defs.defs-wide {
            dt { "Version" } dd { "sessionwatch " (env!("CARGO_PKG_VERSION")) }
            dt { "Configuration" } dd { span.mono { (sanitize_text(&file)) } }
            @if let Some(store) = store {
                dt { "State store" }
                dd { (store.kind) ", " (format_bytes(store.bytes)) div.mono.muted { (sanitize_text(&store.location)) } }
            }
            dt { "History" } dd { "Kept for " (format_count(days, "day", "days")) }
            dt { "Address" }
            dd {
                span.mono { (serve.listen.to_string()) } @if serve.tls.is_some() { ", TLS" }
                @if let Some(url) = &serve.public_url { ", public " span.mono { (sanitize_text(url)) } }
            }
            @if let Some(name) = &serve.instance_name { dt { "Instance name" } dd { (sanitize_text(name)) } }
            dt { "Time zone" } dd { (serve.time_zone.iana_name().unwrap_or("UTC")) " for schedules; pages show UTC" }
            dt { "Single sign-on" }
            dd { @match &config.oidc {
                Some(openid) => { (sanitize_text(&openid.label)) ", " span.mono { (sanitize_text(&openid.issuer)) } }
                None => @match &config.oidc_unresolved {
                    Some(missing) => { "Not available: " (sanitize_text(&missing.to_string())) }
                    None => "Not configured",
                },
            } }
            dt { "Log sources" }
            dd { a href="/logs" { (format_count(config.logs.sources.len() as u64, "log source", "log sources")) } }
            @if windows > 0 {
                dt { "Maintenance" }
                dd { (format_count(windows, "recurring window", "recurring windows")) " without notifications" }
            }
            dt { "API" }
            dd { a href="/api/v1/openapi.json" { "OpenAPI description" } ", base path " span.mono { "/api/v1" } }
        }
    };
    Card { id: "about", title: "About", note: "", end: html! {}, body }.render_padded()
}

/// Formats a size with the unit that keeps it short.
fn format_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
    let size = bytes as f64;
    match bytes {
        0..1_000_000 => format!("{:.0} kB", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.1} GB", size / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [512, 81_920, 12_400_000, 3_200_000_000].map(format_bytes),
            ["1 kB", "82 kB", "12.4 MB", "3.2 GB"]
        );
    }
}

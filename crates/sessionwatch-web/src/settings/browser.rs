//! Names of browsers, for the user's own login sessions.

use crate::{components::Icon, format::sanitize_text};

/// Browsers by a text in the user agent. Most also claim to be those below them.
const BROWSER_NAMES: [(&str, &str); 8] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// Systems by a text in the user agent. Android also claims to be Linux.
const SYSTEM_NAMES: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Returns an icon and a name, such as `Firefox on Linux`; for unknown browsers the user agent itself.
pub(super) fn describe_browser(user_agent: &str) -> (Icon, String) {
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(part, _)| user_agent.contains(part)).map(|(_, name)| *name)
    };
    let system = find(&SYSTEM_NAMES);
    let icon = match system {
        Some("iPhone" | "iPad" | "Android") => Icon::Smartphone,
        Some(_) => Icon::Monitor,
        None => Icon::Globe,
    };
    let name = match (find(&BROWSER_NAMES), system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if user_agent.trim().is_empty() => "Unknown browser".to_owned(),
        _ => sanitize_text(user_agent),
    };
    (icon, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_systems_are_named() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, expected) in [
            (
                format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} Chrome/141.0 Safari/537.36"),
                "Chrome on Linux",
            ),
            (
                format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/141.0 Safari/537.36 Edg/141.0"),
                "Edge on Windows",
            ),
            (
                format!("Mozilla/5.0 (Linux; Android 15) {webkit} Chrome/141.0 Mobile Safari/537.36"),
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Firefox/145.0".into(),
                "Firefox on macOS",
            ),
            ("curl/8.5.0".into(), "curl/8.5.0"),
            (String::new(), "Unknown browser"),
        ] {
            assert_eq!(describe_browser(&agent).1, expected, "{agent}");
        }
    }
}

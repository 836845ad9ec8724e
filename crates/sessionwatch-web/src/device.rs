//! The device of a session, such as `Chrome 141 on macOS`, from its user agent.

use std::sync::LazyLock;

use serde::Deserialize;
use ua_parser::{os, user_agent};

use super::{components::Icon, format::sanitize_text};

/// Rules of the uap-core project, version 0.18.0, without those for device models.
const DEVICE_RULES: &str = include_str!("device/rules.json");
/// Characters of a user agent that are read. Browsers send fewer than half as many.
const MAX_AGENT_CHARS: usize = 512;
/// Characters shown of a user agent that is not recognized.
const MAX_SHOWN_CHARS: usize = 48;

/// The device of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Browser and operating system, or the start of the user agent if neither is recognized.
    pub(super) name: String,
    /// `true` for phones and tablets.
    is_mobile: bool,
}

#[derive(Deserialize)]
struct Rules {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

struct Extractors {
    browser: user_agent::Extractor<'static>,
    system: os::Extractor<'static>,
}

/// `None` if the rules cannot be compiled, which a test rules out.
static DEVICE_EXTRACTORS: LazyLock<Option<Extractors>> = LazyLock::new(|| {
    let rules: Rules = serde_json::from_str(DEVICE_RULES).ok()?;
    let browser = user_agent::Builder::new().push_all(rules.user_agent_parsers).ok()?.build().ok()?;
    let system = os::Builder::new().push_all(rules.os_parsers).ok()?.build().ok()?;
    Some(Extractors { browser, system })
});

impl Device {
    /// Recognizes a device.
    pub(super) fn from_agent(agent: &str) -> Self {
        let agent: String = agent.chars().take(MAX_AGENT_CHARS).collect();
        let browser = DEVICE_EXTRACTORS.as_ref().and_then(|rules| rules.browser.extract(&agent));
        let system = DEVICE_EXTRACTORS.as_ref().and_then(|rules| rules.system.extract(&agent));
        let system = system.map(|found| system_name(&found.os, &agent));
        let browser = browser.map(|found| {
            let name = browser_name(&found.family);
            found.major.map_or_else(|| name.clone(), |version| format!("{name} {version}"))
        });
        let name = match (browser, &system) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(browser), None) => browser,
            (None, Some(system)) => system.clone(),
            (None, None) => {
                let cut = if agent.chars().count() > MAX_SHOWN_CHARS { "…" } else { "" };
                agent.chars().take(MAX_SHOWN_CHARS).collect::<String>() + cut
            }
        };
        let is_mobile = system.is_some_and(|system| ["iPhone", "iPad", "iOS", "Android"].contains(&&*system));
        Self { name: sanitize_text(&name), is_mobile }
    }

    /// Returns the icon of the kind of device.
    pub(super) fn icon(&self) -> Icon {
        if self.is_mobile { Icon::Smartphone } else { Icon::Monitor }
    }
}

/// Returns the name that people know a browser by.
fn browser_name(family: &str) -> String {
    let name = family.strip_prefix("Mobile ").unwrap_or(family);
    let name = [" Mobile iOS", " Mobile WebView", " Mobile", " iOS"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    name.to_owned()
}

/// Returns the name that people know an operating system by. Its version says little: browsers freeze it.
fn system_name(os: &str, agent: &str) -> String {
    match os {
        "Mac OS X" => "macOS",
        "iOS" if agent.contains("iPad") => "iPad",
        "iOS" if agent.contains("iPhone") => "iPhone",
        "Chrome OS" => "ChromeOS",
        "Ubuntu" | "Fedora" | "Debian" => "Linux",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_people_know_them() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        for (agent, name) in [
            (format!("{mac} {webkit} Chrome/141.0.0.0 Safari/537.36"), "Chrome 141 on macOS"),
            (format!("{windows} {webkit} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"), "Edge 141 on Windows"),
            (format!("{windows} {webkit} Chrome/141.0.0.0 Safari/537.36 OPR/122.0.0.0"), "Opera 122 on Windows"),
            (
                format!("{mac} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"),
                "Safari 26 on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/26.0 Mobile/15E148 Safari/604.1"
                    .into(),
                "Safari 26 on iPhone",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 CriOS/141.0.0.0 Mobile/15E148 Safari/604.1"
                    .into(),
                "Chrome 141 on iPad",
            ),
            (
                format!("Mozilla/5.0 (Linux; Android 10; K) {webkit} Chrome/141.0.0.0 Mobile Safari/537.36"),
                "Chrome 141 on Android",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".into(),
                "Firefox 145 on Linux",
            ),
            (
                format!(
                    "Mozilla/5.0 (Linux; Android 10; K) {webkit} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile \
                     Safari/537.36"
                ),
                "Samsung Internet 28 on Android",
            ),
            ("curl/8.5.0".into(), "curl 8"),
            ("internal job".into(), "internal job"),
        ] {
            assert_eq!(Device::from_agent(&agent).name, name, "{agent}");
        }
        assert_eq!(Device::from_agent(&format!("{mac} {webkit} Chrome/141.0.0.0")).icon(), Icon::Monitor);
    }

    #[test]
    fn hostile_user_agents_are_cut_and_sanitized() {
        let device = Device::from_agent(&format!("\u{202e}{}", "x".repeat(10_000)));
        assert!(device.name.chars().count() <= MAX_SHOWN_CHARS + 10 && !device.name.contains('\u{202e}'));
    }
}

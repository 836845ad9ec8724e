//! The first configuration of a target: short, with the layout that was detected, for a person to complete.

use std::fmt::Write as _;

use sessionwatch_archive::Recipient;
use sessionwatch_targets::{
    error::DetectionFailure,
    layout::{profile_catalog::Profile, profile_source::ProfileSource},
    mapping::{Mapping, RevokeMethod, TableName},
};

use super::layouts::DetectedLayout;
use crate::{config::Target, sanitize::sanitize_text};

/// Lines behind the target: what most people add next.
const NEXT_STEPS: &str = "
[serve]
listen = \"127.0.0.1:9797\"

# Notifications: set SLACK_WEBHOOK_URL, uncomment the channel, then run `sessionwatch notifications test chat`.
# [[channel]]
# name = \"chat\"
# kind = \"slack\"
# url = \"${SLACK_WEBHOOK_URL}\"
";

/// Renders a configuration with one target, as its layout was detected.
#[must_use]
pub fn render_initial_config(
    name: &str,
    target: &Target,
    recognized: &DetectedLayout,
    catalogue: &[Profile],
) -> String {
    let mapping = &recognized.mapping;
    let mut text = render_head(name, target);
    // The profile says everything, unless the database differs from it.
    let known = catalogue.iter().any(|profile| profile.name == mapping.profile);
    if known {
        let _ = writeln!(text, "profile = {}", toml_string(&mapping.profile));
    }
    // A table named on the command line was a choice of the user, so it is kept.
    if let ProfileSource::Table { table, .. } = &target.profile_source {
        let _ = writeln!(text, "sessions = {}", toml_string(&table.to_string()));
    }
    text.push_str(&render_table_choices(recognized));
    // An explicit mapping or a replaced decoder cannot be expressed by the profile's name alone.
    let by_profile = known
        && (recognized.doubt.is_some() || !recognized.decoder_replaced)
        && !matches!(target.profile_source, ProfileSource::Explicit(_));
    if !by_profile {
        for line in render_mapping_lines(mapping) {
            let _ = writeln!(text, "{line}");
        }
    }
    text + NEXT_STEPS
}

/// Renders a configuration for a database in which no session table was detected: a mapping to fill in.
#[must_use]
pub fn render_config_to_fill_in(name: &str, target: &Target, failure: &DetectionFailure) -> String {
    let mut text = render_head(name, target);
    let _ = writeln!(
        text,
        "\n# No session table was detected. Replace the names in capitals, and remove what your table lacks."
    );
    for candidate in &failure.near_misses {
        // Table names come from the database and could contain line breaks, which would end the comment.
        let _ = writeln!(text, "# Candidate: {}", sanitize_text(candidate));
    }
    let lines = if failure.config_lines.is_empty() {
        MAPPING_TO_FILL_IN.to_owned()
    } else {
        failure.config_lines.join("\n")
    };
    let _ = writeln!(text, "{lines}");
    text + NEXT_STEPS
}

/// A mapping whose names a person replaces. Each of them is refused by `check` until then, since no such table exists.
const MAPPING_TO_FILL_IN: &str = "\
[target.mapping]
sessions = \"SESSIONS_TABLE\"
token = \"TOKEN_COLUMN\"
expires = \"EXPIRES_COLUMN\"
decoder = \"timestamptz\"  # or timestamp-utc, epoch-seconds, epoch-ms, iso-text
user = \"USER_COLUMN\"
users = \"USERS_TABLE\"
users_key = \"USERS_KEY_COLUMN\"";

/// Renders the start of a configuration, up to the address of the target.
fn render_head(name: &str, target: &Target) -> String {
    // The address may contain a password, so the file refers to the variable instead.
    let url = target.address.file_path().map_or_else(
        || "${DATABASE_URL}".to_owned(),
        |path| {
            // Absolute, because the daemon may be started in another directory.
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("sqlite:{}", full.display())
        },
    );
    format!(
        "# sessionwatch configuration. `sessionwatch config example` prints every key.\n\n[[target]]\nname = {}\nurl = {}\n",
        toml_string(name),
        toml_string(&url)
    )
}

/// Adds the recipient of archives to a configuration.
#[must_use]
pub fn config_with_recipient(text: &str, recipient: &Recipient) -> String {
    format!("{text}\n[actions]\narchive_recipient = \"{recipient}\"\n")
}

/// Renders the tables to choose from. The file does not choose: a wrong table would be cleaned up.
fn render_table_choices(recognized: &DetectedLayout) -> String {
    let Some(doubt) = &recognized.doubt else { return String::new() };
    let mut text = format!(
        "# Not certain: {}.\n# Remove the mark of the right line. Until then, nothing can be cleaned up or revoked.\n",
        sanitize_text(&doubt.reason)
    );
    for [profile, sessions] in doubt.config_alternatives() {
        let other = profile != format!("profile = {}", toml_string(&recognized.mapping.profile));
        let with = if other { format!("  # with {profile}") } else { String::new() };
        let _ = writeln!(text, "# {sessions}{with}");
    }
    text
}

fn render_mapping_lines(mapping: &Mapping) -> Vec<String> {
    let text = |key: &str, value: Option<&str>| value.map(|value| format!("{key} = {}", toml_string(value)));
    let table = |name: &TableName| match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    };
    let users = mapping.users.as_ref();
    let display = users.filter(|users| !users.display.is_empty()).map(|users| {
        let shown: Vec<String> = users.display.iter().map(|column| toml_string(column)).collect();
        format!("display = [{}]", shown.join(", "))
    });
    let flag = if let RevokeMethod::Flag { column, value } = &mapping.revoke {
        Some((column.as_str(), value.as_str()))
    } else {
        None
    };
    let lines = [
        Some("[target.mapping]".to_owned()),
        text("sessions", Some(&table(&mapping.sessions))),
        text("token", Some(&mapping.token)),
        text("token_prefix", mapping.token_prefix.as_deref()),
        text("expires", Some(&mapping.expires.column)),
        text("decoder", Some(mapping.expires.decoder.name())),
        text("id", mapping.id.as_deref()),
        text("user", mapping.user.as_deref()),
        text("created", mapping.created.as_ref().map(|created| created.column.as_str())),
        text("created_decoder", mapping.created.as_ref().map(|created| created.decoder.name())),
        text("ip", mapping.ip.as_deref()),
        text("user_agent", mapping.agent.as_deref()),
        text("users", users.map(|users| table(&users.table)).as_deref()),
        text("users_key", users.map(|users| users.key.as_str())),
        display,
        text("accounts", mapping.accounts.as_ref().map(table).as_deref()),
        match &mapping.revoke {
            RevokeMethod::Delete => None,
            RevokeMethod::Expire => text("revoke", Some("expire")),
            RevokeMethod::Flag { .. } => text("revoke", Some("flag")),
        },
        text("revoke_column", flag.map(|(column, _)| column)),
        text("revoke_value", flag.map(|(_, value)| value)),
        // Rounded down, but never to zero, which the configuration rejects.
        mapping.max_lifetime_s.map(|seconds| format!("lifetime_days = {}", (seconds / 86_400).max(1))),
    ];
    lines.into_iter().flatten().collect()
}

// JSON escapes are valid in TOML, except that TOML also escapes DEL.
fn toml_string(text: &str) -> String {
    // JSON escapes are valid TOML, but JSON leaves DEL unescaped, which TOML forbids.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests;

//! Initial configuration of a target, generated from the detected layout for review by the user.

use std::fmt::Write as _;

use sessionwatch_archive::Recipient;
use sessionwatch_targets::{
    layout::{profile_catalog::Profile, profile_source::ProfileSource},
    mapping::{Mapping, RevokeMethod, TableName},
};

use super::layouts::DetectedLayout;
use crate::{
    config::{Target, file},
    sanitize::sanitize_text,
};

/// Renders a configuration file for one target with its detected layout; all checks are commented out.
#[must_use]
pub fn render_initial_config(
    name: &str,
    target: &Target,
    recognized: &DetectedLayout,
    catalogue: &[Profile],
) -> String {
    let mapping = &recognized.mapping;
    let mut text =
        String::from("# sessionwatch configuration. `sessionwatch config example` prints every key.\n");
    for reason in &recognized.reasons {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "#\n# Detected: {}.", sanitize_text(reason));
    }
    for note in &recognized.notes {
        let _ = writeln!(text, "# Note: {}.", sanitize_text(note));
    }
    // The address of a server may contain a password, which must not be written to the file.
    let url = target.address.file_path().map_or_else(
        || "${DATABASE_URL}".to_owned(),
        |path| {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("sqlite:{}", full.display())
        },
    );
    let _ = write!(text, "\n[[target]]\nname = {}\nurl = {}\n", toml_string(name), toml_string(&url));
    // The profile is named even if the mapping below overrides it: it also carries the facts about the framework.
    let known = catalogue.iter().any(|profile| profile.name == mapping.profile);
    if known {
        let _ = writeln!(text, "profile = {}", toml_string(&mapping.profile));
    }
    if let ProfileSource::Table { table, .. } = &target.profile_source {
        let _ = writeln!(text, "sessions = {}", toml_string(&table.to_string()));
    }
    text.push_str(&render_table_choices(recognized));
    let by_profile = known
        && (recognized.doubt.is_some() || !recognized.decoder_replaced)
        && !matches!(target.profile_source, ProfileSource::Explicit(_));
    if by_profile {
        text.push_str(
            "\n# The profile resolves to this mapping here. Uncomment the section to override the profile.\n",
        );
    }
    let mark = if by_profile { "# " } else { "" };
    for line in render_mapping_lines(mapping) {
        let _ = writeln!(text, "{mark}{line}");
    }
    // The example from its first check on: the sections before describe targets, which are written above.
    let example = file::render_example();
    let first_check = example.find("\n# [checks.").and_then(|header| example.get(..header)?.rfind("\n\n"));
    if let Some(checks) = first_check.and_then(|start| example.get(start + 1..)) {
        text.push_str(checks);
    }
    text
}

/// Sets `archive_recipient` in the text of a generated file.
#[must_use]
pub fn config_with_recipient(text: &str, recipient: &Recipient) -> String {
    let line = |line: &str| {
        if line == "# [actions]" {
            "[actions]\n".into()
        } else if line.starts_with("# archive_recipient = ") {
            format!("archive_recipient = \"{recipient}\"\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

/// Renders the candidate tables as comments, for the user to choose one.
fn render_table_choices(recognized: &DetectedLayout) -> String {
    let Some(doubt) = &recognized.doubt else { return String::new() };
    let mut text = format!(
        "# Ambiguous: {}.\n# Cleanup and revoke are blocked until you uncomment one of these lines.\n",
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
        mapping.max_lifetime_s.map(|seconds| format!("lifetime_days = {}", (seconds / 86_400).max(1))),
    ];
    lines.into_iter().flatten().collect()
}

fn toml_string(text: &str) -> String {
    // JSON escapes are valid TOML, but JSON leaves DEL unescaped, which TOML forbids.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

//! The first configuration of a target: how its sessions were recognized, for a person to look through.

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

/// The text of a file that configures one target under a name, as it was recognized, with every check commented out.
#[must_use]
pub fn render_initial_config(
    name: &str,
    target: &Target,
    recognized: &DetectedLayout,
    catalogue: &[Profile],
) -> String {
    let mapping = &recognized.mapping;
    let mut text =
        String::from("# Configuration of sessionwatch: `sessionwatch config example` shows every key.\n");
    for reason in &recognized.reasons {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "#\n# Recognised: {}.", sanitize_text(reason));
    }
    for note in &recognized.notes {
        let _ = writeln!(text, "# To know: {}.", sanitize_text(note));
    }
    let url = target.address.file_path().map_or_else(
        || "${DATABASE_URL}".to_owned(),
        |path| {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("sqlite:{}", full.display())
        },
    );
    let _ = write!(text, "\n[[target]]\nname = {}\nurl = {}\n", toml_string(name), toml_string(&url));
    // A profile says it all, unless the database is not quite as the profile has it. In any case it says what is to be known
    // of the framework.
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
            "\n# What the profile comes to here; it goes before what the profile says if you remove the marks.\n",
        );
    }
    let mark = if by_profile { "# " } else { "" };
    for line in render_mapping_lines(mapping) {
        let _ = writeln!(text, "{mark}{line}");
    }
    let checks = file::render_example();
    if let Some((_, checks)) = checks.split_once("\n# Tokens on more than one row.\n") {
        let _ = write!(text, "\n# Tokens on more than one row.\n{checks}");
    }
    text
}

/// The text of a file, with the recipient of archives in it.
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

/// The tables that may be meant, for a person to choose: the file does not do that by itself.
fn render_table_choices(recognized: &DetectedLayout) -> String {
    let Some(doubt) = &recognized.doubt else { return String::new() };
    let mut text = format!(
        "# Not certain: {}.\n# Nothing is cleaned up or revoked before one of these lines is chosen, by removing its mark.\n",
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

/// A TOML string on one line: what JSON escapes reads the same there, but for one character.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

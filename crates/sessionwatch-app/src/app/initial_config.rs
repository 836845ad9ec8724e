//! The first configuration of a target: short, with the layout that was detected, for a person to complete.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use sessionwatch_archive::Recipient;
use sessionwatch_targets::{
    error::DetectionFailure,
    layout::{profile_catalog::Profile, storage_setting::ProfileSource},
    mapping::{Mapping, RevokeMethod, TableName},
};

use super::layouts::DetectedLayout;
use crate::{config::Target, sanitize::sanitize_text};

/// Reason why a configuration cannot be written: it would name another database or table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwritableConfigError {
    /// The path of the database is not valid UTF-8.
    #[error(
        "cannot write the path {0:?} to the configuration: it is not valid UTF-8, so rename its folder or file"
    )]
    PathNotUtf8(PathBuf),
    /// A dot in the name of a table or schema would separate it at the wrong place.
    #[error(
        "cannot write the table {0:?} to the configuration: the first dot separates schema and table, \
         so rename it or create a view without a dot in its name"
    )]
    AmbiguousTable(String),
}

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
///
/// # Errors
///
/// If the file would name another database or table.
pub fn render_initial_config(
    name: &str,
    target: &Target,
    recognized: &DetectedLayout,
    catalogue: &[Profile],
) -> Result<String, UnwritableConfigError> {
    let mapping = &recognized.mapping;
    let mut text = render_head(name, target)?;
    // The profile says everything, unless the database differs from it.
    let known = catalogue.iter().any(|profile| profile.name == mapping.profile);
    if known {
        let _ = writeln!(text, "profile = {}", toml_string(&mapping.profile));
    }
    // A table named on the command line was a choice of the user, so it is kept.
    if let ProfileSource::Table { table, .. } = &target.profile_source {
        let _ = writeln!(text, "sessions = {}", toml_string(&config_table_name(table)?));
    }
    text.push_str(&render_table_choices(recognized));
    // An explicit mapping or a replaced decoder cannot be expressed by the profile's name alone.
    let by_profile = known
        && (recognized.doubt.is_some() || !recognized.decoder_replaced)
        && !matches!(target.profile_source, ProfileSource::Explicit(_));
    if !by_profile {
        for line in render_mapping_lines(mapping)? {
            let _ = writeln!(text, "{line}");
        }
    }
    Ok(text + NEXT_STEPS)
}

/// Renders a configuration for a database in which no session table was detected: a mapping to fill in.
///
/// # Errors
///
/// If the file would name another database.
pub fn render_config_to_fill_in(
    name: &str,
    target: &Target,
    failure: &DetectionFailure,
) -> Result<String, UnwritableConfigError> {
    let mut text = render_head(name, target)?;
    let lines = failure.config_lines.join("\n");
    let (instruction, lines) = if lines.is_empty() {
        ("Replace the names in capitals, and remove what your table lacks.", MAPPING_TO_FILL_IN)
    } else {
        ("The lines below are a guess from the closest table: check each of them.", lines.as_str())
    };
    let _ = writeln!(text, "\n# No session table was detected. {instruction}");
    for candidate in &failure.near_misses {
        // Table names come from the database and could contain line breaks, which would end the comment.
        let _ = writeln!(text, "# Candidate: {}", sanitize_text(candidate));
    }
    let _ = writeln!(text, "{lines}");
    Ok(text + NEXT_STEPS)
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

/// How a configuration refers to an address that was given on the command line.
pub const DATABASE_URL_REFERENCE: &str = "${DATABASE_URL}";

/// Renders the start of a configuration, up to the address of the target.
fn render_head(name: &str, target: &Target) -> Result<String, UnwritableConfigError> {
    let url = match target.address.file_path() {
        // Absolute, because the daemon may be started in another directory.
        Some(path) => sqlite_url(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))?,
        // The address may contain a password, so the file refers to a variable instead.
        None => target.default_config_value.clone().unwrap_or_else(|| DATABASE_URL_REFERENCE.to_owned()),
    };
    Ok(format!(
        "# sessionwatch configuration. `sessionwatch config example` prints every key.\n\n[[target]]\n\
         name = {}\nurl = {}\n",
        toml_string(name),
        toml_string(&url)
    ))
}

/// Returns the address of a SQLite file. Reading it decodes `%41`, cuts it at `?`, expands `${NAME}`, removes white
/// space at its end, and takes a second slash for a part of the scheme, so all of these are percent-encoded.
fn sqlite_url(path: &Path) -> Result<String, UnwritableConfigError> {
    let text = path.to_str().ok_or_else(|| UnwritableConfigError::PathNotUtf8(path.to_owned()))?;
    let trimmed_length = text.trim_end().len();
    let mut url = "sqlite:".to_owned();
    for (at, letter) in text.char_indices() {
        let is_variable = text[at..].starts_with("${");
        let is_second_slash = at == 1 && letter == '/';
        if matches!(letter, '%' | '?') || is_variable || is_second_slash || at >= trimmed_length {
            for byte in letter.to_string().bytes() {
                let _ = write!(url, "%{byte:02X}");
            }
        } else {
            url.push(letter);
        }
    }
    Ok(url)
}

/// Returns the name of a table as the configuration reads it: its first dot separates the schema.
fn config_table_name(table: &TableName) -> Result<String, UnwritableConfigError> {
    if table.schema.as_ref().unwrap_or(&table.name).contains('.') {
        return Err(UnwritableConfigError::AmbiguousTable(table.to_string()));
    }
    Ok(table.to_string())
}

/// Adds the recipient of archives to a configuration.
#[must_use]
pub fn append_archive_recipient(text: &str, recipient: &Recipient) -> String {
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

fn render_mapping_lines(mapping: &Mapping) -> Result<Vec<String>, UnwritableConfigError> {
    let text = |key: &str, value: Option<&str>| value.map(|value| format!("{key} = {}", toml_string(value)));
    let sessions = config_table_name(&mapping.sessions)?;
    let users = mapping.users.as_ref();
    let users_table = users.map(|users| config_table_name(&users.table)).transpose()?;
    let accounts = mapping.accounts.as_ref().map(config_table_name).transpose()?;
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
        text("sessions", Some(&sessions)),
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
        text("users", users_table.as_deref()),
        text("users_key", users.map(|users| users.key.as_str())),
        display,
        text("accounts", accounts.as_deref()),
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
    Ok(lines.into_iter().flatten().collect())
}

// JSON escapes are valid in TOML, except that TOML also escapes DEL.
fn toml_string(text: &str) -> String {
    // JSON escapes are valid TOML, but JSON leaves DEL unescaped, which TOML forbids.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests;

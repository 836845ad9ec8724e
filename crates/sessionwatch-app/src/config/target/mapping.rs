//! `[target.mapping]`: tables and columns of a target that no profile fits.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::timestamp_decoder::Decoder;
use sessionwatch_targets::{
    layout::{explicit_mapping, profile_catalog::Profile},
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
};

use crate::{
    config::{section_reader::SectionReader, text_formats::DecoderName},
    config_file::WithSpan,
};

const SECONDS_PER_DAY: u64 = 86_400;

/// Tables and columns, if no profile fits; `profile` may name the framework that uses them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MappingSection {
    /// Session table or view; without a schema, found on the search path.
    #[schemars(extend("x-required" = true), example = &"public.sessions")]
    pub(super) sessions: Option<String>,
    /// Column of the token.
    #[schemars(extend("x-required" = true), example = &"sessionToken")]
    token: Option<String>,
    /// Column of the expiry time.
    #[schemars(extend("x-required" = true), example = &"expires")]
    expires: Option<String>,
    /// Storage format of the expiry time.
    #[schemars(extend("x-required" = true), example = &"timestamp-utc")]
    decoder: Option<DecoderName>,
    /// Column that identifies a row and is not the token.
    #[schemars(extend("x-otherwise" = "none"), example = &"id")]
    id: Option<String>,
    /// Prefix of every stored token, such as that of Flask-Session; removed before tokens are displayed or searched
    /// in logs.
    #[schemars(extend("x-otherwise" = "none"), example = &"session:")]
    token_prefix: Option<String>,
    /// Column of the user ID.
    #[schemars(extend("x-otherwise" = "none"), example = &"userId")]
    user: Option<String>,
    /// Column of the creation time.
    #[schemars(extend("x-otherwise" = "none"), example = &"createdAt")]
    created: Option<String>,
    /// Storage format of the creation time.
    #[schemars(extend("x-otherwise" = "same as decoder"), example = &"timestamp-utc")]
    created_decoder: Option<DecoderName>,
    /// Column of the client's IP address.
    #[schemars(extend("x-otherwise" = "none"), example = &"ipAddress")]
    ip: Option<String>,
    /// Column of the client's user agent.
    #[schemars(extend("x-otherwise" = "none"), example = &"userAgent")]
    user_agent: Option<String>,
    /// Users table.
    #[schemars(extend("x-otherwise" = "none"), example = &"public.users")]
    users: Option<WithSpan<String>>,
    /// Column of the users table that `user` refers to.
    users_key: String,
    /// Columns of the users table that identify a user to a human.
    #[schemars(extend("x-otherwise" = "[]"), example = ["name", "email"])]
    display: Option<Vec<String>>,
    /// Table that grows while the session table stays empty if the application uses JWT sessions.
    #[schemars(extend("x-otherwise" = "none"), example = &"public.accounts")]
    accounts: Option<String>,
    /// Longest lifetime that the application gives a session, in days.
    #[schemars(range(min = 1, max = 36_500), extend("x-otherwise" = "no limit"), example = 30)]
    lifetime_days: Option<u64>,
    /// Revocation method: delete the row, set the expiry to now, or set a flag column.
    #[schemars(extend("default" = "delete"))]
    revoke: Option<WithSpan<RevokeName>>,
    /// Flag column, required with revoke = "flag".
    #[schemars(extend("x-otherwise" = "none"), example = &"active")]
    revoke_column: Option<WithSpan<String>>,
    /// Value of the flag column in revoked sessions, required with revoke = "flag".
    #[schemars(extend("x-otherwise" = "none"), example = &"false")]
    revoke_value: Option<WithSpan<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RevokeName {
    Delete,
    Expire,
    Flag,
}

impl Default for MappingSection {
    fn default() -> Self {
        Self {
            sessions: None,
            token: None,
            expires: None,
            decoder: None,
            id: None,
            token_prefix: None,
            user: None,
            created: None,
            created_decoder: None,
            ip: None,
            user_agent: None,
            users: None,
            users_key: "id".into(),
            display: None,
            accounts: None,
            lifetime_days: None,
            revoke: None,
            revoke_column: None,
            revoke_value: None,
        }
    }
}

/// Builds the mapping. Missing required keys have been reported already and get placeholders, which are never used.
pub(super) fn validate_mapping(
    section: &WithSpan<MappingSection>,
    profile: Option<&Profile>,
    reader: &mut SectionReader<'_, '_>,
) -> Mapping {
    let table = |name: &Option<String>| name.as_deref().map(parse_table_name);
    let expires = section.decoder.map_or(Decoder::Timestamptz, |decoder| decoder.0);
    if let (Some(users), None) = (&section.users, &section.user) {
        reader.report_problem(
            users.span(),
            "`users` requires `user`, the column that refers to the users table",
        );
    }
    // Most tables store both times in the same way.
    let created_decoder = section.created_decoder.map_or(expires, |decoder| decoder.0);
    // The profile's lifetime, as the framework stays the same even if the columns are renamed.
    let lifetime_days = section.lifetime_days.or(profile.map(|profile| profile.max_lifetime_days));
    Mapping {
        profile: profile.map_or(explicit_mapping::CUSTOM_PROFILE, |profile| profile.name.as_str()).to_owned(),
        sessions: table(&section.sessions).unwrap_or(TableName { schema: None, name: String::new() }),
        id: section.id.clone(),
        token: section.token.clone().unwrap_or_default(),
        user: section.user.clone(),
        expires: TimestampColumn { column: section.expires.clone().unwrap_or_default(), decoder: expires },
        created: section.created.clone().map(|column| TimestampColumn { column, decoder: created_decoder }),
        ip: section.ip.clone(),
        agent: section.user_agent.clone(),
        users: section.users.as_ref().map(|users| UsersMapping {
            table: parse_table_name(users),
            key: section.users_key.clone(),
            display: section.display.clone().unwrap_or_default(),
        }),
        accounts: table(&section.accounts),
        revoke: validate_revoke(section, reader),
        deleted: None,
        token_prefix: section.token_prefix.clone(),
        impersonator: None,
        max_lifetime_s: lifetime_days.map(|days| days * SECONDS_PER_DAY),
    }
}

fn validate_revoke(section: &MappingSection, reader: &mut SectionReader<'_, '_>) -> RevokeMethod {
    let (column, value) = (section.revoke_column.as_ref(), section.revoke_value.as_ref());
    match (&section.revoke, column, value) {
        (Some(written), Some(column), Some(value)) if matches!(**written, RevokeName::Flag) => {
            return RevokeMethod::Flag { column: column.to_string(), value: value.to_string() };
        }
        (Some(written), ..) if matches!(**written, RevokeName::Flag) => {
            reader.report_problem(
                written.span(),
                "revoke = \"flag\" requires `revoke_column` and `revoke_value`",
            );
        }
        (_, Some(unused), _) | (_, None, Some(unused)) => {
            reader.report_problem(unused.span(), "has no effect without revoke = \"flag\"");
        }
        (_, None, None) => {}
    }
    match section.revoke.as_deref() {
        Some(RevokeName::Expire) => RevokeMethod::Expire,
        _ => RevokeMethod::Delete,
    }
}

/// Parses `schema.table`, or a table name to be found on the search path.
pub(super) fn parse_table_name(text: &str) -> TableName {
    // Only the first dot separates: a table name may contain others.
    match text.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: text.to_owned() },
    }
}

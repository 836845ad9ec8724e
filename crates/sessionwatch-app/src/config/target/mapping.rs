//! `[target.mapping]`: the tables and columns, where no profile fits.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::decoder::Decoder;
use sessionwatch_targets::{
    layout::{explicit_mapping, profile_catalog::Profile},
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
};

use crate::{
    config::{formats::DecoderName, section_reader::SectionReader},
    config_file::WithSpan,
};

const SECONDS_PER_DAY: u64 = 86_400;

/// The tables and columns, where no profile fits; a `profile` beside it says which framework uses them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MappingSection {
    /// The table or view of sessions, with its schema or found along the search path.
    #[schemars(extend("x-required" = true), example = &"public.sessions")]
    pub(super) sessions: Option<String>,
    /// The column of the token.
    #[schemars(extend("x-required" = true), example = &"sessionToken")]
    token: Option<String>,
    /// The column of the session's end.
    #[schemars(extend("x-required" = true), example = &"expires")]
    expires: Option<String>,
    /// How the end is stored.
    #[schemars(extend("x-required" = true), example = &"timestamp-utc")]
    decoder: Option<DecoderName>,
    /// A column that names a row and is not the token.
    #[schemars(extend("x-otherwise" = "not used"), example = &"id")]
    id: Option<String>,
    /// What every token begins with, as Flask-Session stores it: what is shown of a token, and looked for in logs, is what
    /// follows.
    #[schemars(extend("x-otherwise" = "not used"), example = &"session:")]
    token_prefix: Option<String>,
    /// The column of the user.
    #[schemars(extend("x-otherwise" = "not used"), example = &"userId")]
    user: Option<String>,
    /// The column of the session's creation.
    #[schemars(extend("x-otherwise" = "not used"), example = &"createdAt")]
    created: Option<String>,
    /// How the creation is stored.
    #[schemars(extend("x-otherwise" = "the decoder of the end"), example = &"timestamp-utc")]
    created_decoder: Option<DecoderName>,
    /// The column of the client's address.
    #[schemars(extend("x-otherwise" = "not used"), example = &"ipAddress")]
    ip: Option<String>,
    /// The column of the client's user agent.
    #[schemars(extend("x-otherwise" = "not used"), example = &"userAgent")]
    user_agent: Option<String>,
    /// The table of users.
    #[schemars(extend("x-otherwise" = "not used"), example = &"public.users")]
    users: Option<WithSpan<String>>,
    /// The column of the users that `user` refers to.
    users_key: String,
    /// Columns of the users that help a person to recognize one.
    #[schemars(extend("x-otherwise" = "[]"), example = ["name", "email"])]
    display: Option<Vec<String>>,
    /// A table that fills while sessions stay empty when the application uses JWT sessions.
    #[schemars(extend("x-otherwise" = "not used"), example = &"public.accounts")]
    accounts: Option<String>,
    /// The longest lifetime that the application gives a session, in days.
    #[schemars(range(min = 1, max = 36_500), extend("x-otherwise" = "no policy"), example = 30)]
    lifetime_days: Option<u64>,
    /// How a session is ended: its row removed, its end set to now, or a column set to a value.
    #[schemars(extend("default" = "delete"))]
    revoke: Option<WithSpan<RevokeName>>,
    /// With revoke = "flag", the column.
    #[schemars(extend("x-otherwise" = "not used"), example = &"active")]
    revoke_column: Option<WithSpan<String>>,
    /// With revoke = "flag", the value.
    #[schemars(extend("x-otherwise" = "not used"), example = &"false")]
    revoke_value: Option<WithSpan<String>>,
}

/// How a session is ended, as it is written.
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

/// Missing keys have been reported; what stands here in their place is never used.
pub(super) fn validate_mapping(
    section: &WithSpan<MappingSection>,
    profile: Option<&Profile>,
    reader: &mut SectionReader<'_, '_>,
) -> Mapping {
    let table = |name: &Option<String>| name.as_deref().map(parse_table_name);
    let expires = section.decoder.map_or(Decoder::Timestamptz, |decoder| decoder.0);
    if let (Some(users), None) = (&section.users, &section.user) {
        reader.report_problem(users.span(), "`users` needs `user`, the column that refers to them");
    }
    let created_decoder = section.created_decoder.map_or(expires, |decoder| decoder.0);
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

/// How sessions are ended.
fn validate_revoke(section: &MappingSection, reader: &mut SectionReader<'_, '_>) -> RevokeMethod {
    let (column, value) = (section.revoke_column.as_ref(), section.revoke_value.as_ref());
    match (&section.revoke, column, value) {
        (Some(written), Some(column), Some(value)) if matches!(**written, RevokeName::Flag) => {
            return RevokeMethod::Flag { column: column.to_string(), value: value.to_string() };
        }
        (Some(written), ..) if matches!(**written, RevokeName::Flag) => {
            reader
                .report_problem(written.span(), "revoke = \"flag\" needs `revoke_column` and `revoke_value`");
        }
        (_, Some(unused), _) | (_, None, Some(unused)) => {
            reader.report_problem(unused.span(), "is of use only with revoke = \"flag\"");
        }
        (_, None, None) => {}
    }
    match section.revoke.as_deref() {
        Some(RevokeName::Expire) => RevokeMethod::Expire,
        _ => RevokeMethod::Delete,
    }
}

/// `schema.table`, or a table to be found along the search path.
pub(super) fn parse_table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: text.to_owned() },
    }
}

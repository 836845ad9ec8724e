//! Addresses of PostgreSQL servers.

use std::{fmt, time::Duration};

use pg_link::{Dsn, NoRows, PgConnection, SslMode};
use tokio_postgres::SimpleQueryMessage;

use super::{POSTGRES_CAPABILITIES, databases_query};
use crate::{
    backend::{
        AddressError, CertificateCheck, DatabaseAddress, NamedDatabase, ScratchError, TransportSecurity,
    },
    capabilities::Capabilities,
    error::TargetError,
    sql::{Dialect, drop_database_statement, quote_identifier, quote_string},
};

/// Parses the address of a server, also one embedded in the key of `prisma dev`. Returns `None` for other
/// schemes.
pub(crate) fn parse_address(text: &str) -> Option<Result<Dsn, AddressError>> {
    if is_server_url(text) {
        return Some(parse_dsn(text));
    }
    is_prisma_proxy_url(text).then(|| {
        let direct = prisma_direct_url(text).ok_or(AddressError::NotSupported {
            problem: "prisma+postgres:// is not a PostgreSQL connection",
            advice: "use the direct connection URL of the database (postgres://…)",
        });
        parse_dsn(&direct?)
    })
}

/// Returns `true` for an address of Prisma Accelerate or of `prisma dev`, which only Prisma's client speaks.
#[must_use]
pub fn is_prisma_proxy_url(text: &str) -> bool {
    ["prisma://", "prisma+postgres://"].iter().any(|scheme| text.starts_with(scheme))
}

fn is_server_url(text: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
}

fn parse_dsn(text: &str) -> Result<Dsn, AddressError> {
    Dsn::parse(text).map_err(|error| AddressError::Faulty {
        product: POSTGRES_CAPABILITIES.product,
        problem: error.to_string(),
    })
}

/// Extracts the direct address of the database from the key of `prisma dev`: base64 of JSON.
fn prisma_direct_url(text: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose};
    let (_, parameters) = text.split_once('?')?;
    let key = parameters.split('&').find_map(|parameter| parameter.strip_prefix("api_key="))?;
    let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?;
    let key = key.trim_end_matches('=');
    let decoded = general_purpose::STANDARD_NO_PAD.decode(key);
    let decoded = decoded.or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(key)).ok()?;
    let key: serde_json::Value = serde_json::from_slice(&decoded).ok()?;
    let direct = key["databaseUrl"].as_str()?;
    // An embedded address of the same kind could recurse without end.
    is_server_url(direct).then(|| direct.to_owned())
}

impl DatabaseAddress for Dsn {
    fn capabilities(&self) -> &'static Capabilities {
        &POSTGRES_CAPABILITIES
    }

    fn fmt_redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn transport_security(&self) -> Option<TransportSecurity> {
        Some(TransportSecurity {
            is_loopback: self.is_loopback(),
            is_pooled: self.pooled,
            certificate: match self.ssl_mode {
                SslMode::VerifyFull => CertificateCheck::AuthorityAndName,
                SslMode::VerifyCa => CertificateCheck::Authority,
                _ => CertificateCheck::None,
            },
        })
    }

    fn tls_problem(&self) -> Option<String> {
        if self.is_local() {
            return None;
        }
        self.check_tls().err().map(|error| format!("cannot set up TLS: {error}"))
    }

    async fn create_scratch_database(
        &self,
        name: &str,
        statements: &str,
        comment: &str,
    ) -> Result<(), ScratchError> {
        let link = super::connect::<NoRows>(self).await?;
        let statement = format!("CREATE DATABASE {}", quote_identifier(name));
        // CREATE DATABASE cannot run in a transaction, so each statement is sent on its own.
        link.client().batch_execute(&statement).await.map_err(|_| ScratchError::Refused)?;
        let comment = quote_string(Dialect::POSTGRES, comment);
        let comment = format!("COMMENT ON DATABASE {} IS {comment}", quote_identifier(name));
        link.client().batch_execute(&comment).await.map_err(|_| ScratchError::Refused)?;
        let mut scratch = self.clone();
        scratch.select_database(name);
        Ok(run_statements(&scratch, statements).await?)
    }

    fn select_database(&mut self, name: &str) {
        self.config.dbname(name);
    }

    async fn drop_scratch_database(&self, name: &str) -> bool {
        /// Time limit for dropping a database.
        const DROP_DATABASE_TIMEOUT: Duration = Duration::from_secs(30);
        tokio::time::timeout(DROP_DATABASE_TIMEOUT, drop_database_forced(self, name)).await.unwrap_or(false)
    }

    async fn list_databases(&self, prefix: &str) -> Vec<NamedDatabase> {
        let Ok(link) = PgConnection::<NoRows>::open(self).await else { return vec![] };
        let rows = link.client().simple_query(&databases_query(prefix)).await;
        let named = |message| match message {
            SimpleQueryMessage::Row(row) => NamedDatabase::from_row(vec![
                row.try_get(0).ok().flatten().map(str::to_owned),
                row.try_get(1).ok().flatten().map(str::to_owned),
            ]),
            _ => None,
        };
        rows.into_iter().flatten().filter_map(named).collect()
    }

    async fn drop_unused_database(&self, name: &str) -> bool {
        let Ok(link) = PgConnection::<NoRows>::open(self).await else { return false };
        link.client().batch_execute(drop_database_statement(name).trim_end_matches(';')).await.is_ok()
    }
}

async fn run_statements(dsn: &Dsn, statements: &str) -> Result<(), TargetError> {
    let link = super::connect::<NoRows>(dsn).await?;
    let filled = link.client().batch_execute(statements).await;
    filled.map_err(|error| {
        // The server's text may quote values of the sample, so only the code is kept.
        TargetError::Query(error.code().map(|code| code.code().to_owned()).unwrap_or_default())
    })
}

async fn drop_database_forced(dsn: &Dsn, name: &str) -> bool {
    let Ok(link) = PgConnection::<NoRows>::open(dsn).await else { return false };
    // A pooler may hold a connection to the database for a while; FORCE ends it.
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(name));
    if link.client().batch_execute(&statement).await.is_ok() {
        return true;
    }
    // Servers before version 13 do not support FORCE.
    link.client().batch_execute(&format!("DROP DATABASE IF EXISTS {}", quote_identifier(name))).await.is_ok()
}

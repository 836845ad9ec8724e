//! Diagnostics of connection, roles and clocks.

use sessionwatch_targets::{
    address::{CertificateCheck, TargetAddress},
    capabilities::Capability,
    server_info::{SchemaCreator, ServerInfo},
};

use super::{
    CLOCK_FAIL_THRESHOLD, CLOCK_WARN_THRESHOLD, Diagnostic, DoctorInput, WriteRoleInfo, diagnostic_fail,
    diagnostic_pass, diagnostic_warn,
};

pub(super) fn describe_server(audit: &ServerInfo) -> String {
    let replica = if audit.is_replica { ", a replica, which may lag behind" } else { "" };
    format!("{}{replica}", audit.server)
}

pub(super) fn diagnose_transport(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let transport = input.address.transport_security()?;
    let fix = "add sslmode=verify-full to the address (and sslrootcert=FILE for a private authority)";
    Some(match (input.server_info.is_encrypted?, transport.certificate) {
        // Traffic on the loopback interface does not leave the machine, with or without TLS.
        (_, _) if transport.is_loopback => {
            diagnostic_pass("transport", "the connection stays on this machine")
        }
        (false, _) => diagnostic_fail(
            "transport",
            "the connection is not encrypted: token prefixes and the authentication exchange \
             are readable on the network",
            fix,
        ),
        (true, CertificateCheck::AuthorityAndName) => {
            diagnostic_pass("transport", "encrypted, with a verified server certificate")
        }
        (true, CertificateCheck::Authority) => diagnostic_warn(
            "transport",
            "encrypted, but the host name of the certificate is not verified",
            fix,
        ),
        (true, CertificateCheck::None) => diagnostic_warn(
            "transport",
            "encrypted, but the server certificate is not verified, so a man in the \
             middle could read the traffic",
            fix,
        ),
    })
}

pub(super) fn diagnose_pooler(address: &TargetAddress) -> Option<Diagnostic> {
    let transport = address.transport_security()?;
    let summary = "the address looks like that of a connection pooler: checks work through it, but a \
     canceled query may run until its timeout";
    transport.is_pooled.then(|| {
        diagnostic_warn("pooler", summary, "use the direct address of the database, or of a replica")
    })
}

pub(super) fn diagnose_watch_role(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let role = input.server_info.role.as_ref()?;
    let excess = match (role.can_write, role.can_create) {
        (true, true) => "can change sessions, and create tables and functions in the schema of the sessions",
        (true, false) => "can change sessions",
        (false, true) => "can create tables and functions in the schema of the sessions",
        (false, false) => "",
    };
    let excess = match (role.is_superuser, excess) {
        (false, "") => {
            let summary = format!("`{}` has the required read privileges and no others", role.name);
            return Some(diagnostic_pass("role", summary));
        }
        (false, excess) => excess.to_owned(),
        (true, "") => "is a superuser".to_owned(),
        (true, excess) => format!("is a superuser that {excess}"),
    };
    let summary = format!("`{}` {excess}. Checks need none of these privileges.", role.name);
    let fix = "create a read-only role; `sessionwatch grants` prints the SQL";
    Some(diagnostic_warn("role", summary, fix))
}

pub(super) fn diagnose_write_role(input: DoctorInput<'_>, write_role: &WriteRoleInfo) -> Diagnostic {
    const DIAGNOSTIC_ID: &str = "write-role";
    let fix = "create a write role; `sessionwatch grants` prints the SQL";
    let remedies = input.remedies();
    // Ordered by severity: only the first finding that applies is reported.
    match write_role {
        WriteRoleInfo::Unknown(why) => {
            diagnostic_fail(DIAGNOSTIC_ID, format!("cannot inspect the write role: {why}"), fix)
        }
        WriteRoleInfo::Inspected { name, missing_privileges, .. } if !missing_privileges.is_empty() => {
            let grants: Vec<String> =
                missing_privileges.iter().map(|lacking| remedies.grant_privilege(lacking, name)).collect();
            diagnostic_fail(
                DIAGNOSTIC_ID,
                format!("`{name}` lacks privileges to revoke or restore sessions"),
                grants.join("\n"),
            )
        }
        WriteRoleInfo::Inspected { name, hidden_tables, .. } if !hidden_tables.is_empty() => {
            let policies: Vec<String> =
                hidden_tables.iter().map(|table| remedies.allow_all_policy(table, name)).collect();
            let summary =
                format!("row-level security hides rows of {} from `{name}`", hidden_tables.join(" and "));
            diagnostic_fail(DIAGNOSTIC_ID, summary, policies.join("\n"))
        }
        WriteRoleInfo::Inspected { name, superuser: true, .. } => diagnostic_warn(
            DIAGNOSTIC_ID,
            format!("`{name}` is a superuser; plans need far fewer privileges"),
            fix,
        ),
        WriteRoleInfo::Inspected { name, .. }
            if input.server_info.role.as_ref().is_some_and(|role| role.name == *name) =>
        {
            diagnostic_warn(
                DIAGNOSTIC_ID,
                format!("`{name}` is the watch role too, which should not be able to change anything"),
                fix,
            )
        }
        WriteRoleInfo::Inspected { name, .. } => {
            diagnostic_pass(DIAGNOSTIC_ID, format!("`{name}` can revoke and restore sessions"))
        }
    }
}

pub(super) fn diagnose_search_path(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let shadowers = &input.server_info.schema_creators;
    let first = shadowers.first()?;
    // `PUBLIC` is a keyword here and must not be quoted like a role.
    let who = |shadower: &SchemaCreator| match shadower.role.as_str() {
        "PUBLIC" => "PUBLIC".to_owned(),
        role => input.connected.layout.quote_name(role),
    };
    let others = match shadowers.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let summary = format!(
        "{} can create functions in schema `{}`{others}, which is on the search path: such functions can \
         replace built-in ones in custom checks and in psql",
        who(first),
        first.schema
    );
    let fixes = shadowers.iter().map(|shadower| {
        let role = Some(shadower.role.as_str()).filter(|role| *role != "PUBLIC");
        input.remedies().revoke_create(&shadower.schema, role)
    });
    Some(diagnostic_warn("search-path", summary, fixes.collect::<Vec<_>>().join("\n")))
}

pub(super) fn diagnose_clock(input: DoctorInput<'_>) -> Option<Diagnostic> {
    // An embedded database uses the clock of this machine.
    if !input.address.capabilities().supports(Capability::ServerClock) {
        return None;
    }
    let apart = input.clocks.database_offset().abs();
    let summary = input.clocks.describe("the server");
    let fix = "synchronize both clocks with NTP";
    Some(if apart >= CLOCK_FAIL_THRESHOLD {
        diagnostic_fail("clock", summary, fix)
    } else if apart >= CLOCK_WARN_THRESHOLD {
        diagnostic_warn("clock", summary, fix)
    } else {
        diagnostic_pass("clock", summary)
    })
}

pub(super) fn diagnose_journal_mode(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let journal = input.server_info.journal_mode.as_deref()?;
    Some(if journal == "wal" {
        diagnostic_pass("journal", "write-ahead log: check runs do not block writes")
    } else {
        let fix = input.remedies().enable_wal();
        diagnostic_warn(
            "journal",
            format!("journal mode `{journal}`: the application cannot write during a check run"),
            fix,
        )
    })
}

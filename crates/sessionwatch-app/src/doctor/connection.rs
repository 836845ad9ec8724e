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
    let excess: Vec<&str> = [
        (role.is_superuser, "is a superuser"),
        (role.can_write, "may change or delete sessions"),
        (role.can_create, "may create tables and functions beside them"),
    ]
    .into_iter()
    .filter_map(|(has, what)| has.then_some(what))
    .collect();
    Some(if excess.is_empty() {
        diagnostic_pass("role", format!("`{}` has the required read privileges and no others", role.name))
    } else {
        let fix = "create a read-only role; `sessionwatch grants` prints the SQL";
        diagnostic_warn(
            "role",
            format!("`{}` {}, which checks do not need", role.name, excess.join(", ")),
            fix,
        )
    })
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
        WriteRoleInfo::Inspected { name, missing_privileges: lacks, .. } if !lacks.is_empty() => {
            let grants: Vec<String> =
                lacks.iter().map(|lacking| remedies.grant_privilege(lacking, name)).collect();
            diagnostic_fail(
                DIAGNOSTIC_ID,
                format!("`{name}` lacks privileges to revoke or restore sessions"),
                grants.join("\n"),
            )
        }
        WriteRoleInfo::Inspected { name, hidden_tables: hidden, .. } if !hidden.is_empty() => {
            let policies: Vec<String> =
                hidden.iter().map(|table| remedies.allow_all_policy(table, name)).collect();
            let summary = format!("row-level security hides rows of {} from `{name}`", hidden.join(" and "));
            diagnostic_fail(DIAGNOSTIC_ID, summary, policies.join("\n"))
        }
        WriteRoleInfo::Inspected { name, superuser: true, .. } => {
            diagnostic_warn(DIAGNOSTIC_ID, format!("`{name}` is a superuser, which plans do not need"), fix)
        }
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

//! The connection, the roles and the clocks.

use sessionwatch_targets::{
    address::{Address, CertificateCheck},
    capabilities::Capability,
    server_info::{ServerInfo, Shadower},
};

use super::{Acting, CLOCK_FAIL, CLOCK_WARN, Finding, Patient, fail, pass, warn};

pub(super) fn server(audit: &ServerInfo) -> String {
    let replica = if audit.replica { ", a replica: it may lag behind" } else { "" };
    format!("{}{replica}", audit.server)
}

pub(super) fn transport(patient: Patient<'_>) -> Option<Finding> {
    let transport = patient.address.transport()?;
    let fix = "add sslmode=verify-full to the address (and sslrootcert=FILE, if the authority is your own)";
    Some(match (patient.audit.encrypted?, transport.certificate) {
        (_, _) if transport.is_loopback => pass("transport", "the connection stays on this machine"),
        (false, _) => fail(
            "transport",
            "the connection is not encrypted: token prefixes and the password's proof cross the network in clear",
            fix,
        ),
        (true, CertificateCheck::AuthorityAndName) => {
            pass("transport", "encrypted, and the server's certificate is checked")
        }
        (true, CertificateCheck::Authority) => {
            warn("transport", "encrypted, but the certificate's host name is not checked", fix)
        }
        (true, CertificateCheck::None) => warn(
            "transport",
            "encrypted, but the server's certificate is not checked: somebody in between could read along",
            fix,
        ),
    })
}

pub(super) fn pooler(address: &Address) -> Option<Finding> {
    let transport = address.transport()?;
    let summary = "the address looks like that of a pooler: looks work through it, but a query that has to be cancelled may run on until its timeout";
    transport.is_pooled.then(|| {
        warn("pooler", summary, "use the direct address of the database, or of a replica, where there is one")
    })
}

pub(super) fn role(patient: Patient<'_>) -> Option<Finding> {
    let role = patient.audit.role.as_ref()?;
    let excess: Vec<&str> = [
        (role.superuser, "is a superuser"),
        (role.writes, "may change or remove sessions"),
        (role.creates, "may create tables and functions beside them"),
    ]
    .into_iter()
    .filter_map(|(has, what)| has.then_some(what))
    .collect();
    Some(if excess.is_empty() {
        pass("role", format!("`{}` may read what is needed, and no more", role.name))
    } else {
        let fix = "make a role that may only read: `sessionwatch grants` prints the statements";
        warn("role", format!("`{}` {}, which watching does not need", role.name, excess.join(", ")), fix)
    })
}

pub(super) fn acting_role(patient: Patient<'_>, acting: &Acting) -> Finding {
    const ID: &str = "acting-role";
    let fix = "make a role for acting: `sessionwatch grants` prints the statements";
    let remedies = patient.remedies();
    match acting {
        Acting::Unknown(why) => fail(ID, format!("the role that acts could not be asked: {why}"), fix),
        Acting::Asked { name, lacks, .. } if !lacks.is_empty() => {
            let grants: Vec<String> = lacks.iter().map(|lacking| remedies.grant(lacking, name)).collect();
            fail(ID, format!("`{name}` may not end sessions, or not put them back"), grants.join("\n"))
        }
        Acting::Asked { name, hidden, .. } if !hidden.is_empty() => {
            let policies: Vec<String> = hidden.iter().map(|table| remedies.open_rows(table, name)).collect();
            let summary = format!("row-level security hides rows of {} from `{name}`", hidden.join(" and "));
            fail(ID, summary, policies.join("\n"))
        }
        Acting::Asked { name, superuser: true, .. } => {
            warn(ID, format!("`{name}` is a superuser, which acting does not need"), fix)
        }
        Acting::Asked { name, .. } if patient.audit.role.as_ref().is_some_and(|role| role.name == *name) => {
            warn(ID, format!("`{name}` watches as well: watching should not be able to change anything"), fix)
        }
        Acting::Asked { name, .. } => pass(ID, format!("`{name}` may end sessions and put them back")),
    }
}

pub(super) fn search_path(patient: Patient<'_>) -> Option<Finding> {
    let shadowers = &patient.audit.shadowers;
    let first = shadowers.first()?;
    let who = |shadower: &Shadower| match shadower.role.as_str() {
        "PUBLIC" => "PUBLIC".to_owned(),
        role => patient.opened.layout.quoted_name(role),
    };
    let others = match shadowers.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let summary = format!(
        "{} can create functions in schema `{}`{others}, which is on the search path: they can replace built-in ones in custom checks and in psql",
        who(first),
        first.schema
    );
    let fixes = shadowers.iter().map(|shadower| {
        let role = Some(shadower.role.as_str()).filter(|role| *role != "PUBLIC");
        patient.remedies().revoke_create(&shadower.schema, role)
    });
    Some(warn("search-path", summary, fixes.collect::<Vec<_>>().join("\n")))
}

pub(super) fn clock(patient: Patient<'_>) -> Option<Finding> {
    if !patient.address.capabilities().supports(Capability::ServerClock) {
        return None;
    }
    let apart = patient.clocks.ahead().abs();
    let summary = patient.clocks.said("the server");
    let fix = "keep both machines' clocks by NTP";
    Some(if apart >= CLOCK_FAIL {
        fail("clock", summary, fix)
    } else if apart >= CLOCK_WARN {
        warn("clock", summary, fix)
    } else {
        pass("clock", summary)
    })
}

pub(super) fn journal(patient: Patient<'_>) -> Option<Finding> {
    let journal = patient.audit.journal.as_deref()?;
    Some(if journal == "wal" {
        pass("journal", "write-ahead log: a look keeps nobody from writing")
    } else {
        let fix = patient.remedies().write_ahead_log();
        warn(
            "journal",
            format!("journal mode `{journal}`: the application cannot write while a look reads"),
            fix,
        )
    })
}

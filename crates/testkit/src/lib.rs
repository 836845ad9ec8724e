//! What tests and benchmarks are made of: private, disposable PostgreSQL and PgBouncer servers and databases with the tables of
//! the operator's guide; the program as a child process, and its daemon; a client of its pages; whom alerts are sent to (an
//! Alertmanager, and sinks that keep HTTP requests and mail); and a TCP proxy that fails as networks do.

pub use self::{
    alertmanager::Alertmanager,
    certificates::Certificates,
    daemon::{Daemon, start_refused},
    http::{HttpRequest, HttpResponse, Login},
    http_sink::{Received, Sink},
    polling::{let_time_pass, wait_until, wait_until_none},
    program::{ACCOUNT_PASSWORD, ProgramOutput, add_account, check, command, json, outcome, run, run_in},
    proxy::{Fault, Proxy},
    replica::Replica,
    scene::{anomalous, clone_template, create_role, empty, healthy, left_behind, shared_tls_server},
    server::{Database, Server, shared},
    shared_versions::{shared_timescale, shared_version},
    smtp::{Encryption, Mail, MailOptions, MailSink},
    version::VERSIONS,
};

mod alertmanager;
mod certificates;
mod daemon;
pub mod http;
mod http_sink;
mod inbox;
mod polling;
mod processes;
mod program;
mod proxy;
mod replica;
pub mod scene;
mod server;
mod shared_versions;
mod smtp;
mod tcp_server;
mod version;

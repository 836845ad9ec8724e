//! Building blocks of tests and benchmarks: private, disposable PostgreSQL and PgBouncer servers, and databases with
//! the tables of the operator guide; the program and its daemon as child processes; an HTTP client; recipients of
//! alerts (an Alertmanager, and sinks that record HTTP requests and mail); and a TCP proxy that injects network faults.

pub use self::{
    alertmanager::AlertmanagerServer,
    certificates::TestCertificates,
    daemon::{DaemonProcess, start_expecting_refusal},
    fault_proxy::{FaultProxy, NetworkFault},
    http::{ClientRequest, ClientResponse, DashboardLogin},
    http_sink::{HttpSink, ReceivedRequest},
    polling::{let_time_pass, wait_until, wait_until_none_left},
    program::{
        ACCOUNT_PASSWORD, ProgramOutput, copy_program, create_account, find_check_result, program_command,
        run_check, run_for_json, run_program, run_program_in,
    },
    replica::ReplicaServer,
    sample_databases::{
        anomalous_database, clone_template, configure_healthy_target, create_role, empty_database,
        healthy_database, shared_tls_server, wait_for_remaining_queries,
    },
    server::{Database, PostgresServer, shared_server},
    server_binaries::POSTGRES_VERSIONS,
    shared_servers::{shared_server_of_version, shared_timescale_server},
    smtp::{MailEncryption, MailOptions, MailSink, ReceivedMail},
};

mod alertmanager;
mod certificates;
mod daemon;
mod fault_proxy;
pub mod http;
mod http_sink;
mod inbox;
mod polling;
mod processes;
mod program;
mod replica;
pub mod sample_databases;
mod server;
mod server_binaries;
mod shared_servers;
mod smtp;
mod tcp_server;

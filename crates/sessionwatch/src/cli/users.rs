//! `users`: the sessions of a user, and what the state store knows of the user.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use sessionwatch_app::{
    app::{
        sessions::{self, SessionList, SessionQuery, UserActivity},
        state_store,
        target_reader::TargetReader,
        users::UserSearch,
    },
    logs::{describe_log_event, log_event_json},
    output::OutputFormat,
    sanitize::{quote_for_shell, sanitize_text},
};
use sessionwatch_clock as clock;
use sessionwatch_core::plural::ListTotal;

use super::{
    Failure,
    choices::DocumentFormat,
    lists::{RAISE_LIMIT, empty_list, note_if_cut, render_list},
    sessions::{ListOutputArgs, build_ranking_table, build_session_table, note_if_cut_sessions},
    target_args::TargetArgs,
};

/// Find users, and show a user's sessions and history
#[derive(Debug, clap::Subcommand)]
pub(super) enum UsersCommand {
    /// Find users by ID, name, handle or email
    Find {
        /// Part of the ID, name, handle or email; case does not matter
        #[arg(value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        shown: ListOutputArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show sessions, log events and history of a user
    Show {
        /// User ID
        #[arg(value_name = "USER")]
        user: String,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: DocumentFormat,
        #[command(flatten)]
        target: TargetArgs,
    },
}

pub(super) fn run(args: &UsersCommand) -> Result<ExitCode, Failure> {
    match args {
        UsersCommand::Find { text, shown, target } => find_users(text, shown, target),
        UsersCommand::Show { user, format, target } => show_user(user, *format, target),
    }
}

fn find_users(text: &str, shown: &ListOutputArgs, target: &TargetArgs) -> Result<ExitCode, Failure> {
    let (config, target) = target.choose_one_located()?;
    let (reads, limit) = (TargetReader::new(&config, &target), shown.limit());
    let search = UserSearch { part: text.to_owned(), limit, counts_sessions: true };
    let found = super::block_on(async { Ok(reads.search_users(&search).await?) })?;
    note_if_cut("users", found.users.len(), found.total, RAISE_LIMIT);
    super::print_text(&render_list(&build_ranking_table(&found), shown.format(), "matching users"))?;
    Ok(ExitCode::SUCCESS)
}

fn show_user(user: &str, format: DocumentFormat, target: &TargetArgs) -> Result<ExitCode, Failure> {
    let (config, target) = target.choose_one_located()?;
    let query = SessionQuery::for_user(user);
    let reads = TargetReader::new(&config, &target);
    let listed = super::block_on(async { Ok(reads.list_sessions(&query).await?) })?;
    // Without a state store, there is nothing but the table.
    let activity = match state_store::open_existing_app(&config)? {
        Some(app) => {
            let activity = sessions::load_user_activity(&app, &target.name, user);
            super::block_on(async { Ok(activity.await?) })?
        }
        None => UserActivity::default(),
    };
    note_cut_lists(user, &listed, &activity);
    let table = build_session_table(&listed, clock::format_utc)?;
    if format == DocumentFormat::Json {
        let log_events = activity.log_events.iter().map(log_event_json).collect::<Result<Vec<Value>, _>>()?;
        let history: Vec<Value> = activity
            .history
            .iter()
            .map(|event| json!({ "at": clock::format_rfc3339(event.at), "summary": event.summary }))
            .collect();
        let document = json!({
            "schema": 2, "target": target.name, "user": user, "sessions": table.json_rows,
            "log_events": log_events, "history": history,
        });
        super::print_text(&format!("{document:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("User {} on {}\n\n", sanitize_text(user), sanitize_text(&target.name));
    text.push_str(&if table.rows.is_empty() {
        empty_list("sessions")
    } else {
        table.render(OutputFormat::Table)
    });
    if !activity.log_events.is_empty() {
        text.push_str("\nLog events:\n");
    }
    for event in &activity.log_events {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  {}", describe_log_event(event));
    }
    if !activity.history.is_empty() {
        text.push_str("\nHistory:\n");
    }
    for event in &activity.history {
        let _ = writeln!(text, "  {}  {}", clock::format_utc(event.at), sanitize_text(&event.summary));
    }
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a note on stderr for each list that is cut.
fn note_cut_lists(user: &str, listed: &SessionList, activity: &UserActivity) {
    let user = quote_for_shell(user);
    note_if_cut_sessions(listed, &format!("`sessionwatch sessions list --user {user} --limit N` lists more"));
    let events = ListTotal::Exactly(activity.log_event_count);
    let advice = format!("`sessionwatch logs events --user {user} --since 30d --limit N` lists more");
    note_if_cut("log events", activity.log_events.len(), events, &advice);
    let history = ListTotal::Exactly(activity.history_count);
    note_if_cut("history", activity.history.len(), history, "the latest are listed");
}

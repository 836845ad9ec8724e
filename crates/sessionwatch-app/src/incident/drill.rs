//! Incident drills: the schema and a sample of the sessions in a scratch database, with a planted leak. Tokens are not
//! copied but generated; names, IP addresses and user agents are left out.

pub mod leftovers;

use std::{
    collections::BTreeSet,
    fs::File,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use futures_util::FutureExt as _;
use sessionwatch_store::{Store, StoreLocation};
use sessionwatch_targets::{
    address::TargetAddress,
    connect::ConnectedTarget,
    drill_database::{self, SampleScript, ScratchLocation, SessionSample},
    layout::storage_setting::ProfileSource,
    mapping::Mapping,
    sql::SessionListQuery,
};

use self::leftovers::LeftoverDatabase;
use crate::{
    config::Target,
    remediation::{ActionContext, ActionError, write_credentials},
};

/// Name of the target of a drill.
pub const TARGET_NAME: &str = "drill";
/// Maximum number of sessions in the sample.
const SAMPLE_SIZE: usize = 500;

/// Scratch database of a drill.
pub struct DrillDatabase {
    /// Target for the drill.
    pub target: Target,
    /// Store of the drill's plans and archives.
    pub store: Store,
    /// Users who share the leaked token.
    pub affected: BTreeSet<String>,
    artifacts: DrillArtifacts,
}

/// Files and database of a drill, removed at its end.
#[derive(Debug, Default)]
struct DrillArtifacts {
    files: Vec<PathBuf>,
    database: Option<ScratchLocation>,
    /// File that stays locked while the drill runs.
    lock: Option<File>,
}

/// Returns the folder for files of drills: that of the store, or the current one if the store is on a server.
#[must_use]
pub fn drill_folder(store: &StoreLocation) -> PathBuf {
    match store {
        StoreLocation::File(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        StoreLocation::Server(_) => PathBuf::new(),
    }
}

/// Creates a scratch database with a planted leak, in the folder or on the server of the target.
///
/// # Errors
///
/// Fails if the target cannot be read, lacks sessions of two users, or the role may not create a database.
pub async fn prepare_drill(context: ActionContext<'_>, folder: &Path) -> Result<DrillDatabase, ActionError> {
    let sample = take_sample(context).await?;
    let name = leftovers::drill_name(random_drill_number());
    let script = sample
        .build_script(context.clock.now().micros())
        .ok_or(ActionError::Unexpected("a drill needs sessions from at least two users"))?;
    let mapping = sample.layout.candidate.mapping;
    let mut artifacts = DrillArtifacts::default();
    match create_drill_database(context, folder, &name, &script, &mut artifacts).await {
        Ok((address, store)) => {
            let target = Target {
                name: TARGET_NAME.into(),
                address,
                // The scratch database has the same tables, so the layout need not be detected.
                profile_source: ProfileSource::Explicit(Box::new(Mapping { accounts: None, ..mapping })),
                known_layout: None,
                replica_address: None,
                // The role that created the scratch database owns its tables.
                write_address: None,
                write_address_problem: None,
                is_ad_hoc: true,
                auto_cleanup: None,
                ..context.target.clone()
            };
            Ok(DrillDatabase { target, store, affected: script.affected_users, artifacts })
        }
        Err(error) => match artifacts.remove().await {
            None => Err(error),
            Some(left) => Err(ActionError::DrillLeft(error.to_string(), left)),
        },
    }
}

/// Creates the database and the store of a drill. Each file is recorded before it is created, so that a failure leaves
/// nothing behind.
async fn create_drill_database(
    context: ActionContext<'_>,
    folder: &Path,
    name: &str,
    script: &SampleScript,
    made: &mut DrillArtifacts,
) -> Result<(TargetAddress, Store), ActionError> {
    let lock = leftovers::lock_path(folder, name);
    made.files.push(lock.clone());
    made.lock = Some(leftovers::create_lock_file(&lock).map_err(|_| ActionError::Unwritable(lock))?);
    let place = ScratchLocation::beside_target(
        &context.target.address,
        write_credentials::write_address(context)?,
        folder,
        name,
    );
    if let ScratchLocation::File(path) = &place {
        made.files.push(path.clone());
    }
    made.database = Some(place.clone());
    let address = place.create_database(script, &leftovers::database_comment(context.clock.now())).await?;
    let state = folder.join(format!("{name}-state.db"));
    made.files.push(state.clone());
    Ok((address, Store::open(&StoreLocation::File(state))?))
}

fn random_drill_number() -> u32 {
    rand::random()
}

/// Demo database for a drill, in the current folder. Dropping this value deletes it.
#[derive(Debug)]
pub struct DrillDemoFile {
    path: PathBuf,
    lock: PathBuf,
    _lock_file: File,
}

impl DrillDemoFile {
    /// Reserves a unique file name.
    ///
    /// # Errors
    ///
    /// Fails if the folder is not writable.
    pub fn reserve() -> Result<Self, ActionError> {
        let name = leftovers::drill_name(random_drill_number());
        let lock = leftovers::lock_path(Path::new(""), &name);
        let locked = leftovers::create_lock_file(&lock).map_err(|_| ActionError::Unwritable(lock.clone()))?;
        Ok(Self { path: PathBuf::from(format!("{name}-demo.db")), lock, _lock_file: locked })
    }

    /// Returns the path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DrillDemoFile {
    fn drop(&mut self) {
        remove_files(&[self.path.clone(), self.lock.clone()]);
    }
}

impl DrillDatabase {
    /// Runs `work` with the database, and removes everything created for the drill afterwards, even after a panic,
    /// which is resumed. Returns the result, and how to remove what could not be removed.
    pub async fn run_and_remove<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> (T, Option<String>) {
        let worked = AssertUnwindSafe(work(&self)).catch_unwind().await;
        let left = self.remove().await;
        match worked {
            Ok(done) => (done, left),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Removes everything created for the drill. Returns how to remove the rest by hand; `None` if nothing is left.
    pub async fn remove(self) -> Option<String> {
        drop(self.store);
        self.artifacts.remove().await
    }

    /// Returns the statement or command that removes the drill by hand, should this process be killed.
    #[must_use]
    pub fn manual_removal(&self) -> String {
        self.artifacts.manual_removal()
    }
}

impl DrillArtifacts {
    async fn remove(self) -> Option<String> {
        let by_hand = self.manual_removal();
        let dropped = match &self.database {
            Some(place) => place.drop_database().await,
            None => true,
        };
        remove_files(&self.files);
        (!dropped).then_some(by_hand)
    }

    fn manual_removal(&self) -> String {
        match self.database.as_ref().and_then(ScratchLocation::manual_removal) {
            Some(statement) => statement,
            None => {
                let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
                format!("rm {}", names.join(" "))
            }
        }
    }
}

fn remove_files(files: &[PathBuf]) {
    for file in files {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = file.clone().into_os_string();
            name.push(end);
            // Most of these files do not exist.
            let _ = std::fs::remove_file(name);
        }
    }
}

/// Removes the leftovers of drills whose process is gone. Returns a line for each, and for possible leftovers of other
/// drills.
pub async fn remove_leftovers(context: ActionContext<'_>, folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for left in leftovers::find_leftover_files(folder) {
        let names = left.joined_names();
        match left.state {
            leftovers::DrillState::Running => {}
            leftovers::DrillState::Abandoned => {
                remove_files(&left.files);
                lines.push(format!("removed leftovers of a killed drill: {names}"));
            }
            leftovers::DrillState::Unknown => lines
                .push(format!("possible leftovers of a killed drill; if no drill is running: rm {names}")),
        }
    }
    if let Ok(admin) = write_credentials::write_address(context) {
        lines.extend(remove_leftover_databases(admin, context.target.address.to_string()).await);
    }
    lines
}

async fn remove_leftover_databases(admin: &TargetAddress, server: String) -> Vec<String> {
    let mut lines = Vec::new();
    for database in drill_database::list_databases(admin, leftovers::DRILL_NAME_PREFIX).await {
        let left = LeftoverDatabase::parse(&database.name, database.comment.as_deref());
        let Some(left) = left.filter(|left| left.state != leftovers::DrillState::Running) else { continue };
        let what = left.describe();
        if left.state == leftovers::DrillState::Abandoned
            && drill_database::drop_unused_database(admin, &left.name).await
        {
            lines.push(format!("removed {what}, left by a killed drill"));
        } else {
            let statement = left.drop_statement();
            lines.push(format!(
                "{what} is on the server of {server}; if that drill is no longer running: {statement}"
            ));
        }
    }
    lines
}

/// Reads a sample of the sessions and the layout of the target.
async fn take_sample(context: ActionContext<'_>) -> Result<SessionSample, ActionError> {
    let target = context.target;
    let mut opened = ConnectedTarget::open(target.connect_options(&context.config.catalogue)).await?;
    // A drill does not need personal data.
    let mapping = &mut opened.layout.candidate.mapping;
    if let Some(users) = &mut mapping.users {
        users.display.clear();
    }
    (mapping.ip, mapping.agent) = (None, None);
    let list = SessionListQuery { ascending: false, ..SessionListQuery::all(SAMPLE_SIZE) };
    let scope = opened.query_scope(false, &context.config.checks.thresholds);
    let lines = opened.session.list_sessions(&scope, list).await;
    let ConnectedTarget { session, layout, .. } = opened;
    session.close().await;
    Ok(SessionSample { layout, sessions: lines? })
}

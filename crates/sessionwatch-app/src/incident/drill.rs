//! A drill: the schema and a sample of the sessions in a database of its own, with a leak in it. No token is copied: the
//! sample gets new ones. No name, address or device of a user is copied either.

pub mod leftovers;

use std::{
    collections::BTreeSet,
    fs::File,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use futures_util::FutureExt as _;
use sessionwatch_store::{Place, Store};
use sessionwatch_targets::{
    address::Address,
    connect::ConnectedTarget,
    layout::source::ProfileSource,
    mapping::Mapping,
    scratch_database::{self, SampleScript, ScratchPlace, SessionSample},
    sql::List,
};

use self::leftovers::Leftover;
use crate::{
    config::Target,
    remediation::{ActError, Context, view},
};

/// The name of the target that a drill runs on.
pub const TARGET_NAME: &str = "drill";
/// Sessions of the sample.
const SAMPLE_SIZE: usize = 500;

/// A database for a drill.
pub struct DrillDatabase {
    /// As a target.
    pub target: Target,
    /// Where its plans and archives are.
    pub store: Store,
    /// The users who share a token.
    pub affected: BTreeSet<String>,
    made: Made,
}

/// What was made for a drill, and is to be removed.
#[derive(Debug, Default)]
struct Made {
    files: Vec<PathBuf>,
    database: Option<ScratchPlace>,
    /// Locked as long as the drill runs.
    lock: Option<File>,
}

/// The folder in which the files of drills are: that of the store, or the present one where that is on a server.
#[must_use]
pub fn folder(store: &Place) -> PathBuf {
    match store {
        Place::File(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        Place::Server(_) => PathBuf::new(),
    }
}

/// Makes a database for a drill, in that folder or on the server of the target.
///
/// # Errors
///
/// If the target cannot be looked at, has no sessions of two users, or its server lets no database be made.
pub async fn prepare(context: Context<'_>, folder: &Path) -> Result<DrillDatabase, ActError> {
    let sample = sample(context).await?;
    let name = leftovers::name(number());
    let script = sample
        .script(context.clock.now().micros())
        .ok_or(ActError::Unexpected("a drill needs sessions of at least two users to take a sample of"))?;
    let mapping = sample.layout.candidate.mapping;
    let mut made = Made::default();
    match make(context, folder, &name, &script, &mut made).await {
        Ok((address, store)) => {
            let target = Target {
                name: TARGET_NAME.into(),
                address,
                storage: ProfileSource::Explicit(Box::new(Mapping { accounts: None, ..mapping })),
                known: None,
                replica: None,
                act: None,
                act_missing: None,
                ad_hoc: true,
                cleanup: None,
                ..context.target.clone()
            };
            Ok(DrillDatabase { target, store, affected: script.affected, made })
        }
        Err(error) => match made.remove().await {
            None => Err(error),
            Some(left) => Err(ActError::DrillLeft(error.to_string(), left)),
        },
    }
}

/// Makes the database and the store of a drill, and notes what has to be removed before it is made.
async fn make(
    context: Context<'_>,
    folder: &Path,
    name: &str,
    script: &SampleScript,
    made: &mut Made,
) -> Result<(Address, Store), ActError> {
    let lock = leftovers::lock_path(folder, name);
    made.files.push(lock.clone());
    made.lock = Some(leftovers::lock(&lock).map_err(|_| ActError::Unwritable(lock))?);
    let place = ScratchPlace::beside(&context.target.address, view::address(context)?, folder, name);
    if let ScratchPlace::File(path) = &place {
        made.files.push(path.clone());
    }
    made.database = Some(place.clone());
    let address = place.create(script, &leftovers::comment(context.clock.now())).await?;
    let state = folder.join(format!("{name}-state.db"));
    made.files.push(state.clone());
    Ok((address, Store::open(&Place::File(state))?))
}

/// A number for a drill that no other one has.
fn number() -> u32 {
    rand::random()
}

/// The demonstration on which a drill runs, in the present folder: removed with this value.
#[derive(Debug)]
pub struct Demonstration {
    path: PathBuf,
    lock: PathBuf,
    _locked: File,
}

impl Demonstration {
    /// Names one that nobody else uses.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn named() -> Result<Self, ActError> {
        let name = leftovers::name(number());
        let lock = leftovers::lock_path(Path::new(""), &name);
        let locked = leftovers::lock(&lock).map_err(|_| ActError::Unwritable(lock.clone()))?;
        Ok(Self { path: PathBuf::from(format!("{name}-demo.db")), lock, _locked: locked })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        remove(&[self.path.clone(), self.lock.clone()]);
    }
}

impl DrillDatabase {
    /// Works with the database, and removes everything that was made for the drill, however the work ends: also by a panic,
    /// which goes on after that. Returns what the work gave, and what could not be removed, in words.
    pub async fn use_and_remove<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> (T, Option<String>) {
        let worked = AssertUnwindSafe(work(&self)).catch_unwind().await;
        let left = self.remove().await;
        match worked {
            Ok(done) => (done, left),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Removes everything that was made for the drill. Returns what could not be removed, in words.
    pub async fn remove(self) -> Option<String> {
        drop(self.store);
        self.made.remove().await
    }

    /// What has to be removed by hand if this process does not come to it.
    #[must_use]
    pub fn by_hand(&self) -> String {
        self.made.by_hand()
    }
}

impl Made {
    async fn remove(self) -> Option<String> {
        let by_hand = self.by_hand();
        let dropped = match &self.database {
            Some(place) => place.drop_database().await,
            None => true,
        };
        remove(&self.files);
        (!dropped).then_some(by_hand)
    }

    fn by_hand(&self) -> String {
        match self.database.as_ref().and_then(ScratchPlace::by_hand) {
            Some(statement) => statement,
            None => {
                let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
                format!("rm {}", names.join(" "))
            }
        }
    }
}

fn remove(files: &[PathBuf]) {
    for file in files {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = file.clone().into_os_string();
            name.push(end);
            // Not each of them was made.
            let _ = std::fs::remove_file(name);
        }
    }
}

/// Removes what drills left whose process is gone. Returns that, and what may be left of others, in words.
pub async fn clear(context: Context<'_>, folder: &Path) -> Vec<String> {
    let mut said = Vec::new();
    for left in leftovers::files_of(folder) {
        let names = left.names();
        match left.state {
            leftovers::State::Running => {}
            leftovers::State::Abandoned => {
                remove(&left.files);
                said.push(format!("removed what a drill had left that was killed: {names}"));
            }
            leftovers::State::Unknown => said.push(format!(
                "files may be left of a drill that was killed; if no drill is running: rm {names}"
            )),
        }
    }
    if let Ok(admin) = view::address(context) {
        said.extend(clear_databases(admin, context.target.address.to_string()).await);
    }
    said
}

async fn clear_databases(admin: &Address, server: String) -> Vec<String> {
    let mut said = Vec::new();
    for database in scratch_database::list(admin, leftovers::PREFIX).await {
        let left = Leftover::of(&database.name, database.comment.as_deref());
        let Some(left) = left.filter(|left| left.state != leftovers::State::Running) else { continue };
        let what = left.said();
        if left.state == leftovers::State::Abandoned && scratch_database::drop_unused(admin, &left.name).await
        {
            said.push(format!("removed {what}, which had left it when it was killed"));
        } else {
            let statement = left.drop_statement();
            said.push(format!(
                "{what} is on the server of {server}; if that drill is not running any more: {statement}"
            ));
        }
    }
    said
}

/// Some sessions of the target, and how it stores them.
async fn sample(context: Context<'_>) -> Result<SessionSample, ActError> {
    let target = context.target;
    let mut opened = ConnectedTarget::open(target.connect_options(&context.config.catalogue)).await?;
    // Whoever rehearses needs nobody's name, address or device.
    let mapping = &mut opened.layout.candidate.mapping;
    if let Some(users) = &mut mapping.users {
        users.display.clear();
    }
    (mapping.ip, mapping.agent) = (None, None);
    let list = List { ascending: false, ..List::all(SAMPLE_SIZE) };
    let scope = opened.scope(false, &context.config.rules.thresholds);
    let lines = opened.session.list(&scope, list).await;
    let ConnectedTarget { session, layout, .. } = opened;
    session.close().await;
    Ok(SessionSample { layout, lines: lines? })
}

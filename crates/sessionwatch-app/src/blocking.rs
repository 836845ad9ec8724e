//! How async code does what blocks its thread: the store, files of SQLite, sealing, large scans.
//!
//! A task that blocked would hold up every other task of its thread. What blocks runs on threads for that, with the sockets
//! and timers of the one runtime.

use sessionwatch_store::{Store, StoreError, transaction::Tx};
use tokio::{runtime::Handle, sync::oneshot, task::JoinError};

/// Does work that blocks. A panic of the work goes on in the task that waits for it.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_and_wait(work).await {
        Ok(done) => done,
        Err(error) => resume_panic(error).await,
    }
}

/// Does work that blocks. Returns `None` if it ended in a panic.
pub async fn run_catching<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_and_wait(work).await.ok()
}

async fn spawn_and_wait<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let (sender, receiver) = oneshot::channel();
    // Boxed, so that the machinery of a task is compiled once and not for each of about a hundred closures. Nobody
    // hears of the outcome if nobody waits for it any more.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || drop(sender.send(work())));
    tokio::task::spawn_blocking(work).await?;
    Ok(receiver.await.expect("work that ended without a panic sent its outcome"))
}

/// Runs a future that blocks now and then, as what opens a file of SQLite does.
pub async fn run_async<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let runtime = Handle::current();
    run(move || runtime.block_on(work())).await
}

/// The same. Returns `None` if it ended in a panic.
pub async fn run_async_catching<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> Option<T> {
    let runtime = Handle::current();
    run_catching(move || runtime.block_on(work())).await
}

/// Reads the store.
///
/// # Errors
///
/// As [`Store::read`].
pub async fn read_store<T: Send + 'static>(
    store: &Store,
    work: impl Fn(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    run(move || store.read(work)).await
}

/// Writes the store, in one transaction.
///
/// # Errors
///
/// As [`Store::write`].
pub async fn write_store<T: Send + 'static>(
    store: &Store,
    work: impl Fn(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    run(move || store.write(work)).await
}

/// What becomes of a task whose work has no result.
async fn resume_panic<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_blocks_runs_apart_and_may_use_timers() {
        let here = std::thread::current().id();
        assert_ne!(run(move || std::thread::current().id()).await, here);
        let there = run_async(async move || {
            let mut interval = tokio::time::interval(std::time::Duration::from_millis(1));
            let first = interval.tick().await;
            interval.tick().await > first
        });
        assert!(there.await, "the timer of the runtime ran");
    }

    #[tokio::test]
    async fn a_panic_is_caught_or_goes_on() {
        assert_eq!(run_catching::<()>(|| panic!("a bug")).await, None);
        assert_eq!(run_async_catching::<()>(async || panic!("a bug")).await, None);
        let task = tokio::spawn(run::<()>(|| panic!("a bug")));
        assert!(task.await.unwrap_err().is_panic());
    }
}

//! Runs blocking work from async code: store access, SQLite files, encryption, large scans.
//!
//! A task that blocks would hold up every other task of its thread. Blocking work runs on separate threads, and uses
//! the sockets and timers of the same runtime.

use sessionwatch_store::{Store, StoreError, transaction::Tx};
use tokio::{runtime::Handle, sync::oneshot, task::JoinError};

/// Runs blocking work. A panic is propagated to the caller.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_and_wait(work).await {
        Ok(done) => done,
        Err(error) => resume_panic(error).await,
    }
}

/// Runs blocking work. Returns `None` if it panicked.
pub async fn run_catching<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_and_wait(work).await.ok()
}

async fn spawn_and_wait<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let (sender, receiver) = oneshot::channel();
    // Boxed, so that the task code is compiled once and not for each of about a hundred closures. Sending fails only if
    // the caller was dropped.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || drop(sender.send(work())));
    tokio::task::spawn_blocking(work).await?;
    Ok(receiver.await.expect("work that ended without a panic sent its outcome"))
}

/// Runs a future that sometimes blocks, such as one that opens a SQLite file.
pub async fn run_async<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let runtime = Handle::current();
    run(move || runtime.block_on(work())).await
}

/// Runs a future that sometimes blocks. Returns `None` if it panicked.
pub async fn run_async_catching<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> Option<T> {
    let runtime = Handle::current();
    run_catching(move || runtime.block_on(work())).await
}

/// Reads the store on a blocking thread.
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

/// Writes the store on a blocking thread, in one transaction.
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

/// Resumes the panic of a task, or waits forever if the runtime cancelled it.
async fn resume_panic<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime is shutting down, and drops this task with it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocking_work_runs_on_another_thread_and_may_use_timers() {
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
    async fn a_panic_is_caught_or_propagated() {
        assert_eq!(run_catching::<()>(|| panic!("a bug")).await, None);
        assert_eq!(run_async_catching::<()>(async || panic!("a bug")).await, None);
        let task = tokio::spawn(run::<()>(|| panic!("a bug")));
        assert!(task.await.unwrap_err().is_panic());
    }
}

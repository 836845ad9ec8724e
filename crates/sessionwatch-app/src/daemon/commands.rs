//! Orders the daemon's commands: a stop comes first, and of several reloads only the last one counts.

use tokio::sync::mpsc::UnboundedReceiver;

use super::DaemonCommand;
use crate::config::{Config, ConfigError};

/// Commands that have not been executed yet.
#[derive(Debug)]
pub(super) struct CommandQueue {
    received: UnboundedReceiver<DaemonCommand>,
    /// A count, since the second stop shuts down without waiting.
    pending_stops: u64,
    pending_reload: Option<Box<Result<Config, ConfigError>>>,
}

impl CommandQueue {
    pub(super) const fn new(received: UnboundedReceiver<DaemonCommand>) -> Self {
        Self { received, pending_stops: 0, pending_reload: None }
    }

    fn enqueue(&mut self, command: DaemonCommand) {
        match command {
            DaemonCommand::Stop => self.pending_stops += 1,
            DaemonCommand::Reload(config) => self.pending_reload = Some(config),
        }
    }

    fn drain_received(&mut self) {
        // Drained each time, so that of several queued reloads only the newest file is applied.
        while let Ok(command) = self.received.try_recv() {
            self.enqueue(command);
        }
    }

    /// Returns `true` if a stop is pending.
    pub(super) fn check_stop_requested(&mut self) -> bool {
        self.drain_received();
        self.pending_stops > 0
    }

    /// Waits for the next command. Returns `None` once all senders are gone.
    pub(super) async fn next_command(&mut self) -> Option<DaemonCommand> {
        // Before waiting: a stop that is queued behind reloads must win.
        self.drain_received();
        if self.pending_stops == 0 && self.pending_reload.is_none() {
            let command = self.received.recv().await?;
            self.enqueue(command);
            self.drain_received();
        }
        if self.pending_stops > 0 {
            self.pending_stops -= 1;
            return Some(DaemonCommand::Stop);
        }
        self.pending_reload.take().map(DaemonCommand::Reload)
    }

    /// Waits for another stop while the daemon is shutting down.
    pub(super) async fn wait_for_second_stop(&mut self) {
        loop {
            match self.next_command().await {
                Some(DaemonCommand::Stop) => return,
                // A reload during shutdown is pointless.
                Some(DaemonCommand::Reload(_)) => {}
                // Without senders no second stop can come, so the shutdown runs to its end.
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn configuration(targets: usize) -> DaemonCommand {
        let target = |number| format!("[[target]]\nname = \"t{number}\"\nurl = \"sqlite:a.db\"\n");
        let text: String = (0..targets).map(target).collect();
        DaemonCommand::Reload(Box::new(Config::parse(std::path::Path::new("/x/sessionwatch.toml"), &text)))
    }

    fn targets(command: Option<DaemonCommand>) -> usize {
        let Some(DaemonCommand::Reload(config)) = command else { panic!("{command:?}") };
        config.unwrap().targets.len()
    }

    #[tokio::test]
    async fn the_last_reload_wins_and_stop_comes_first() {
        let (sender, received) = unbounded_channel();
        let mut commands = CommandQueue::new(received);
        (1..=80).for_each(|targets| sender.send(configuration(targets)).unwrap());
        assert_eq!(targets(commands.next_command().await), 80);
        (1..=80).for_each(|targets| sender.send(configuration(targets)).unwrap());
        assert!(!commands.check_stop_requested());
        sender.send(DaemonCommand::Stop).unwrap();
        sender.send(configuration(3)).unwrap();
        sender.send(DaemonCommand::Stop).unwrap();
        assert!(commands.check_stop_requested());
        assert!(matches!(commands.next_command().await, Some(DaemonCommand::Stop)));
        commands.wait_for_second_stop().await;
        assert_eq!(targets(commands.next_command().await), 3);
        drop(sender);
        assert!(commands.next_command().await.is_none());
    }
}

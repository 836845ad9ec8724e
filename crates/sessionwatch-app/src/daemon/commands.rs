//! What is asked of the daemon, in the order in which it is done: to stop comes first, and of several configurations only the
//! last one is used.

use tokio::sync::mpsc::UnboundedReceiver;

use super::Command;
use crate::config::{Config, ConfigError};

/// What waits to be done.
#[derive(Debug)]
pub(super) struct Commands {
    received: UnboundedReceiver<Command>,
    /// How often the daemon was asked to stop, and has not been told yet.
    stops: u64,
    reload: Option<Box<Result<Config, ConfigError>>>,
}

impl Commands {
    pub(super) const fn new(received: UnboundedReceiver<Command>) -> Self {
        Self { received, stops: 0, reload: None }
    }

    fn take_in(&mut self, command: Command) {
        match command {
            Command::Stop => self.stops += 1,
            Command::Reload(config) => self.reload = Some(config),
        }
    }

    /// Takes in what has been asked meanwhile.
    fn catch_up(&mut self) {
        while let Ok(command) = self.received.try_recv() {
            self.take_in(command);
        }
    }

    /// Returns `true` if the daemon is to stop.
    pub(super) fn is_stop_asked(&mut self) -> bool {
        self.catch_up();
        self.stops > 0
    }

    /// What to do next. Returns `None` once nobody is left who could ask.
    pub(super) async fn next(&mut self) -> Option<Command> {
        self.catch_up();
        if self.stops == 0 && self.reload.is_none() {
            let command = self.received.recv().await?;
            self.take_in(command);
            self.catch_up();
        }
        if self.stops > 0 {
            self.stops -= 1;
            return Some(Command::Stop);
        }
        self.reload.take().map(Command::Reload)
    }

    /// Waits until the daemon, which is stopping, is asked to stop once more.
    pub(super) async fn asked_again(&mut self) {
        loop {
            match self.next().await {
                Some(Command::Stop) => return,
                // It is too late for that.
                Some(Command::Reload(_)) => {}
                // Nobody who could ask is nobody who asks.
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn configuration(targets: usize) -> Command {
        let target = |number| format!("[[target]]\nname = \"t{number}\"\nurl = \"sqlite:a.db\"\n");
        let text: String = (0..targets).map(target).collect();
        Command::Reload(Box::new(Config::parse(std::path::Path::new("/x/sessionwatch.toml"), &text)))
    }

    fn targets(command: Option<Command>) -> usize {
        let Some(Command::Reload(config)) = command else { panic!("{command:?}") };
        config.unwrap().targets.len()
    }

    #[tokio::test]
    async fn the_last_configuration_is_used_and_to_stop_comes_first() {
        let (sender, received) = unbounded_channel();
        let mut commands = Commands::new(received);
        (1..=80).for_each(|targets| sender.send(configuration(targets)).unwrap());
        assert_eq!(targets(commands.next().await), 80);
        (1..=80).for_each(|targets| sender.send(configuration(targets)).unwrap());
        assert!(!commands.is_stop_asked());
        sender.send(Command::Stop).unwrap();
        sender.send(configuration(3)).unwrap();
        sender.send(Command::Stop).unwrap();
        assert!(commands.is_stop_asked());
        assert!(matches!(commands.next().await, Some(Command::Stop)));
        commands.asked_again().await;
        assert_eq!(targets(commands.next().await), 3);
        drop(sender);
        assert!(commands.next().await.is_none());
    }
}

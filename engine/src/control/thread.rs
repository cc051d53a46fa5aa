//! The control thread's loop.

use super::handle::Command;
use super::session::Session;
use super::{EngineError, Inbox};
use crate::announce::AnnounceUpdate;
use crate::limits::SNAPSHOT_INTERVAL;
use tokio::sync::mpsc;

/// Runs the session until it is told to stop and has stopped.
///
/// # Errors
/// When the resume store cannot be read.
pub async fn run(
    mut session: Session,
    mut commands: mpsc::Receiver<Command>,
    mut announces: mpsc::Receiver<AnnounceUpdate>,
    mut inbox: Inbox,
) -> Result<(), EngineError> {
    session.load()?;
    session.refresh(true);
    let mut ticks = tokio::time::interval(SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !session.is_stopping() {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => session.on_command(command),
                None => break,
            },
            message = inbox.next() => session.on_shard(message),
            Some(update) = announces.recv() => session.on_announce(update),
            _ = ticks.tick() => session.refresh(false),
        }
    }
    session.stop(&mut inbox).await;
    Ok(())
}

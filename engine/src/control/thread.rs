//! The control thread's loop: it brings the session what happens, and has done what the session asks for.

use super::Inbox;
use super::loader::Loading;
use super::session::Session;
use super::work::{Done, Workers};
use crate::limits::SNAPSHOT_INTERVAL;
use ringseed_announce::AnnounceUpdate;
use ringseed_handle::Command;
use ringseed_handle::EngineError;
use tokio::sync::mpsc;

/// Runs the session until it is told to stop and has stopped. `loader` hands over the stored torrents meanwhile.
///
/// # Errors
/// When the resume store cannot be read.
pub async fn run(
    mut session: Session,
    (workers, mut ended): (Workers, mpsc::Receiver<Done>),
    mut commands: mpsc::Receiver<Command>,
    mut announces: mpsc::Receiver<AnnounceUpdate>,
    mut inbox: Inbox,
    mut loader: Option<mpsc::Receiver<Loading>>,
) -> Result<(), EngineError> {
    session.refresh(true);
    let mut ticks = tokio::time::interval(SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !session.is_stopping() {
        tokio::select! {
            command = commands.recv(), if session.takes_commands() => match command {
                Some(command) => session.on_command(command),
                None => break,
            },
            message = next(&mut loader) => session.on_loading(message)?,
            message = inbox.next() => session.on_shard(message),
            Some(done) = ended.recv() => {
                session.on_done(done);
                // What has ended by now is entered in one transaction.
                while let Ok(done) = ended.try_recv() {
                    session.on_done(done);
                }
            }
            Some(update) = announces.recv() => session.on_announce(update),
            _ = ticks.tick() => session.refresh(false),
            // The RPC and all else on this thread come in between.
            () = tokio::task::yield_now(), if session.is_behind() => session.catch_up(),
        }
        session.go_on_adding();
        session.flush();
        session.take_work().into_iter().for_each(|work| workers.begin(work));
    }
    session.begin_end();
    loop {
        session.take_work().into_iter().for_each(|work| workers.begin(work));
        if session.has_ended() {
            return Ok(());
        }
        tokio::select! {
            message = inbox.next() => session.on_shard(message),
            Some(done) = ended.recv() => session.on_done(done),
            () = tokio::time::sleep_until(session.ends_by().into()) => {}
        }
        session.go_on_ending();
    }
}

/// The loader's next message; never resolves once it has ended.
async fn next(loader: &mut Option<mpsc::Receiver<Loading>>) -> Loading {
    if let Some(messages) = loader {
        if let Some(message) = messages.recv().await {
            return message;
        }
        *loader = None;
    }
    std::future::pending().await
}

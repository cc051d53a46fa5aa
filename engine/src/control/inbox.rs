//! The control thread's end of the shards' mailbox, waited for by tokio.

use crate::shard::mailbox::Receiver;
use crate::shard::message::FromShard;
use std::io;
use tokio::io::unix::AsyncFd;

/// Messages of shards.
pub struct Inbox(AsyncFd<Receiver<FromShard>>);

impl Inbox {
    /// Waits for `receiver` on the current tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the descriptor.
    pub fn new(receiver: Receiver<FromShard>) -> io::Result<Self> {
        // SAFETY: a receiver owns its eventfd and keeps it open until it is dropped, which `AsyncFd` does
        // after deregistering it; its `as_raw_fd` names that one descriptor at every call.
        unsafe { AsyncFd::register(receiver) }.map(Self).map_err(io::Error::from)
    }

    /// The next message. Cancel-safe: a message is only taken when it is returned.
    pub async fn next(&mut self) -> FromShard {
        loop {
            if let Some(message) = self.0.get_ref().pop() {
                return message;
            }
            match self.0.readable().await {
                Ok(mut ready) => {
                    ready.get_inner().acknowledge();
                    ready.clear_ready();
                }
                // The descriptor is ours and open; should the runtime fail, look again a little later.
                Err(_) => tokio::time::sleep(crate::limits::SNAPSHOT_INTERVAL).await,
            }
        }
    }
}

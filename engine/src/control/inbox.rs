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
        AsyncFd::new(receiver).map(Self)
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

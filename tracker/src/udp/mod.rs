//! The UDP front end (BEP 15, BEP 41): one thread per socket that receives, answers and sends in batches.

mod answer;
mod batch;
mod sender;

use std::io;
use std::net::{Shutdown, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use socket2::SockRef;

use self::answer::Answerer;
use self::batch::Batch;
pub use self::sender::{Reply, Sender};
use crate::limits::{
    SHORTAGE_PAUSE, UDP_LOOK_AHEAD_MIN, UDP_PAUSE, UDP_PAUSE_BATCHES, UDP_RECEIVE_BUFFER_BYTES, UDP_WAIT_MAX,
};
use crate::shared::Shared;

/// Prepares a socket for [`serve`]: room for bursts, and a bound for how long it waits.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    // The kernel cuts it to `net.core.rmem_max`.
    SockRef::from(socket).set_recv_buffer_size(UDP_RECEIVE_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(UDP_WAIT_MAX))
}

/// Receives and answers until the tracker stops.
pub(crate) fn serve(shared: &Arc<Shared>, socket: &UdpSocket) {
    let mut batch = Batch::new();
    let sender = Sender::new(socket);
    let mut answerer = Answerer::new(shared.clone());
    loop {
        let received = batch.receive(socket);
        if shared.is_stopping() {
            return;
        }
        let count = match received {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => {
                shared.metrics.udp_receive_errors.inc();
                tracing::debug!(%error, "cannot receive datagrams");
                std::thread::sleep(SHORTAGE_PAUSE);
                continue;
            }
        };
        if count >= UDP_LOOK_AHEAD_MIN {
            answerer.look_ahead(batch.datagrams());
        }
        let began = Instant::now();
        answerer.now = shared.now();
        batch.answer(|from, datagram, reply| answerer.answer(from, datagram, reply));
        sender.send(socket, batch.replies(), |error| {
            // No route, a firewall, port 0: the client's loss.
            shared.metrics.udp_send_errors.inc();
            tracing::debug!(%error, "cannot send a reply");
        });
        shared.metrics.add(&mut answerer.tally);
        shared.metrics.udp_seconds.observe(began.elapsed().as_secs_f64());
        if UDP_PAUSE_BATCHES.contains(&count) {
            std::thread::sleep(UDP_PAUSE);
        }
    }
}

/// Ends the wait for datagrams of the thread that serves this socket.
pub(crate) fn wake(socket: &UdpSocket) {
    // Linux wakes whoever receives although it says that the socket is not connected. If it did not, the wait
    // would end after `UDP_WAIT_MAX`.
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

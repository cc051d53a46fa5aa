//! A server of datagrams that does nothing beside receiving and sending in batches: the floor of a UDP tracker.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use ringseed_tracker::{Reply, Sender};

/// Most datagrams of a batch, as in the tracker.
pub const BATCH: usize = ringseed_tracker::limits::UDP_BATCH;
/// Bytes of a datagram at most.
const LEN: usize = 2048;

/// Receives batches and has `send` answer them until it says false. It is given heads that each name who sent the datagram
/// and, with one vector, its bytes; both are good until it returns.
///
/// # Errors
/// What `send` gives.
pub fn batched(
    socket: &UdpSocket,
    mut send: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<bool>,
) -> io::Result<()> {
    // SAFETY: zeros are a valid address, of no family.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { std::mem::zeroed() };
    let mut data = vec![[0u8; LEN]; BATCH];
    // SAFETY: zeros are valid vectors and heads: null pointers with lengths of zero.
    let (mut buffers, mut heads): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    loop {
        for at in 0..BATCH {
            buffers[at] = libc::iovec { iov_base: data[at].as_mut_ptr().cast(), iov_len: LEN };
            let head = &mut heads[at].msg_hdr;
            head.msg_name = (&raw mut names[at]).cast();
            head.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            head.msg_iov = &raw mut buffers[at];
            head.msg_iovlen = 1;
        }
        let (fd, none) = (socket.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: heads point to names, vectors and buffers that outlive the call.
        let count =
            unsafe { libc::recvmmsg(fd, heads.as_mut_ptr(), BATCH as u32, libc::MSG_WAITFORONE, none) };
        let count = usize::try_from(count).unwrap_or(0);
        for at in 0..count {
            buffers[at].iov_len = heads[at].msg_len as usize;
        }
        if !send(&mut heads[..count])? {
            return Ok(());
        }
    }
}

/// Sends what heads of [`batched`] point to.
///
/// # Errors
/// Those of `sendmmsg`.
pub fn send_all(socket: &UdpSocket, heads: &mut [libc::mmsghdr]) -> io::Result<()> {
    let mut from = 0;
    while from < heads.len() {
        let left = &mut heads[from..];
        // SAFETY: heads of `batched` point to names, vectors and buffers that outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
        from += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
    }
    Ok(())
}

/// Answers like a tracker (BEP 15) that knows nothing: a connection id of zeros, and nine peers of zeros. Does not return.
///
/// # Errors
/// The address is taken, or the kernel refuses to send.
pub fn answer_at(address: SocketAddr) -> io::Result<()> {
    /// Bytes of the two replies.
    const CONNECTED: usize = 16;
    const ANNOUNCED: usize = 20 + 9 * 6;
    let socket = UdpSocket::bind(address)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let sender = Sender::new(&socket);
    batched(&socket, |heads| {
        for head in heads.iter_mut() {
            // SAFETY: each head has one vector to `LEN` bytes of its own, which nobody else refers to.
            let (vector, datagram) = unsafe {
                let vector = head.msg_hdr.msg_iov;
                (&mut *vector, &mut *(*vector).iov_base.cast::<[u8; LEN]>())
            };
            // A request has its action at 8 and its transaction at 12, a reply has them at 0.
            datagram.copy_within(8..16, 0);
            datagram[8..ANNOUNCED].fill(0);
            vector.iov_len = if datagram[..4] == [0; 4] { CONNECTED } else { ANNOUNCED };
        }
        // SAFETY: each head has the name of who sent it, zeros before, which `batched` keeps, and the vector that was filled
        // above.
        let replies = heads.iter().map(|head| unsafe {
            let vector = *head.msg_hdr.msg_iov;
            let bytes = std::slice::from_raw_parts(vector.iov_base.cast(), vector.iov_len);
            Reply::new(&*head.msg_hdr.msg_name.cast(), head.msg_hdr.msg_namelen, bytes)
        });
        let mut refused = Ok(true);
        sender.send(&socket, replies, |error| refused = Err(error));
        refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_answered_with_its_own_transaction() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let address = crate::ports::free_address().unwrap();
        std::thread::spawn(move || answer_at(address).unwrap());
        client.connect(address).unwrap();
        for (action, length) in [(0u8, 16), (1, 74)] {
            let mut request = [7u8; 98];
            request[8..16].copy_from_slice(&[0, 0, 0, action, 1, 2, 3, action]);
            let mut reply = [0; 200];
            let count = loop {
                // Refused until it listens.
                let _ = client.send(&request);
                if let Ok(count) = client.recv(&mut reply) {
                    break count;
                }
            };
            assert_eq!((count, &reply[..8]), (length, &request[8..16]));
            // One that was asked for twice.
            client.set_nonblocking(true).unwrap();
            while client.recv(&mut reply).is_ok() {}
            client.set_nonblocking(false).unwrap();
        }
    }
}

//! Peers that encrypt: an exchange of keys that begins with the handshake, then RC4.

use std::io;

use ringseed_proto::{
    hashes::SwarmHash,
    mse::{Ciphers, Initiator, Methods, Random, Step},
};
use tokio_uring::net::TcpStream;

/// The keystreams of a connection, and what came of the stream with the end of the exchange.
pub(super) struct Streams {
    pub ciphers: Ciphers,
    pub early: Vec<u8>,
}

/// Exchanges keys with the seeder; `greeting` is said in it. Nothing is left to be said then.
pub(super) async fn begin(
    stream: &TcpStream,
    info_hash: [u8; 20],
    greeting: &[u8],
) -> io::Result<(Option<Box<Streams>>, Vec<u8>)> {
    let mut initiator = Initiator::new(SwarmHash(info_hash), Methods::Rc4, greeting);
    let mut input = Vec::with_capacity(4096);
    loop {
        match initiator.step().map_err(io::Error::other)? {
            Step::Compute => {
                let mut bytes = [0; Random::LEN];
                rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
                initiator.compute(&Random::new(bytes));
            }
            Step::Send(bytes) => stream.write_all(bytes).await.0?,
            Step::Wait => {
                let (read, buffer) = stream.read(input).await;
                input = buffer;
                match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => initiator.receive(&input[..read]),
                }
            }
            Step::Done(done) => {
                let ciphers = done.ciphers.ok_or_else(|| io::Error::other("the seeder chose plaintext"))?;
                return Ok((Some(Box::new(Streams { ciphers, early: done.stream })), Vec::new()));
            }
        }
    }
}

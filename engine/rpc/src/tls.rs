//! TLS of the RPC: a certificate chain and its key from PEM files.

use super::limits::TLS_TIMEOUT;
use ringseed_announce::TlsClock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Why there is no TLS for the RPC.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or is no PEM file of what it should hold.
    #[error("cannot use {} for the RPC: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// The certificates are none for a server, or not those of the key.
    #[error("cannot use {} for the RPC: {error}", .path.display())]
    Certificate {
        /// The file with the certificates.
        path: PathBuf,
        /// What is wrong with them.
        error: rustls::Error,
    },
    /// The cryptography that is built in does not do.
    #[error(transparent)]
    Provider(rustls::Error),
}

/// The TLS side of a listener.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unreadable = |path: &Path, error| TlsError::Unreadable { path: path.to_path_buf(), error };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|error| unreadable(certificate, error))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|error| TlsError::Certificate { path: certificate.to_path_buf(), error })?;
        config.time_provider = Arc::new(TlsClock);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        timeout(TLS_TIMEOUT, self.0.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

//! Whom we believe that a certificate is right: Mozilla's list, which is built in, what the system trusts, and an
//! authority of the user's own.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, OtherError, RootCertStore};

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not a PEM file.
    #[error("{} is not a PEM file: {error}", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: pem::Error,
    },
    /// A certificate in it cannot be used.
    #[error("certificate {count} in {}: {error}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        count: usize,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// No certificate is in it.
    #[error("there is no certificate in {}: a PEM file with BEGIN CERTIFICATE is needed", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What HTTPS connections are checked against.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Default for Trust {
    /// The built-in list and the system's.
    fn default() -> Self {
        static SYSTEM: OnceLock<Trust> = OnceLock::new();
        SYSTEM.get_or_init(|| Trust::of(usual_roots())).clone()
    }
}

impl Trust {
    /// The built-in list, the system's, and the certificates of a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_file(path: &Path) -> Result<Self, TrustError> {
        let path_buf = || path.to_path_buf();
        let mut roots = usual_roots();
        let bytes =
            std::fs::read(path).map_err(|error| TrustError::Unreadable { path: path_buf(), error })?;
        let mut count = 0usize;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| TrustError::NotPem { path: path_buf(), error })?;
            count += 1;
            let refused = |error| TrustError::Certificate { path: path_buf(), count, error };
            roots.add(certificate).map_err(refused)?;
        }
        if count == 0 {
            return Err(TrustError::Empty { path: path_buf() });
        }
        Ok(Self::of(roots))
    }

    fn of(roots: RootCertStore) -> Self {
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.time_provider = Arc::new(TlsClock);
        Self(Arc::new(config))
    }

    /// Wraps connections in TLS where the URL is one of https.
    pub fn connector<D>(&self, dialer: D) -> HttpsConnector<D> {
        HttpsConnectorBuilder::new()
            .with_tls_config((*self.0).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialer)
    }
}

/// The time for TLS. Before 1970 there is none, for which rustls panics by itself: handshakes fail then.
#[derive(Debug)]
pub struct TlsClock;

impl TlsClock {
    fn at(time: SystemTime) -> Option<UnixTime> {
        time.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Self::at(SystemTime::now())
    }
}

/// The built-in list and the system's. Where the system has none, or one that cannot be read, the built-in one holds.
fn usual_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    roots
}

/// What is wrong with a server's certificate, and what to do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CertificateProblem {
    /// Nobody who is trusted has signed it.
    #[error(
        "the server's certificate is of an authority that is not trusted here; --tracker-ca FILE trusts another one"
    )]
    UnknownAuthority,
    /// Its time is over.
    #[error("the server's certificate has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the server's certificate is not valid yet; is the clock of this machine right?")]
    NotValidYet,
    /// It is for another host.
    #[error("the server's certificate is for another name than the one in the URL")]
    OtherName,
    /// It was revoked.
    #[error("the server's certificate was revoked")]
    Revoked,
    /// It is not for servers.
    #[error("the server's certificate is not one for servers")]
    OtherPurpose,
    /// It is that of an authority, as `openssl req -x509` makes them when nothing else is said.
    #[error(
        "the server shows the certificate of an authority as its own; make it one that an authority has signed, and name \
         that authority with --tracker-ca"
    )]
    AuthorityAsServer,
    /// Anything else.
    #[error("the server's certificate is not accepted: {0}")]
    Other(CertificateError),
}

/// What is wrong with a server's certificate, when that is why a connection failed.
pub(super) fn certificate_problem(error: &(dyn Error + 'static)) -> Option<CertificateProblem> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let mut inner = error;
        // What an I/O error wraps is not its source.
        while let Some(wrapped) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            inner = wrapped;
        }
        if let Some(rustls::Error::InvalidCertificate(problem)) = inner.downcast_ref() {
            return Some(problem.into());
        }
        cause = error.source();
    }
    None
}

impl From<&CertificateError> for CertificateProblem {
    fn from(error: &CertificateError) -> CertificateProblem {
        match error {
            CertificateError::UnknownIssuer => CertificateProblem::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                CertificateProblem::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateProblem::NotValidYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateProblem::OtherName
            }
            CertificateError::Revoked => CertificateProblem::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                CertificateProblem::OtherPurpose
            }
            CertificateError::Other(OtherError(other))
                if matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                CertificateProblem::AuthorityAsServer
            }
            other => CertificateProblem::Other(other.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_time_before_1970() {
        let second = std::time::Duration::from_secs(1);
        assert_eq!(TlsClock::at(SystemTime::UNIX_EPOCH - second), None);
        assert_eq!(TlsClock::at(SystemTime::UNIX_EPOCH + second).map(|time| time.as_secs()), Some(1));
    }

    #[test]
    fn files_that_hold_no_certificate_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(Trust::with_file(&path), Err(TrustError::Unreadable { .. })));
        for (text, why) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 in"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "not a PEM file"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Trust::with_file(&path).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("ca.pem"), "{text}: {error}");
        }
    }
}

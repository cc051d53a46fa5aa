//! Whom we believe that a certificate is right: Mozilla's list, which is built in, what the system trusts, and an
//! authority of the user's own.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

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
    /// What is wrong with the file, for the user.
    pub fn with_file(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let mut roots = usual_roots();
        let bytes = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
            count += 1;
            roots.add(certificate).map_err(|error| format!("certificate {count} in {shown}: {error}"))?;
        }
        if count == 0 {
            return Err(format!(
                "there is no certificate in {shown}: a PEM file with BEGIN CERTIFICATE is needed"
            ));
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

/// What is wrong with a server's certificate, when that is why a connection failed; for the user.
pub(super) fn certificate_problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let mut inner = error;
        // What an I/O error wraps is not its source.
        while let Some(wrapped) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            inner = wrapped;
        }
        if let Some(rustls::Error::InvalidCertificate(problem)) = inner.downcast_ref() {
            return Some(described(problem));
        }
        cause = error.source();
    }
    None
}

fn described(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted here; \
             --tracker-ca FILE trusts another one"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is the clock of this machine right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name than the one in the URL".to_owned()
        }
        CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers".to_owned()
        }
        // As `openssl req -x509` makes them when nothing else is said.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority as its own; make it one that an authority has signed, and \
             name that authority with --tracker-ca"
                .to_owned()
        }
        other => format!("the server's certificate is not accepted: {other}"),
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
        assert!(Trust::with_file(&path).unwrap_err().contains("cannot read"));
        for (text, why) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 in"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "not a PEM file"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Trust::with_file(&path).unwrap_err();
            assert!(error.contains(why) && error.contains("ca.pem"), "{text}: {error}");
        }
    }
}

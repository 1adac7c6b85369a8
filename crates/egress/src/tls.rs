//! Who vouches for hosts.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::EgressError;

/// Certificates in one file.
const MOST: usize = 1000;

/// Authorities that alone vouch for an endpoint, in the place of the system's: a server of one's own may
/// have a certificate that nobody else knows, and no one else may vouch for it then.
#[derive(Clone)]
pub struct Authorities(Arc<Own>);

struct Own {
    roots: RootCertStore,
    config: OnceLock<Result<Arc<ClientConfig>, EgressError>>,
}

impl Authorities {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// [`EgressError::BadAuthorities`] where there is none, one cannot be read, or there are too many.
    pub fn from_pem(pem: &[u8]) -> Result<Self, EgressError> {
        let bad = |reason: String| EgressError::BadAuthorities { reason };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem).take(MOST + 1) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| bad(error.to_string()))?;
        }
        match roots.len() {
            0 => Err(bad("it holds none".to_owned())),
            1..=MOST => Ok(Self(Arc::new(Own {
                roots,
                config: OnceLock::new(),
            }))),
            _ => Err(bad(format!("it holds more than {MOST}"))),
        }
    }

    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, EgressError> {
        let make = || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(no_authorities)?
                .with_root_certificates(self.0.roots.clone())
                .with_no_client_auth();
            Ok(Arc::new(spoken(config)))
        };
        self.0.config.get_or_init(make).clone()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.roots.len())
    }
}

/// The system's authorities, and some besides (DER).
pub(crate) fn of_the_system(besides: &[Vec<u8>]) -> Result<Arc<ClientConfig>, EgressError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra: Vec<_> = besides.iter().cloned().map(CertificateDer::from).collect();
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())
            .map_err(no_authorities)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(no_authorities)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(spoken(config)))
}

fn no_authorities(error: rustls::Error) -> EgressError {
    EgressError::NoAuthorities {
        reason: error.to_string(),
    }
}

/// Only HTTP/1.1 is spoken.
fn spoken(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

//! TLS to the broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::MqttError;

/// How the broker is known, and how it knows us. TLS 1.2 and 1.3; the broker's certificate must name the host or
/// address that is connected to.
#[derive(Debug, Clone, Default)]
pub struct MqttTls {
    /// PEM file of the authorities that may have signed the broker's certificate. None: those of the system.
    pub ca_cert: Option<PathBuf>,
    /// PEM files of our own certificate chain (leaf first) and its key, for brokers that ask for them.
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

impl MqttTls {
    /// Reads the files. Called before each connection, so that renewed certificates count.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, MqttError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_cert {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|e| unusable(path, &e))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(MqttError::Tls {
                        what: "the system's authorities".into(),
                        reason: "none found: name a file with --tls-ca-cert".into(),
                    });
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| MqttError::Tls { what: "TLS".into(), reason: e.to_string() })?
            .with_root_certificates(roots);
        let config = match &self.client_cert {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, private)
                    .map_err(|e| unusable(chain, &e))?
            }
        };
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MqttError> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| unreadable(path, &e))?;
    if found.is_empty() {
        return Err(unreadable(path, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &pem::Error) -> MqttError {
    let reason = match error {
        pem::Error::NoItemsFound => "no certificate or key in PEM".into(),
        // What it found is not repeated: a file named by mistake can hold a key.
        pem::Error::Io(error) => error.to_string(),
        _ => "not PEM".into(),
    };
    MqttError::Tls { what: path.display().to_string(), reason }
}

fn unusable(path: &Path, error: &rustls::Error) -> MqttError {
    MqttError::Tls { what: path.display().to_string(), reason: error.to_string() }
}

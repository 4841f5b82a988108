//! TLS 1.2 and 1.3: certificate, key and client certificates, read again when their files change.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::metrics::Metrics;

const TARGET: &str = "edgesentry_audit::transport::tls";

/// What a URI in a client certificate begins with that names a device: the rest is its id.
pub const DEVICE_URN: &str = "urn:edgesentry:device:";

/// Certificates of a server, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificate and chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who has to show a certificate.
    pub clients: Option<ClientCerts>,
    /// How often is looked whether a file changed.
    pub poll: Duration,
}

impl TlsSettings {
    /// Certificate with chain, and key; no client certificates; a look every 5 s.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { cert: cert.into(), key: key.into(), clients: None, poll: Duration::from_secs(5) }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let clients = self.clients.iter().flat_map(|c| [Some(&c.ca), c.crl.as_ref()]);
        [Some(&self.cert), Some(&self.key)].into_iter().chain(clients).flatten().map(PathBuf::as_path)
    }
}

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCerts {
    /// Certificates of the authorities that may vouch for devices.
    pub ca: PathBuf,
    /// Lists of certificates that they revoked.
    pub crl: Option<PathBuf>,
    /// Whether a client without one is let in.
    pub optional: bool,
}

/// Why certificates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    file: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(file: &Path, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), reason: reason.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

/// What a file was when it was looked at.
type Seen = Vec<Option<(u64, u64, i64, i64, u64)>>;

/// The certificates in use.
pub struct Tls {
    settings: TlsSettings,
    // Read once a handshake.
    config: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

impl Tls {
    pub(crate) fn new(settings: TlsSettings, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let seen = look(&settings);
        let (config, expires) = load(&settings)?;
        metrics.tls_loaded(expires);
        Ok(Self { settings, config: RwLock::new(config), seen: Mutex::new(seen), metrics })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads all files again. If they cannot be used, what was in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let seen = look(&self.settings);
        let loaded = load(&self.settings);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        match loaded {
            Ok((config, expires)) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                self.metrics.tls_loaded(expires);
                tracing::info!(target: TARGET, expires, "certificates read again");
                Ok(())
            }
            Err(error) => {
                self.metrics.tls_failed();
                tracing::error!(target: TARGET, %error, "new certificates cannot be used; those in use stay");
                Err(error)
            }
        }
    }

    /// Reads files again whenever one changed, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.settings.poll).await;
            let tls = self.clone();
            let _ = tokio::task::spawn_blocking(move || {
                let changed = look(&tls.settings) != *tls.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if changed {
                    let _ = tls.reload();
                }
            })
            .await;
        }
    }
}

fn look(settings: &TlsSettings) -> Seen {
    let facts =
        |file: &Path| fs::metadata(file).ok().map(|m| (m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.len()));
    settings.files().map(facts).collect()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| TlsError::new(file, format_args!("cannot read its certificates: {e}")))?;
    if certificates.is_empty() {
        return Err(TlsError::new(file, "has no certificate in it (PEM)"));
    }
    Ok(certificates)
}

fn load(settings: &TlsSettings) -> Result<(Arc<ServerConfig>, i64), TlsError> {
    let chain = certificates(&settings.cert)?;
    let expires = chain
        .first()
        .and_then(|leaf| X509Certificate::from_der(leaf).ok())
        .map(|(_, leaf)| leaf.validity().not_after.timestamp())
        .ok_or_else(|| TlsError::new(&settings.cert, "its first certificate cannot be read"))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|e| TlsError::new(&settings.key, format_args!("cannot read its key: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::new(&settings.cert, e))?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&clients.ca)? {
                roots.add(certificate).map_err(|e| TlsError::new(&clients.ca, e))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            if let Some(file) = &clients.crl {
                let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(file)
                    .and_then(Iterator::collect)
                    .map_err(|e| TlsError::new(file, format_args!("cannot read its lists: {e}")))?;
                if lists.is_empty() {
                    return Err(TlsError::new(file, "has no revocation list in it (PEM)"));
                }
                verifier = verifier.with_crls(lists);
            }
            if clients.optional {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|e| TlsError::new(&clients.ca, e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| {
        TlsError::new(&settings.cert, format_args!("does not work with {}: {e}", settings.key.display()))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if settings.clients.is_some() {
        // A resumed session would outlive the revocation of its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer =
            rustls::crypto::ring::Ticketer::new().map_err(|e| TlsError::new(&settings.cert, e))?;
    }
    Ok((Arc::new(config), expires))
}

/// Who a client certificate says it is: its first URI as an alternative name (what follows [`DEVICE_URN`], or the
/// whole of it), else its first DNS name there, else its common name.
pub fn client_identity(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uri = names.clone().find_map(|name| match name {
        GeneralName::URI(uri) => Some(uri.strip_prefix(DEVICE_URN).unwrap_or(uri)),
        _ => None,
    });
    let dns = names.clone().find_map(|name| match name {
        GeneralName::DNSName(dns) => Some(*dns),
        _ => None,
    });
    let common = || certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    uri.or(dns).or_else(common).filter(|name| !name.is_empty()).map(str::to_owned)
}

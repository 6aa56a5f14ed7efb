//! The serving certificate and the CA certificates of clients: read, checked, and reloaded when the files
//! change.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::time::MissedTickBehavior;
use x509_cert::{Certificate, der, der::Decode, time::Time};

use crate::metrics::Metrics;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why the files cannot be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {}: mount the Secret of type kubernetes.io/tls there", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read {}: put the CA certificates of the clients there", path.display())]
    ReadClientCa { path: PathBuf, source: io::Error },
    #[error("{} is not valid PEM: issue the certificate again", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} contains no certificate: put the chain there, the server's own certificate first", path.display())]
    Empty { path: PathBuf },
    #[error("the first certificate in {} is not a valid X.509 certificate: issue it again", path.display())]
    Leaf { path: PathBuf, source: der::Error },
    #[error("{CERTIFICATE} and {KEY} in {} do not belong together: write both from the same issue", dir.display())]
    Pair { dir: PathBuf, source: rustls::Error },
    #[error("{} contains no certificate: put the CA certificates of the clients there", path.display())]
    EmptyClientCa { path: PathBuf },
    #[error("a certificate in {} is not a CA certificate: put the CA certificates of the clients there", path.display())]
    ClientCa { path: PathBuf, source: rustls::Error },
    #[error("the CA certificates in {} cannot verify clients: put the CA certificates of the clients there", path.display())]
    Verifier {
        path: PathBuf,
        source: VerifierBuilderError,
    },
    #[error("the certificate in {} expired at {not_after}: renew it", path.display())]
    Expired { path: PathBuf, not_after: Time },
}

/// The certificate that is served, and the files that it comes from.
///
/// The files are read again by their path, since watching them would miss kubelet's updates: it never
/// writes to the files of a mounted Secret, but replaces the directory behind them, `..data`
/// (kubernetes/kubernetes#111947).
#[derive(Debug)]
pub struct Tls {
    sources: Sources,
    served: Files,
    config: RustlsConfig,
    metrics: TlsMetrics,
}

/// The metrics about the certificate.
#[derive(Debug)]
pub(crate) struct TlsMetrics {
    not_after: Gauge,
    loaded: Counter,
    refused: Counter,
}

impl TlsMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let not_after = metrics.register(
            "certificate_not_after_seconds",
            "Expiry of the serving certificate, in Unix seconds",
            Gauge::default(),
        );
        let reloads = metrics.register(
            "certificate_reloads",
            "Changed certificates or client CA certificates found on disk; refused ones count each time they are read",
            Family::<Reload, Counter>::default(),
        );
        let reloads = |outcome| reloads.get_or_create_owned(&Reload { outcome });
        Self {
            not_after,
            loaded: reloads(Outcome::Loaded),
            refused: reloads(Outcome::Refused),
        }
    }
}

impl Tls {
    /// Reads `tls.crt` and `tls.key` in `dir`, and the CA certificates of clients if `client_ca` names
    /// them: then clients need a certificate. An expired certificate is served too: clients refuse it
    /// with a clear error, and the renewed one is loaded without a restart.
    pub fn load(dir: &Path, client_ca: Option<&Path>, metrics: &Metrics) -> Result<Self, Error> {
        let sources = Sources {
            dir: dir.to_owned(),
            client_ca: client_ca.map(ToOwned::to_owned),
        };
        let served = Files::read(&sources)?;
        let checked = served.check(&sources)?;
        if let Err(error) = checked.still_valid(dir) {
            tracing::warn!(
                error = &error as &dyn StdError,
                "Serving an expired certificate until it is renewed"
            );
        }

        let metrics = TlsMetrics::register(metrics);
        metrics.not_after.set(checked.not_after_seconds());
        Ok(Self {
            sources,
            served,
            config: RustlsConfig::from_config(checked.config),
            metrics,
        })
    }

    /// The configuration of new connections. It follows the files while [`watch`](Self::watch) runs.
    #[must_use]
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again after each interval, and serves them if they changed and are valid.
    pub async fn watch(mut self, every: Duration) -> Infallible {
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.reload() {
                self.metrics.refused.inc();
                let error = &error as &dyn StdError;
                tracing::warn!(
                    error,
                    "Keeping the previous certificates because the files on disk cannot be served"
                );
            }
        }
    }

    fn reload(&mut self) -> Result<(), Error> {
        let files = Files::read(&self.sources)?;
        if files == self.served {
            return Ok(());
        }
        let checked = files.check(&self.sources)?;
        checked.still_valid(&self.sources.dir)?;

        tracing::info!(not_after = %checked.not_after, "Serving new certificates");
        self.served = files;
        self.metrics.not_after.set(checked.not_after_seconds());
        self.metrics.loaded.inc();
        self.config.reload_from_config(checked.config);
        Ok(())
    }
}

/// The paths of the files.
#[derive(Debug)]
struct Sources {
    dir: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The contents of the files.
#[derive(PartialEq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Files {
    /// Hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    /// Reads certificate and key of one moment: if the directory was replaced in between, it reads both
    /// again.
    fn read(sources: &Sources) -> Result<Self, Error> {
        let pair = |path: PathBuf| read(&path).map_err(|source| Error::Read { path, source });
        let client_ca = match &sources.client_ca {
            None => None,
            Some(path) => Some(read(path).map_err(|source| Error::ReadClientCa {
                path: path.clone(),
                source,
            })?),
        };
        let mut certificate = pair(sources.dir.join(CERTIFICATE))?;
        loop {
            let key = pair(sources.dir.join(KEY))?;
            let again = pair(sources.dir.join(CERTIFICATE))?;
            if again == certificate {
                return Ok(Self {
                    certificate,
                    key,
                    client_ca,
                });
            }
            certificate = again;
        }
    }

    /// Builds the configuration of rustls, which fails if the key does not belong to the first certificate.
    fn check(&self, sources: &Sources) -> Result<Checked, Error> {
        let dir = &sources.dir;
        let path = dir.join(CERTIFICATE);
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| Error::Pem {
                path: path.clone(),
                source,
            })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| Error::Pem {
            path: dir.join(KEY),
            source,
        })?;

        let Some(leaf) = chain.first() else {
            return Err(Error::Empty { path });
        };
        let leaf = Certificate::from_der(leaf).map_err(|source| Error::Leaf { path, source })?;

        let clients = match (&self.client_ca, &sources.client_ca) {
            (Some(pem), Some(path)) => clients_of(pem, path)?,
            (None, _) | (_, None) => WebPkiClientVerifier::no_client_auth(),
        };
        let config = server_config(chain, key, clients).map_err(|source| Error::Pair {
            dir: dir.to_owned(),
            source,
        })?;
        Ok(Checked {
            config: Arc::new(config),
            not_after: leaf.tbs_certificate().validity().not_after,
        })
    }
}

/// Blocks: the files are small, and a mounted Secret is in memory. A blocking thread would cost more.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let read = fs::read(path);
    if matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        // kubelet may have replaced the directory and removed the old one during the read.
        return fs::read(path);
    }
    read
}

/// Accepts clients whose certificate is signed by one of these CA certificates.
fn clients_of(pem: &[u8], path: &Path) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|source| Error::Pem {
            path: path.to_owned(),
            source,
        })?;
        authorities.add(certificate).map_err(|source| Error::ClientCa {
            path: path.to_owned(),
            source,
        })?;
    }
    if authorities.is_empty() {
        let path = path.to_owned();
        return Err(Error::EmptyClientCa { path });
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
    let verifier = verifier.map_err(|source| Error::Verifier {
        path: path.to_owned(),
        source,
    })?;
    Ok(verifier)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    // ring's provider has only cipher suites with forward secrecy and authenticated encryption.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Files that can be served.
struct Checked {
    config: Arc<ServerConfig>,
    not_after: Time,
}

impl Checked {
    fn still_valid(&self, dir: &Path) -> Result<(), Error> {
        if self.not_after.to_system_time() > SystemTime::now() {
            return Ok(());
        }
        Err(Error::Expired {
            path: dir.join(CERTIFICATE),
            not_after: self.not_after,
        })
    }

    fn not_after_seconds(&self) -> i64 {
        let since_epoch = self.not_after.to_unix_duration().as_secs();
        i64::try_from(since_epoch).unwrap_or(i64::MAX)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Loaded,
    Refused,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
        }
        .encode(encoder)
    }
}

//! TLS of a listener: certificate, key and the callers' authorities are read, judged as a whole, and read again when their files
//! change. What cannot be used never replaces what is in use.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use crate::confine;
use crate::look::Look;
use crate::shutdown::Stop;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// More than any chain has.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a listener's certificate, key and authorities are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `tls_certificate`: PEM, the listener's own first.
    pub certificate: PathBuf,
    /// `tls_key`
    pub key: Key,
    /// `client_ca`: PEM; callers are asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// `require_client_certificate`
    pub require: bool,
}

/// A private key: PEM, without passphrase.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// In a file, which may change.
    File(PathBuf),
    /// Not in a file.
    Held(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::File(path) => f.debug_tuple("File").field(path).finish(),
            Key::Held(_) => f.write_str("Held(…)"),
        }
    }
}

/// Why TLS cannot be spoken with these files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unusable {
    /// The setting that is to blame.
    pub setting: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

const CERTIFICATE: &str = "tls_certificate";
const KEY: &str = "tls_key";
const CLIENT_CA: &str = "client_ca";
const READABLE: &str = "name a file that the user that runs soproxy can read; paths are relative to the configuration file";
const CHAIN: &str = "a PEM chain: the listener's certificate first, those of the authorities between behind it";
const PEM_KEY: &str = "a private key as PEM (PKCS#8, PKCS#1 or SEC1) without a passphrase, such as { file = \"privkey.pem\" }";

/// What was read.
struct Loaded {
    config: Arc<ServerConfig>,
    /// What should be known although it works.
    warning: Option<String>,
    /// When the listener's certificate runs out.
    expires: Option<SystemTime>,
}

impl Files {
    /// Reads and judges all of them; and what should be known although it works.
    pub fn load(&self) -> Result<(Arc<ServerConfig>, Option<String>), Unusable> {
        self.read().map(|loaded| (loaded.config, loaded.warning))
    }

    fn read(&self) -> Result<Loaded, Unusable> {
        let wrong = |setting, hint| move |what: String| Unusable { setting, what, hint };
        let chain = certificates(&self.certificate).map_err(wrong(CERTIFICATE, CHAIN))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (place, pem) = match &self.key {
            Key::File(path) => (format!("{}: ", path.display()), read(path).map_err(wrong(KEY, READABLE))?),
            Key::Held(pem) => (String::new(), pem.clone()),
        };
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong(KEY, PEM_KEY)(format!("{place}no private key in it can be read")))?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| wrong(KEY, PEM_KEY)(format!("{place}the key cannot be used: {error}")))?;
        let warning = out_of_date(&chain[0], SystemTime::now()).map(|when| format!("{} {when}", self.certificate.display()));
        let expires = expiry(&chain[0]);
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let what = format!("{place}the key does not fit the certificate in {}", self.certificate.display());
                return Err(wrong(KEY, "certificate and key come as a pair; the listener's own certificate stands first in its file")(
                    what,
                ));
            }
            Err(error) => return Err(wrong(CERTIFICATE, CHAIN)(format!("{}: {error}", self.certificate.display()))),
        }
        let impossible = |error: rustls::Error| Unusable { setting: CERTIFICATE, what: error.to_string(), hint: CHAIN };
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(impossible)?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut config = match &self.client_ca {
            None => builder.with_no_client_auth().with_cert_resolver(resolver),
            Some(path) => {
                let wrong = wrong(CLIENT_CA, "the PEM certificates of the authorities that sign those of the callers");
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path).map_err(&wrong)? {
                    roots.add(certificate).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if self.require { verifier } else { verifier.allow_unauthenticated() };
                let verifier = verifier.build().map_err(|error| wrong(format!("{}: {error}", path.display())))?;
                builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver)
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session is not verified anew.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { config: Arc::new(config), warning, expires })
    }

    fn watched(&self) -> impl Iterator<Item = &Path> {
        let key = match &self.key {
            Key::File(path) => Some(path),
            Key::Held(_) => None,
        };
        [Some(&self.certificate), key, self.client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }

    fn look(&self) -> Vec<Option<Look>> {
        self.watched().map(Look::at).collect()
    }
}

/// A listener's TLS: what new connections get.
pub struct Tls {
    files: Files,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// When the certificate in use runs out.
    expires: Option<SystemTime>,
    /// How the files looked when they were read.
    read: Vec<Option<Look>>,
    /// How they looked the last time.
    last: Vec<Option<Look>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files; what is worth a warning was said by whoever checked the configuration.
    pub fn new(files: Files) -> Result<Arc<Tls>, Unusable> {
        // Before they are read: what changes meanwhile is seen as a change.
        let read = files.look();
        let Loaded { config, expires, .. } = files.read()?;
        let seen = Mutex::new(Seen { expires, last: read.clone(), read });
        Ok(Arc::new(Tls { files, current: ArcSwap::new(config), seen }))
    }

    /// For a new connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// The file of the certificate, and when the one in use runs out.
    pub fn expires(&self) -> (&Path, Option<SystemTime>) {
        (&self.files.certificate, self.seen().expires)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files if they have changed. Unless it is `urgent` they must have been at rest for a while: a certificate and
    /// its key are not written at the same moment.
    pub fn renew(&self, urgent: bool) {
        let now = self.files.look();
        {
            let mut seen = self.seen();
            let rests = seen.last == now;
            seen.last.clone_from(&now);
            if seen.read == now || !(rests || urgent) {
                return;
            }
            seen.read = now;
        }
        let file = self.files.certificate.display();
        match self.files.read() {
            Ok(Loaded { config, warning, expires }) => {
                self.current.store(config);
                self.seen().expires = expires;
                tracing::info!(%file, "the listener's certificate was read anew; new connections get it");
                if let Some(warning) = warning {
                    tracing::warn!("tls_certificate: {warning}");
                }
            }
            Err(Unusable { setting, what, hint }) => {
                tracing::warn!("the listener's certificate stays as it was: {setting}: {what} ({hint})");
            }
        }
    }
}

/// Looks at the files of all listeners of a server until it stops.
pub(super) async fn watch(all: Vec<Arc<Tls>>, stop: Stop) {
    while stop.drain.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let all = all.clone();
        let looked = tokio::task::spawn_blocking(move || all.iter().for_each(|tls| tls.renew(false)));
        if let Err(error) = looked.await {
            tracing::error!(%error, "the listeners' certificates cannot be looked at");
        }
    }
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{} holds no PEM certificate that can be read", path.display())),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > MAX_BYTES => Err(format!("{} is larger than 1 MiB", path.display())),
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{} does not exist", path.display())),
        Err(error) if confine::bars(path) => Err(format!("{} cannot be read: {error}; {}", path.display(), confine::FILE_HINT)),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_system_time())
}

/// What a certificate says of its time, if it is not now.
fn out_of_date(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    if validity.not_after.to_system_time() < now {
        return Some(format!("expired at {}", validity.not_after));
    }
    (validity.not_before.to_system_time() > now).then(|| format!("is not valid before {}", validity.not_before))
}

#[cfg(test)]
mod tests;

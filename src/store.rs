//! Warm start: what tenants' tickets and states were, kept encrypted over a restart.
//!
//! One file per tenant, sealed under a key derived from its application's own private key ([`seal`]): whoever can open it could
//! have got a ticket anyway. It is a memory, not a source of truth: nothing breaks when it is lost, damaged, or somebody
//! else's; it costs an exchange. What is read from it is judged like anything that was told long ago.
//!
//! One process uses a store at a time. Records are written by a thread of their own ([`Writer`]), so that nobody who serves a
//! request ever waits for a disk.

#[cfg_attr(not(unix), path = "store/dir/elsewhere.rs")]
mod dir;
pub mod record;
pub mod seal;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use self::dir::{Dir, Lock};
pub use self::record::{Damage, Record};
pub use self::seal::Identity;
pub use self::writer::{Handle, Source, Writer};
use crate::superoffice::signing::SigningKey;

/// The name of the file whose lock says that the store is in use. No record's name is like it.
const LOCK: &str = "lock";

/// What lies under a name.
enum Found {
    Nothing,
    File(Vec<u8>),
    /// Something else than a file of sensible size.
    Other(&'static str),
}

/// A directory of sealed records, locked for this process until it is dropped.
#[derive(Debug)]
pub struct Store {
    dir: Dir,
    /// One writing at a time, so that what was saved last is there last.
    writing: Mutex<()>,
    /// How many records were of no use.
    set_aside: AtomicUsize,
    _lock: Lock,
}

/// The store cannot be used; the proxy runs without.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the store {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The system refuses.
    #[error("the store {} cannot be {doing}: {error}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was tried: "created", "opened", "locked".
        doing: &'static str,
        /// The system's words.
        error: io::Error,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Locked(_) => "two proxies cannot share a store: give each a directory of its own",
            StoreError::Io { doing: "created", error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "create the directory above it, or correct the path"
            }
            StoreError::Io { doing: "locked", error, .. } if error.kind() == io::ErrorKind::Unsupported => {
                "put the store on a local disk: this file system knows no locks"
            }
            StoreError::Io { .. } => "name a directory that the user that runs soproxy owns and may write to, on a local disk",
        }
    }
}

impl Store {
    /// Opens the store in `path`, which is created if only it is missing. What a killed process left unfinished is removed.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let failed = |doing| move |error| StoreError::Io { path: path.to_owned(), doing, error };
        Store::make_directory(path).map_err(failed("created"))?;
        let dir = Dir::open(path).map_err(failed("opened"))?;
        let lock = dir.lock(LOCK).map_err(failed("locked"))?.ok_or_else(|| StoreError::Locked(path.to_owned()))?;
        let path = path.display();
        if dir.open_to_others().unwrap_or(false) {
            tracing::warn!(%path, "others may enter the store: chmod 700");
        }
        if let Err(error) = dir.sweep() {
            tracing::warn!(%path, %error, "unfinished records from before cannot be removed from the store");
        }
        Ok(Store { dir, writing: Mutex::new(()), set_aside: AtomicUsize::new(0), _lock: lock })
    }

    /// Makes the directory if only it is missing.
    pub fn make_directory(path: &Path) -> io::Result<()> {
        match dir::make(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Whether it could be made in a directory; it is not. On failure, why not.
    pub fn could_be_made_in(above: &Path) -> io::Result<()> {
        dir::may_make_in(above)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// How many records could not be used since it was opened.
    pub fn set_aside(&self) -> usize {
        self.set_aside.load(Ordering::Relaxed)
    }

    /// What is remembered of a tenant, opened with the first of `keys` that fits. A record that cannot be used is set aside
    /// with a warning: its tenant starts as if there were none.
    pub fn load(&self, identity: &Identity, keys: &[Arc<SigningKey>]) -> Option<Record> {
        let (tenant, name) = (identity.tenant(), file_name(identity));
        let why = match self.dir.read(&name, seal::MAX_BYTES) {
            Ok(Found::Nothing) => return None,
            Ok(Found::File(sealed)) => match seal::open(keys, identity, &sealed) {
                Ok(record) => return Some(record),
                Err(damage) => damage.to_string(),
            },
            Ok(Found::Other(what)) => what.to_owned(),
            Err(error) => {
                let file = self.dir.path().join(name);
                tracing::warn!(tenant, file = %file.display(), %error, "the tenant's stored record cannot be read; it costs one exchange");
                return None;
            }
        };
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        let aside = format!("{tenant}.bad");
        let file = self.dir.path().join(&aside);
        match self.dir.set_aside(&name, &aside) {
            Ok(()) => tracing::warn!(
                tenant, file = %file.display(),
                "the tenant's stored record is not used: {why}; it was set aside, costs one exchange, and the serial is pinned anew"
            ),
            Err(error) => tracing::warn!(
                tenant, file = %self.dir.path().join(name).display(), %error,
                "the tenant's stored record is not used: {why}; it costs one exchange, the serial is pinned anew, and it cannot be set aside: remove it"
            ),
        }
        None
    }

    /// Puts a tenant's record in place of the one before. After an error that one is still there. Waits for the disk.
    pub fn save(&self, identity: &Identity, key: &SigningKey, record: &Record) -> io::Result<()> {
        self.put(identity, key, record.encode()?)
    }

    fn put(&self, identity: &Identity, key: &SigningKey, plain: Zeroizing<Vec<u8>>) -> io::Result<()> {
        let sealed = seal::seal(key, identity, plain).map_err(|_| io::Error::other("the record cannot be encrypted"))?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.dir.replace(&file_name(identity), &sealed)
    }
}

fn file_name(identity: &Identity) -> String {
    format!("{}.sealed", identity.tenant())
}

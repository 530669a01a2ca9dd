//! The store's directory: files appear in it whole or not at all, and nothing that lies there in place of a file is followed or
//! waited for.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Found;

/// How the names of files that are not yet whole end. No record's name can.
const UNFINISHED: &str = ".new";

const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The directory, held open: whatever its path comes to mean later, its files are here.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    handle: OwnedFd,
}

/// Makes the directory, for nobody else.
pub(super) fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Whether a directory can be made in this one.
pub(super) fn may_make_in(above: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK)?)
}

impl Dir {
    pub(super) fn open(path: &Path) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Dir { path: path.to_owned(), handle: rustix::fs::open(path, flags, Mode::empty())? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether group or others may look into it, or worse.
    pub(super) fn open_to_others(&self) -> io::Result<bool> {
        Ok(Mode::from_raw_mode(rustix::fs::fstat(&self.handle)?.st_mode).intersects(Mode::RWXG | Mode::RWXO))
    }

    /// The lock file with its lock; `None` while another process has it. The file is never removed: whoever waits for a lock on
    /// a file that is gone locks nothing.
    pub(super) fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let file = self.open_at(name, OFlags::RDWR | OFlags::CREATE)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what a process that was killed left unfinished.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
                rustix::fs::unlinkat(&self.handle, &*name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Reads a file of at most `most` bytes. Never waits: a FIFO has no end to wait for.
    pub(super) fn read(&self, name: &str, most: usize) -> io::Result<Found> {
        let file = match self.open_at(name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP) => return Ok(Found::Other("it is a symbolic link")),
            Err(Errno::NXIO) => return Ok(Found::Other("it is no file")),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(Found::Other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(if bytes.len() > most { Found::Other("it is too large") } else { Found::File(bytes) })
    }

    /// Puts a file under a name, in place of what was there. Whatever happens, the old one or the new one is there, whole; when
    /// this returns well, the new one, also after a loss of power.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Never met before, so that what cannot be removed stands in nobody's way.
        let unfinished = format!("{name}.{:016x}{UNFINISHED}", rand::random::<u64>());
        let mut file = self.open_at(&unfinished, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        drop(file);
        let renamed = written.and_then(|()| Ok(rustix::fs::renameat(&self.handle, &*unfinished, &self.handle, name)?));
        if let Err(error) = renamed {
            // The first error is the one that tells something; what is left is swept at the next start.
            let _ = rustix::fs::unlinkat(&self.handle, &*unfinished, AtFlags::empty());
            return Err(error);
        }
        match rustix::fs::fsync(&self.handle) {
            // Some file systems have no such thing.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives whatever lies under a name another one, in place of what has that.
    pub(super) fn set_aside(&self, name: &str, aside: &str) -> io::Result<()> {
        let rename = || rustix::fs::renameat(&self.handle, name, &self.handle, aside);
        if rename().is_ok() {
            return Ok(());
        }
        // A directory and a file do not replace each other.
        let _ = rustix::fs::unlinkat(&self.handle, aside, AtFlags::empty());
        let _ = rustix::fs::unlinkat(&self.handle, aside, AtFlags::REMOVEDIR);
        Ok(rename()?)
    }

    fn open_at(&self, name: &str, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.handle, name, flags, PRIVATE).map(File::from)
    }
}

/// Held for as long as the store is in use.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child that is being started has the file, too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

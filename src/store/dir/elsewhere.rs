//! The store's directory on Windows: files appear in it whole or not at all, and a link that lies there in place of a file is not
//! followed. It is known by its path; who may enter it is its access control list's affair, which it has from the directory above.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Found;

/// How the names of files that are not yet whole end. No record's name can.
const UNFINISHED: &str = ".new";

/// `ERROR_SHARING_VIOLATION`: somebody has the file open who shares it with nobody.
const SHARING_VIOLATION: i32 = 32;

/// `FILE_FLAG_OPEN_REPARSE_POINT`: a link is opened itself.
const NOT_FOLLOWED: u32 = 0x0020_0000;

/// The directory.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
}

/// Makes the directory.
pub(super) fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Whether a directory can be made in this one: all that can be told without trying is that it is there.
pub(super) fn may_make_in(above: &Path) -> io::Result<()> {
    if fs::metadata(above)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

impl Dir {
    pub(super) fn open(path: &Path) -> io::Result<Dir> {
        fs::read_dir(path)?;
        Ok(Dir { path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Not judged.
    pub(super) fn open_to_others(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// The lock file, open and shared with nobody, which is the lock; `None` while another process has it.
    pub(super) fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create(true).truncate(false).share_mode(0).open(self.path.join(name)) {
            Ok(file) => Ok(Some(Lock(file))),
            Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what a process that was killed left unfinished.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Reads a file of at most `most` bytes.
    pub(super) fn read(&self, name: &str, most: usize) -> io::Result<Found> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => return Ok(Found::Other("it is a symbolic link")),
            Ok(found) if !found.is_file() => return Ok(Found::Other("it is no file")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        }
        let file = OpenOptions::new().read(true).custom_flags(NOT_FOLLOWED).open(path)?;
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(if bytes.len() > most { Found::Other("it is too large") } else { Found::File(bytes) })
    }

    /// Puts a file under a name, in place of what was there. Whatever happens, the old one or the new one is there, whole.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Never met before, so that what cannot be removed stands in nobody's way.
        let unfinished = self.path.join(format!("{name}.{:016x}{UNFINISHED}", rand::random::<u64>()));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        drop(file);
        written.and_then(|()| fs::rename(&unfinished, self.path.join(name))).inspect_err(|_| {
            // What is left is swept at the next start.
            let _ = fs::remove_file(&unfinished);
        })
    }

    /// Gives whatever lies under a name another one, in place of what has that.
    pub(super) fn set_aside(&self, name: &str, aside: &str) -> io::Result<()> {
        let (name, aside) = (self.path.join(name), self.path.join(aside));
        if fs::rename(&name, &aside).is_ok() {
            return Ok(());
        }
        // A directory and a file do not replace each other.
        let _ = fs::remove_file(&aside);
        let _ = fs::remove_dir(&aside);
        fs::rename(&name, &aside)
    }
}

/// Held for as long as the store is in use.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is the lock")] File);

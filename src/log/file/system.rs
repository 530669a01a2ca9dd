//! What differs between systems: how the file is opened, told from another one, and claimed.

#[cfg(unix)]
pub use self::unix::{Id, claim, create, id, is_at, make_directory, may_write, open, release, same_mode, share};

#[cfg(not(unix))]
pub use self::other::{Id, claim, create, id, is_at, make_directory, may_write, open, release, same_mode, share};

#[cfg(unix)]
mod unix {
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
    use std::path::Path;

    use rustix::fs::{FlockOperation, OFlags};
    use rustix::io::Errno;

    /// What tells a file from another that has its name now.
    pub type Id = (u64, u64);

    /// Opens a file to append to. A symbolic link is not followed: whoever could put one there would choose what is written to.
    /// Nor is a pipe waited for.
    pub fn open(path: &Path) -> io::Result<File> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let opened = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::LOOP.raw_os_error() => {
                io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link, and such are not followed: name the file itself")
            }
            _ => error,
        })?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(file)
    }

    /// Makes a file that nobody else may read yet, and that was not there.
    pub fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    pub fn id(file: &File) -> io::Result<Id> {
        file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Whether this file is the one that has the name.
    pub fn is_at(id: Id, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == id)
    }

    /// Takes the file for oneself, until it is closed: `false` when somebody else has it.
    pub fn claim(file: &File) -> bool {
        granted(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the file together with others, until it is closed or let go: `false` when somebody has it alone.
    pub fn share(file: &File) -> bool {
        granted(file, FlockOperation::NonBlockingLockShared)
    }

    /// Lets go.
    pub fn release(file: &File) {
        let _ = rustix::fs::flock(file, FlockOperation::Unlock);
    }

    /// A file system without locks has no second process that would wait for them.
    fn granted(file: &File, operation: FlockOperation) -> bool {
        !matches!(rustix::fs::flock(file, operation), Err(Errno::WOULDBLOCK | Errno::INTR))
    }

    /// Who may read what it was made of may read it.
    pub fn same_mode(of: &File, to: &File) -> io::Result<()> {
        to.set_permissions(std::fs::Permissions::from_mode(of.metadata()?.permissions().mode() & 0o777))
    }

    /// Whether something can be made in a directory.
    pub fn may_write(dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
    }

    /// Makes the directory if only it is missing.
    pub fn make_directory(path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o750).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::path::Path;

    /// Nothing tells them apart: one process writes to a file.
    pub type Id = ();

    pub fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(path)
    }

    pub fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub fn id(_: &File) -> io::Result<Id> {
        Ok(())
    }

    pub fn is_at(_: Id, path: &Path) -> bool {
        path.exists()
    }

    pub fn claim(_: &File) -> bool {
        true
    }

    pub fn share(_: &File) -> bool {
        true
    }

    pub fn release(_: &File) {}

    pub fn same_mode(_: &File, _: &File) -> io::Result<()> {
        Ok(())
    }

    pub fn may_write(dir: &Path) -> io::Result<()> {
        dir.metadata().map(drop)
    }

    pub fn make_directory(path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}

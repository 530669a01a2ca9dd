//! A Unix socket's file: made so that at no time more than the configured users can connect, taken over from a process that is
//! dead but from no other, and removed in the end.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::net::{RecvFlags, recv};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::UnixListener;

pub use std::os::unix::net::UnixStream as Moving;
pub use tokio::net::UnixStream;

pub use super::place::Place;

use crate::peer::Process;

/// What fits into `sockaddr_un`, with its zero.
const LONGEST: usize = 107;

const BACKLOG: i32 = 1024;

/// The user whom the kernel names when the caller's has no number in this process's user namespace.
const NOBODY: u32 = 65534;

/// Whether the kernel can bind a socket there, and at its temporary name.
pub fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= LONGEST && temporary(path).is_some_and(|path| path.as_os_str().len() <= LONGEST)
}

/// The socket and its file.
#[derive(Debug)]
pub struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: what stands there in the end may be somebody else's. `None`: it is, from the beginning.
    file: Option<(u64, u64)>,
}

impl UnixDoor {
    /// Binds under a temporary name, sets mode and owner, listens, and only then gives it its name.
    pub fn bind(place: &Place) -> io::Result<UnixDoor> {
        let path = &place.path;
        let problem = |kind, what: String| io::Error::new(kind, what);
        make_room(path)?;
        let temporary = temporary(path).filter(|_| fits(path)).ok_or_else(|| {
            problem(io::ErrorKind::InvalidInput, format!("a socket's path must end in a name, and may have {LONGEST} bytes"))
        })?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // The file gets the mode of the socket, without what the umask takes away: it is never wider than it shall be.
        let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(place.mode));
        // Of a run that was killed in between, whose number we have again.
        if fs::symlink_metadata(&temporary).is_ok_and(|found| found.file_type().is_socket()) {
            let _ = fs::remove_file(&temporary);
        }
        socket.bind(&SockAddr::unix(&temporary)?)?;
        let named = || -> io::Result<UnixDoor> {
            if place.owner != (None, None) {
                lchown(&temporary, place.owner.0, place.owner.1)
                    .map_err(|error| problem(error.kind(), format!("socket_owner cannot be set: {error}")))?;
            }
            fs::set_permissions(&temporary, Permissions::from_mode(place.mode))?;
            socket.listen(BACKLOG)?;
            let found = fs::symlink_metadata(&temporary)?;
            let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)))?;
            fs::rename(&temporary, path)?;
            Ok(UnixDoor { listener, path: path.clone(), file: Some((found.dev(), found.ino())) })
        };
        named().inspect_err(|_| _ = fs::remove_file(&temporary))
    }

    /// One that somebody else has made, and removes.
    pub fn held(listener: std::os::unix::net::UnixListener, place: &Place) -> io::Result<UnixDoor> {
        Ok(UnixDoor { listener: UnixListener::from_std(listener)?, path: place.path.clone(), file: None })
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection, and whose process made it.
    pub async fn accept(&self) -> io::Result<(UnixStream, Option<Process>)> {
        let (stream, _) = self.listener.accept().await?;
        let told = stream.peer_cred().ok().filter(|told| told.uid() != NOBODY);
        let process = told.map(|told| Process { uid: told.uid(), gid: Some(told.gid()) });
        Ok((stream, process))
    }
}

/// Whether there is something to be read right now, whatever the runtime knows.
pub fn has_bytes(stream: &UnixStream) -> bool {
    matches!(recv(stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((_, 1..)))
}

/// Reads without taking away, as `TcpStream::peek` does.
pub async fn peek(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    let look = || Ok(recv(stream, &mut *buffer, RecvFlags::PEEK)?.1);
    stream.async_io(Interest::READABLE, look).await
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        let ours = |found: fs::Metadata| Some((found.dev(), found.ino())) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether nothing stands there that somebody may still want: else an error that says what.
pub fn make_room(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let what = "something that is no socket stands there, and is left alone";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full would keep us waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Ok(()) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody answers there, perhaps soproxy itself")),
        Err(error) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, format!("it cannot be told whether the socket there is in use: {error}")))
        }
    }
}

/// In the same directory, so that the file can be renamed.
fn temporary(path: &Path) -> Option<PathBuf> {
    let name = path.file_name().filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"))?;
    // Two sockets of one process must not take each other's: the name's own sum tells them apart.
    let sum = name.as_bytes().iter().fold(0_u16, |sum, &byte| sum.rotate_left(3) ^ u16::from(byte));
    Some(path.with_file_name(OsString::from(format!(".{:x}{sum:04x}", std::process::id()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path) -> Place {
        Place { path: path.to_owned(), mode: 0o600, owner: (None, None) }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_file_has_the_mode_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for wanted in [0o600, 0o660, 0o666, 0o777] {
            let door = UnixDoor::bind(&Place { mode: wanted, ..place(&path) }).unwrap();
            assert_eq!(mode(&path), wanted);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
            drop(door);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file");
        let door = UnixDoor::bind(&place(&path)).unwrap();
        let error = UnixDoor::bind(&place(&path)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("somebody answers")), (io::ErrorKind::AddrInUse, true), "{error}");
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(door);
    }

    #[tokio::test]
    async fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "precious").unwrap();
        std::os::unix::fs::symlink(dir.path().join("gone"), &link).unwrap();
        for path in [&path, &link, dir.path()] {
            let error = UnixDoor::bind(&place(path)).unwrap_err();
            assert!(error.to_string().contains("no socket"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&link).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn another_ones_socket_is_not_removed_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let door = UnixDoor::bind(&place(&path)).unwrap();
        // Both files exist at once, so that they have different numbers.
        let other = std::os::unix::net::UnixListener::bind(dir.path().join("other")).unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        drop(door);
        assert!(path.exists());
        drop(other);
    }

    #[tokio::test]
    async fn an_owner_that_cannot_be_set_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let owner = (Some(4242), Some(4343));
        match UnixDoor::bind(&Place { owner, ..place(&path) }) {
            // Only root may give files away.
            Ok(_door) => {
                let found = fs::symlink_metadata(&path).unwrap();
                assert_eq!((found.uid(), found.gid()), (4242, 4343));
            }
            Err(error) => {
                assert!(error.to_string().contains("socket_owner"), "{error}");
                assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            }
        }
    }

    #[test]
    fn a_path_may_be_too_long() {
        assert!(fits(Path::new("/run/soproxy/soproxy.sock")));
        assert!(!fits(&Path::new("/").join("x".repeat(107))));
        assert!(fits(&Path::new("/").join("x".repeat(106))));
        assert!(!fits(&Path::new("/").join("x".repeat(104)).join("s")), "the temporary name is longer than this one");
        assert!(!fits(Path::new("/run/soproxy/")));
    }
}

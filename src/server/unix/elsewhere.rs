//! Where there are no Unix sockets: the same types, of which there is no value. The configuration refuses `unix:` before any of
//! this is asked.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use super::place::Place;
use crate::peer::Process;

/// No path does.
pub fn fits(_: &Path) -> bool {
    false
}

/// There is no room.
pub fn make_room(_: &Path) -> io::Result<()> {
    Err(none())
}

fn none() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "there are no Unix sockets on this system")
}

/// A listener of somebody else's that cannot be.
#[derive(Debug)]
pub enum Held {}

/// A listener that cannot be.
#[derive(Debug)]
pub enum UnixDoor {}

impl UnixDoor {
    /// Fails.
    pub fn bind(_: &Place) -> io::Result<UnixDoor> {
        Err(none())
    }

    /// Never called.
    pub fn held(listener: Held, _: &Place) -> io::Result<UnixDoor> {
        match listener {}
    }

    /// Never called.
    pub fn path(&self) -> &Path {
        match *self {}
    }

    /// Never called.
    pub async fn accept(&self) -> io::Result<(UnixStream, Option<Process>)> {
        match *self {}
    }
}

/// A connection that cannot be.
#[derive(Debug)]
pub enum UnixStream {}

/// The same, on its way from one runtime to another.
pub type Moving = UnixStream;

/// Never called.
pub fn has_bytes(stream: &UnixStream) -> bool {
    match *stream {}
}

/// Never called.
pub async fn peek(stream: &UnixStream, _: &mut [u8]) -> io::Result<usize> {
    match *stream {}
}

impl UnixStream {
    /// Never called.
    pub fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    /// Never called.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match *self {}
    }

    /// Never called.
    pub fn into_std(self) -> io::Result<Moving> {
        match self {}
    }

    /// Never called.
    pub fn from_std(stream: Moving) -> io::Result<UnixStream> {
        match stream {}
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

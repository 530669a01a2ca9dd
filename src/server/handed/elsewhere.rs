//! Where no service manager hands sockets over: there are none.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::unix::{Held, Place};

/// None.
#[derive(Debug, Default)]
pub struct Handed;

impl Handed {
    /// None.
    pub fn take() -> io::Result<Handed> {
        Ok(Handed)
    }

    /// None.
    pub fn tcp(&mut self, _: SocketAddr) -> Option<TcpListener> {
        None
    }

    /// None.
    pub fn unix(&mut self, _: &Place) -> io::Result<Option<Held>> {
        Ok(None)
    }

    /// All of none.
    pub fn all_taken(self) -> io::Result<()> {
        Ok(())
    }
}

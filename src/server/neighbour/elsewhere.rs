//! Only Linux tells whose process is at the other end of a connection over loopback.

use std::net::SocketAddr;

use crate::peer::Process;

/// Nobody knows.
pub fn process(_peer: SocketAddr, _local: SocketAddr) -> Option<Process> {
    None
}

//! Which user's process is at the other end of a TCP connection over loopback: the kernel knows, and Linux tells
//! (`sock_diag(7)`). What is odd in any way is no answer.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with};

use crate::peer::Process;

/// The kernel answers while it is asked; this is for a kernel that does not.
const PATIENCE: Duration = Duration::from_millis(200);

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ESTABLISHED: u8 = 1;
/// `nlmsghdr`
const HEADER: usize = 16;
/// `inet_diag_sockid`
const ID: usize = 48;
/// Up to and with the user in `inet_diag_msg`.
const ANSWER: usize = HEADER + 4 + ID + 16;
/// What the kernel writes for a user that has no number in this process's user namespace.
const NOBODY: u32 = 65534;

/// The user of the process that connected from `peer` to our `local`.
pub fn process(peer: SocketAddr, local: SocketAddr) -> Option<Process> {
    let asked = Pair::new(peer, local)?;
    let answer = ask(&asked.request()).map_err(|error| tracing::debug!(%peer, %error, "the kernel does not tell whose connection it is"));
    asked.user(&answer.ok()?).map(|uid| Process { uid, gid: None })
}

fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    sendto(&socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 1024];
    let (count, _, from) = recvfrom(&socket, &mut *answer, RecvFlags::empty())?;
    // Other processes may send to this socket, too.
    let kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
    if !kernel {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is not the kernel's"));
    }
    answer.truncate(count);
    Ok(answer)
}

/// A connection as its other end sees it.
struct Pair {
    family: u8,
    theirs: SocketAddr,
    ours: SocketAddr,
}

impl Pair {
    /// Both must be of this machine, and of one family. An IPv4 address within IPv6 is asked for as IPv4: the caller's own socket
    /// may be of either family.
    fn new(peer: SocketAddr, local: SocketAddr) -> Option<Pair> {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (theirs, ours) = (plain(peer), plain(local));
        let family = if theirs.is_ipv4() { AF_INET } else { AF_INET6 };
        (theirs.ip().is_loopback() && theirs.is_ipv4() == ours.is_ipv4()).then_some(Pair { family, theirs, ours })
    }

    /// `nlmsghdr` and `inet_diag_req_v2`: their source is what we call the peer.
    fn request(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 8 + ID);
        let length = (HEADER + 8 + ID) as u32;
        bytes.extend(length.to_ne_bytes());
        bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend(NLM_F_REQUEST.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([self.family, IPPROTO_TCP, 0, 0]);
        bytes.extend(u32::MAX.to_ne_bytes());
        bytes.extend(self.theirs.port().to_be_bytes());
        bytes.extend(self.ours.port().to_be_bytes());
        bytes.extend(sixteen(self.theirs.ip()));
        bytes.extend(sixteen(self.ours.ip()));
        bytes.extend([0; 4]);
        // Any cookie.
        bytes.extend([0xff; 8]);
        bytes
    }

    /// The user in the answer, if it is about this very socket. Where there is none, the kernel answers with the listener's.
    fn user(&self, answer: &[u8]) -> Option<u32> {
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        let (message, end) = (answer.get(HEADER..)?, ANSWER - HEADER);
        if kind != SOCK_DIAG_BY_FAMILY || message.len() < end || message[1] != ESTABLISHED {
            return None;
        }
        let id = &message[4..4 + ID];
        let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
        let address = |at: usize| -> Option<IpAddr> {
            let bytes: [u8; 16] = id[at..at + 16].try_into().ok()?;
            match message[0] {
                AF_INET => Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])),
                AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
                _ => None,
            }
        };
        let theirs = SocketAddr::new(address(4)?, port(0));
        let ours = SocketAddr::new(address(20)?, port(2));
        if (theirs, ours) != (self.theirs, self.ours) {
            return None;
        }
        // Behind the numbers of the socket: timer, queues, then the user.
        let uid = u32::from_ne_bytes(message.get(4 + ID + 12..end)?.try_into().ok()?);
        (uid != NOBODY).then_some(uid)
    }
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> Pair {
        Pair::new("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap()).unwrap()
    }

    /// What the kernel would say about the pair, with `uid`.
    fn answer(pair: &Pair, state: u8, uid: u32) -> Vec<u8> {
        let mut bytes = pair.request();
        bytes.splice(HEADER..HEADER + 8, [pair.family, state, 0, 0]);
        bytes.extend([0; 12]);
        bytes.extend(uid.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn only_an_answer_about_this_very_connection_counts() {
        let asked = pair();
        assert_eq!(asked.user(&answer(&asked, ESTABLISHED, 1000)), Some(1000));
        assert_eq!(asked.user(&answer(&asked, 10, 1000)), None, "a listener");
        assert_eq!(asked.user(&answer(&asked, ESTABLISHED, NOBODY)), None, "a user of another namespace");
        for other in ["127.0.0.1:40001", "127.0.0.2:40000"] {
            let other = Pair::new(other.parse().unwrap(), asked.ours).unwrap();
            assert_eq!(asked.user(&answer(&other, ESTABLISHED, 1000)), None);
        }
        let turned = Pair { family: AF_INET, theirs: asked.ours, ours: asked.theirs };
        assert_eq!(asked.user(&answer(&turned, ESTABLISHED, 1000)), None);
        let whole = answer(&asked, ESTABLISHED, 1000);
        for length in 0..ANSWER {
            assert_eq!(asked.user(&whole[..length]), None, "{length}");
        }
        let mut error = whole;
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(asked.user(&error), None);
    }

    #[test]
    fn only_callers_on_loopback_are_asked_for() {
        let local = "192.0.2.1:8080".parse().unwrap();
        assert!(Pair::new("192.0.2.2:1".parse().unwrap(), local).is_none());
        assert!(Pair::new("127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()).is_none());
        assert!(Pair::new("[::ffff:127.0.0.1]:1".parse().unwrap(), "[::ffff:127.0.0.1]:2".parse().unwrap()).unwrap().family == AF_INET);
    }

    /// Where the kernel, or what guards it, does not tell, there is nothing to see.
    fn told() -> bool {
        let told = ask(&pair().request()).is_ok();
        if !told {
            eprintln!("this machine does not permit sock_diag: nothing was tested");
        }
        told
    }

    #[test]
    fn a_connection_of_our_own_has_our_own_user() {
        if !told() {
            return;
        }
        let mine = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            for to in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                let Ok(stream) = TcpStream::connect((to, port)) else { continue };
                let (accepted, peer) = listener.accept().unwrap();
                let local = accepted.local_addr().unwrap();
                assert_eq!(process(peer, local), Some(Process { uid: mine, gid: None }), "{address} {to}");
                let stranger = SocketAddr::new(peer.ip(), peer.port().wrapping_add(1));
                assert_eq!(process(stranger, local), None, "the listener's own user is not the caller's");
                drop(stream);
                let gone = (0..100).any(|_| {
                    std::thread::sleep(Duration::from_millis(5));
                    process(peer, local).is_none()
                });
                assert!(gone, "a socket that is closed is nobody's");
            }
        }
    }
}

//! What systemd is told of this process, and what it asks for: its notification protocol, sd_notify(3). A datagram of lines, to the
//! socket that `NOTIFY_SOCKET` names.
//!
//! The socket is connected when it is made, so that a process that has confined itself since can still speak.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// systemd takes what comes in at once, or does not run.
const PATIENCE: Duration = Duration::from_secs(1);

/// A longer status is cut.
const LONGEST: usize = 200;

/// Speaks to the service manager.
#[derive(Debug)]
pub struct Notifier(UnixDatagram);

impl Notifier {
    /// To the socket at this address, a path or an abstract name (`@…`).
    pub fn to(address: &OsStr) -> io::Result<Notifier> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes() {
            [b'/', ..] => socket.connect(address)?,
            [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract name")),
        }
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Notifier(socket))
    }

    /// The process serves; or it is done with a reload.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\n{}", status_line(status)))
    }

    /// The configuration is being read anew.
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        // By it systemd knows that this is the answer to its own signal.
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n{}", status_line("reading the configuration anew")))
    }

    /// The process is being stopped, and may take so long.
    pub fn stopping(&self, within: Duration, status: &str) -> io::Result<()> {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\n{}", within.as_micros(), status_line(status)))
    }

    /// What `systemctl status` shows.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&status_line(status))
    }

    /// The process is well.
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1\n")
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.0.send(message.as_bytes()).map(drop)
    }
}

/// One line: another one would be an assignment of its own.
fn status_line(status: &str) -> String {
    let status: String = status.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST).collect();
    format!("STATUS={status}\n")
}

/// How often this process has to say that it is well, if it has to: sd_watchdog_enabled(3).
pub fn watchdog(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let mine = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let micros = variable("WATCHDOG_USEC")?.parse().ok()?;
    (mine && micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn messages_are_lines_of_assignments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.ready("1 of 2\nMAINPID=1").unwrap();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=1 of 2 MAINPID=1\n", "a status is one line, whatever is in it");
        let before = clock_gettime(ClockId::Monotonic).tv_sec;
        notifier.reloading().unwrap();
        let text = heard(&socket);
        let micros: i64 = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap().parse().unwrap();
        assert!((0..3600).contains(&(micros / 1_000_000 - before)), "{text}");
        notifier.stopping(Duration::from_millis(1500), "bye").unwrap();
        assert_eq!(heard(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=bye\n");
        notifier.alive().unwrap();
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
        notifier.status(&"x".repeat(1000)).unwrap();
        assert_eq!(heard(&socket).len(), "STATUS=\n".len() + LONGEST);
    }

    #[test]
    fn a_socket_has_a_path_or_an_abstract_name() {
        let name = format!("soproxy-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::to(OsStr::new(&format!("@{name}"))).unwrap().alive().unwrap();
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
        assert!(Notifier::to(OsStr::new("/gone/notify")).is_err());
        assert!(Notifier::to(OsStr::new("vsock:2:1234")).is_err());
        assert!(Notifier::to(OsStr::new("")).is_err());
    }

    #[test]
    fn the_watchdog_is_this_processs_own() {
        let with = |pid: Option<String>, micros: Option<&str>| {
            watchdog(|name| if name == "WATCHDOG_PID" { pid.clone() } else { micros.map(str::to_owned) })
        };
        let me = std::process::id();
        assert_eq!(with(Some(me.to_string()), Some("30000000")), Some(Duration::from_secs(30)));
        assert_eq!(with(None, Some("1000")), Some(Duration::from_millis(1)));
        assert_eq!(with(Some((me + 1).to_string()), Some("1000")), None);
        for micros in [None, Some("0"), Some("soon")] {
            assert_eq!(with(None, micros), None);
        }
    }
}

//! What a listener's door is made of: addresses and Unix sockets, who may use those, and TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::kinds::{self, Wrong, quoted};
use super::reader::Table;
use super::settings::Field;
use crate::config::secret::SecretRef;
use crate::server::unix;

/// Where to listen: at least one of both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// IP addresses.
    pub tcp: Vec<SocketAddr>,
    /// Unix sockets.
    pub unix: Vec<PathBuf>,
}

/// Whose a Unix socket is, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// A user's name or number.
    pub user: Option<String>,
    /// A group's.
    pub group: Option<String>,
}

/// What `[listen]` and each of `[[listeners]]` have besides.
pub struct DoorSettings {
    /// `tls_certificate`
    pub certificate: Field<PathBuf>,
    /// `tls_key`
    pub key: Field<SecretRef>,
    /// `client_ca`
    pub client_ca: Field<PathBuf>,
    /// `require_client_certificate`
    pub require: Field<bool>,
    /// Its Unix sockets.
    pub socket: SocketSettings,
}

/// Whose the Unix sockets are.
pub struct SocketSettings {
    /// `socket_mode`
    pub mode: Field<u32>,
    /// `socket_owner`
    pub owner: Field<Owner>,
}

/// Reads them.
pub fn door(table: &mut Table<'_, '_>) -> DoorSettings {
    DoorSettings {
        certificate: table.read("tls_certificate", kinds::path),
        key: table.read("tls_key", kinds::secret),
        client_ca: table.read("client_ca", kinds::path),
        require: table.read("require_client_certificate", kinds::flag),
        socket: socket(table),
    }
}

/// Reads what is set of Unix sockets.
pub fn socket(table: &mut Table<'_, '_>) -> SocketSettings {
    SocketSettings { mode: table.read("socket_mode", mode), owner: table.read("socket_owner", owner) }
}

/// IP addresses with ports, and `unix:` with a path; at least one.
pub fn places(value: &Value) -> Result<Places, Wrong> {
    const HINT: &str = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or \"unix:/run/soproxy/soproxy.sock\", or a list of them";
    const PATH: &str = "write the whole path behind unix:, such as \"unix:/run/soproxy/soproxy.sock\"";
    let mut places = Places::default();
    let texts = kinds::list(|text| Ok(text.to_owned()))(value).map_err(|wrong| Wrong::new(wrong.what, HINT))?;
    for text in &texts {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map_err(|_| Wrong::new(format!("{} is no IP address with a port", quoted(text)), HINT))?;
            places.tcp.push(address);
            continue;
        };
        if cfg!(not(unix)) {
            return Err(Wrong::new(format!("{} is a Unix socket, and there are none on this system", quoted(text)), HINT));
        }
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(Wrong::new(format!("{} is no absolute path", quoted(text)), PATH));
        }
        if path.file_name().is_none() || text.ends_with(['/', '.']) {
            return Err(Wrong::new(format!("{} ends in no name of a file", quoted(text)), PATH));
        }
        if !unix::fits(path) {
            let hint = "the kernel takes 107 bytes; a name is needed for a moment beside it: choose a shorter path";
            return Err(Wrong::new(format!("{} is too long for a socket's path", quoted(text)), hint));
        }
        places.unix.push(path.to_owned());
    }
    if texts.is_empty() { Err(Wrong::new("names no address", HINT)) } else { Ok(places) }
}

/// Permission bits in octal.
fn mode(value: &Value) -> Result<u32, Wrong> {
    const HINT: &str = "write the permission bits in octal, in quotes, such as \"0600\" or \"0660\"";
    let Some(text) = value.as_str().map(str::trim) else { return Err(Wrong::new("must be a string", HINT)) };
    let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| Wrong::new(format!("{} is no mode of a file", quoted(text)), HINT))
}

/// `user`, `user:group` or `:group`.
fn owner(value: &Value) -> Result<Owner, Wrong> {
    const HINT: &str = "write \"user\", \"user:group\" or \":group\", names or numbers";
    let text = kinds::text(value).map_err(|wrong| Wrong::new(wrong.what, HINT))?;
    let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let plain = |name: &str| !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
    let good = plain(user) && group.is_none_or(plain) || user.is_empty() && group.is_some_and(plain);
    if !good {
        return Err(Wrong::new(format!("{} is no user and group", quoted(&text)), HINT));
    }
    Ok(Owner { user: (!user.is_empty()).then(|| user.to_owned()), group: group.map(str::to_owned) })
}

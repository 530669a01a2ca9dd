//! What a listener's door is made of: the TLS files as a whole, and Unix sockets with their owners' numbers.

use std::path::Path;

use super::Assembly;
use crate::config::file::{DoorSettings, Field, Owner, Places, SocketSettings};
use crate::config::secret::SecretRef;
use crate::server::tls::{Files, Key};
use crate::server::unix::Place;

/// Only the listener's own user.
const MODE: u32 = 0o600;

impl Assembly<'_> {
    /// The outer `None` had a problem, the inner speaks no TLS.
    pub(super) fn tls(&mut self, table: &str, door: &DoorSettings) -> Option<Option<Files>> {
        let (certificate, key) = match (&door.certificate, &door.key) {
            (Field::Is(certificate), Field::Is(key)) => (certificate, key),
            (Field::Is(_), Field::Absent) => {
                return self.refuse(table, "tls_certificate", "has no key", "set tls_key as well, such as { file = \"privkey.pem\" }");
            }
            (Field::Absent, Field::Is(_)) => {
                return self.refuse(table, "tls_key", "has no certificate", "set tls_certificate as well, such as \"fullchain.pem\"");
            }
            (Field::Absent, Field::Absent) => {
                let hint = "certificates are shown over TLS only: set tls_certificate and tls_key as well";
                return match (&door.client_ca, &door.require) {
                    (Field::Is(_), _) => self.refuse(table, "client_ca", "is set without TLS", hint),
                    (_, Field::Is(true)) => self.refuse(table, "require_client_certificate", "is set without TLS", hint),
                    (Field::Wrong, _) | (_, Field::Wrong) => None,
                    _ => Some(None),
                };
            }
            (Field::Wrong, _) | (_, Field::Wrong) => return None,
        };
        let require = match door.require {
            Field::Is(require) => require,
            Field::Absent => false,
            Field::Wrong => return None,
        };
        let client_ca = match &door.client_ca {
            Field::Is(path) => Some(self.secrets.path(path)),
            Field::Absent if require => {
                let hint = "set client_ca: the file with the authorities that sign the callers' certificates";
                return self.refuse(table, "require_client_certificate", "is set without client_ca", hint);
            }
            Field::Absent => None,
            Field::Wrong => return None,
        };
        let key = self.tls_key(&format!("{table}.tls_key"), key)?;
        let files = Files { certificate: self.secrets.path(certificate), key, client_ca, require };
        match files.load() {
            Ok((_, None)) => {}
            Ok((_, Some(warning))) => {
                self.warn(&format!("{table}.tls_certificate"), warning, "renew it; soproxy reads the files again when they change");
            }
            Err(wrong) => return self.refuse(table, wrong.setting, wrong.what, wrong.hint),
        }
        Some(Some(files))
    }

    fn refuse<T>(&mut self, table: &str, setting: &str, what: impl Into<String>, hint: &str) -> Option<T> {
        self.problem(&format!("{table}.{setting}"), what, hint);
        None
    }

    fn tls_key(&mut self, key: &str, reference: &SecretRef) -> Option<Key> {
        self.look_at(key, reference);
        // Read here as well: what is wrong with a reference is said in the words of all others.
        let bytes = self.secrets.bytes_followed_elsewhere(reference);
        let bytes = bytes.map_err(|error| self.problem(key, error.to_string(), error.hint())).ok()?;
        Some(self.secrets.file_of(reference).map_or(Key::Held(bytes), Key::File))
    }

    /// The Unix sockets among a listener's places.
    pub(super) fn sockets(&mut self, table: &str, places: Option<&Places>, socket: &SocketSettings) -> Option<Vec<Place>> {
        let key = format!("{table}.socket_owner");
        let owner = match &socket.owner {
            Field::Is(owner) => self.owner(&key, owner)?,
            Field::Absent => (None, None),
            Field::Wrong => return None,
        };
        let mode = match socket.mode {
            Field::Is(mode) => mode,
            Field::Absent => MODE,
            Field::Wrong => return None,
        };
        let unix = &places?.unix;
        if unix.is_empty() && owner != (None, None) {
            self.problem(&key, "is set without a Unix socket", "remove it, or add \"unix:/run/soproxy/soproxy.sock\" to address");
        }
        Some(unix.iter().map(|path| Place { path: path.clone(), mode, owner }).collect())
    }

    fn owner(&mut self, key: &str, owner: &Owner) -> Option<(Option<u32>, Option<u32>)> {
        let mut find = |name: &Option<String>, file: &str, what: &str| match name {
            None => Some(None),
            Some(name) => {
                let found = number(name, Path::new(file));
                if found.is_none() {
                    let hint = format!("write a {what} that stands in {file}, or the number");
                    self.problem(key, format!("there is no {what} {name:?} on this machine"), hint);
                }
                found.map(Some)
            }
        };
        let (user, group) = (find(&owner.user, "/etc/passwd", "user"), find(&owner.group, "/etc/group", "group"));
        Some((user?, group?))
    }
}

/// The third field of the line that begins with the name.
fn number(name: &str, file: &Path) -> Option<u32> {
    // -1 means "leave it" to the kernel.
    if let Ok(number) = name.parse::<u32>() {
        return Some(number).filter(|number| *number != u32::MAX);
    }
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers_and_numbers_are_their_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "root:x:0:0::/:\nwww:x:33:\nwwww:x:34:\nbroken\nodd:x:y:\n").unwrap();
        let cases =
            [("root", Some(0)), ("www", Some(33)), ("12", Some(12)), ("4294967295", None), ("broken", None), ("odd", None), ("x", None)];
        for (name, expected) in cases {
            assert_eq!(number(name, file.path()), expected, "{name}");
        }
        assert_eq!(number("root", Path::new("/gone")), None);
    }
}

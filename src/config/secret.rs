//! Secret references: a literal, `{ file = … }`, `{ env = … }`, `{ credential = … }`; how each is read, and what is wrong
//! when it cannot be. What a secret is for is not known here, and no message holds a secret's value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::confine;

/// More than any key or token has; a reference to a device or to the wrong file ends here.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a secret is, as the configuration names it.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// The value itself stands in the configuration.
    Literal(SecretString),
    /// `{ file = "…" }`, relative to the configuration file.
    File(PathBuf),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ credential = "NAME" }`: a file in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl PartialEq for SecretRef {
    fn eq(&self, other: &SecretRef) -> bool {
        match (self, other) {
            (SecretRef::Literal(a), SecretRef::Literal(b)) => a.expose_secret() == b.expose_secret(),
            (SecretRef::File(a), SecretRef::File(b)) => a == b,
            (SecretRef::Env(a), SecretRef::Env(b)) | (SecretRef::Credential(a), SecretRef::Credential(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for SecretRef {}

/// Reads references: relative paths against one directory, variables from one environment.
pub struct Secrets<'a> {
    dir: &'a Path,
    env: &'a BTreeMap<String, String>,
    /// All files that were asked for.
    named: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Secrets<'a> {
    /// `dir` is the configuration file's directory.
    pub fn new(dir: &'a Path, env: &'a BTreeMap<String, String>) -> Secrets<'a> {
        Secrets { dir, env, named: RefCell::default() }
    }

    /// The secret as one line of text: without BOM and without white space around it, except that a literal is taken as
    /// it stands. A control character inside could never go into a header, so it is refused here.
    pub fn text(&self, reference: &SecretRef) -> Result<SecretString, SecretError> {
        let bytes = self.bytes(reference)?;
        let place = self.place(reference);
        let text = decode(&bytes).ok_or_else(|| SecretError::NotText(place.clone()))?;
        let text = if matches!(reference, SecretRef::Literal(_)) { text.as_str() } else { text.trim() };
        if text.chars().any(char::is_control) {
            return Err(SecretError::ControlCharacter(place));
        }
        Ok(SecretString::from(text))
    }

    /// The secret's bytes as they are, for a key that may be binary or UTF-16. Never only white space.
    pub fn bytes(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let bytes = match reference {
            SecretRef::Literal(text) => Zeroizing::new(text.expose_secret().as_bytes().to_vec()),
            SecretRef::Env(name) => {
                let value = self.env.get(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                Zeroizing::new(value.as_bytes().to_vec())
            }
            SecretRef::File(path) => self.file(path)?,
            SecretRef::Credential(name) => read(&self.note(self.credential(name)?))?,
        };
        let blank = decode(&bytes).is_some_and(|text| text.trim().is_empty());
        if blank { Err(SecretError::Empty(self.place(reference))) } else { Ok(bytes) }
    }

    /// The bytes of a file that is no secret, under the same rules.
    pub fn file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        read(&self.path(path))
    }

    /// A variable that is no secret's.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Where the path of a file leads that the configuration is read from, now or later.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.note(self.resolve(path))
    }

    /// Where a path leads of which nothing is read.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// The files that were asked for until now, whether they could be read or not.
    pub fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().iter().cloned().collect()
    }

    fn note(&self, path: PathBuf) -> PathBuf {
        self.named.borrow_mut().insert(path.clone());
        path
    }

    /// The file that a secret is in, if it is in one.
    pub fn file_of(&self, reference: &SecretRef) -> Option<PathBuf> {
        match reference {
            SecretRef::File(path) => Some(self.path(path)),
            SecretRef::Credential(name) => self.credential(name).ok(),
            SecretRef::Literal(_) | SecretRef::Env(_) => None,
        }
    }

    /// The file of a reference when others than its owner can read it. systemd's credentials are left out: systemd
    /// itself guards their directory.
    pub fn exposed(&self, reference: &SecretRef) -> Option<PathBuf> {
        let SecretRef::File(path) = reference else { return None };
        let path = self.dir.join(path);
        readable_by_others(&path).then_some(path)
    }

    /// Whether a literal was probably meant to be `{ file = … }`.
    pub fn names_a_file(&self, reference: &SecretRef) -> bool {
        matches!(reference, SecretRef::Literal(text) if text.expose_secret().len() < 200 && self.dir.join(text.expose_secret()).is_file())
    }

    fn credential(&self, name: &str) -> Result<PathBuf, SecretError> {
        if name.is_empty() || name.contains(['/', '\\']) || name == ".." {
            return Err(SecretError::CredentialName(name.to_owned()));
        }
        match self.env.get("CREDENTIALS_DIRECTORY") {
            Some(dir) if !dir.is_empty() => Ok(Path::new(dir).join(name)),
            _ => Err(SecretError::NoCredentials(name.to_owned())),
        }
    }

    /// How a message names the place.
    fn place(&self, reference: &SecretRef) -> String {
        match reference {
            SecretRef::Literal(_) => "the value".to_owned(),
            SecretRef::File(path) => self.dir.join(path).display().to_string(),
            SecretRef::Env(name) => format!("the environment variable {name}"),
            SecretRef::Credential(name) => format!("the credential {name}"),
        }
    }
}

/// Whether group or others may read the file (Unix permission bits; elsewhere not judged).
pub fn readable_by_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let fail = |error: io::Error| {
        let (kind, barred) = (error.kind(), confine::bars(path));
        SecretError::File { path: path.to_owned(), kind, error: error.to_string(), barred }
    };
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(fail)?;
    match bytes.len() as u64 {
        0 => Err(SecretError::Empty(path.display().to_string())),
        length if length > MAX_BYTES => Err(SecretError::TooLarge(path.to_owned())),
        _ => Ok(bytes),
    }
}

/// UTF-8 with or without BOM, or UTF-16 with one: what `echo … > file` writes in Windows PowerShell.
fn decode(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|&pair| unit(pair))).collect::<Result<String, _>>().ok()?;
        rest.is_empty().then_some(Zeroizing::new(text))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => std::str::from_utf8(rest).ok().map(|text| Zeroizing::new(text.to_owned())),
    }
}

/// Why a secret cannot be read. Names the path or the variable, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// The file cannot be opened or read.
    File {
        /// The whole path.
        path: PathBuf,
        /// What kind of failure, for the hint.
        kind: io::ErrorKind,
        /// The system's words.
        error: String,
        /// Whether it is not the file's permissions.
        barred: bool,
    },
    /// Larger than a secret can be.
    TooLarge(PathBuf),
    /// Nothing in it but white space.
    Empty(String),
    /// The variable is not set, or is no UTF-8.
    Unset(String),
    /// `$CREDENTIALS_DIRECTORY` is not set.
    NoCredentials(String),
    /// A credential's name with a path in it.
    CredentialName(String),
    /// Neither UTF-8 nor UTF-16 with BOM.
    NotText(String),
    /// A line break, a tab or the like between the first and the last visible character.
    ControlCharacter(String),
}

impl SecretError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            SecretError::File { kind: io::ErrorKind::NotFound, .. } => {
                "create the file, or correct the path; paths are relative to the configuration file".to_owned()
            }
            SecretError::File { barred: true, .. } => confine::FILE_HINT.to_owned(),
            SecretError::File { kind: io::ErrorKind::PermissionDenied, .. } => "let the user that runs soproxy read the file".to_owned(),
            SecretError::File { .. } => "name a readable file".to_owned(),
            SecretError::TooLarge(_) => "is this the right file?".to_owned(),
            SecretError::Empty(_) => "put the value there, without quotes".to_owned(),
            SecretError::Unset(name) => format!("set {name} in the environment soproxy is started from"),
            SecretError::NoCredentials(name) => {
                format!("start soproxy as a systemd service with LoadCredential={name}:/path/of/the/secret, or use {{ file = \"…\" }}")
            }
            SecretError::CredentialName(_) => "write the name given in LoadCredential=, without a path".to_owned(),
            SecretError::NotText(_) => "save it as UTF-8".to_owned(),
            SecretError::ControlCharacter(_) => "the secret must be one line, with nothing before or after it".to_owned(),
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::File { path, kind: io::ErrorKind::NotFound, .. } => write!(f, "{} does not exist", path.display()),
            SecretError::File { path, error, .. } => write!(f, "{} cannot be read: {error}", path.display()),
            SecretError::TooLarge(path) => write!(f, "{} is larger than 1 MiB", path.display()),
            SecretError::Empty(place) => write!(f, "{place} is empty"),
            SecretError::Unset(name) => write!(f, "the environment variable {name} is not set (or is no UTF-8 text)"),
            SecretError::NoCredentials(name) => {
                write!(f, "there is no credential {name}: the environment variable CREDENTIALS_DIRECTORY is not set")
            }
            SecretError::CredentialName(name) => write!(f, "{name:?} is no name of a systemd credential"),
            SecretError::NotText(place) => write!(f, "{place} is not UTF-8 text"),
            SecretError::ControlCharacter(place) => write!(f, "{place} has a line break or another control character inside"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s"), bytes).unwrap();
        (dir, SecretRef::File("s".into()))
    }

    #[test]
    fn a_file_is_trimmed_and_its_byte_order_mark_goes() {
        let none = env(&[]);
        for bytes in
            [&b"value"[..], b"  value \r\n", b"\xef\xbb\xbfvalue\n", b"\xff\xfev\0a\0l\0u\0e\0\r\0\n\0", b"\xfe\xff\0v\0a\0l\0u\0e"]
        {
            let (dir, reference) = file(bytes);
            let text = Secrets::new(dir.path(), &none).text(&reference).unwrap();
            assert_eq!(text.expose_secret(), "value", "{bytes:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_key_stay_as_they_are() {
        let (dir, reference) = file(b"\xff\xfe\0\xd8 binary \n");
        assert_eq!(&**Secrets::new(dir.path(), &env(&[])).bytes(&reference).unwrap(), b"\xff\xfe\0\xd8 binary \n");
    }

    #[test]
    fn variables_and_credentials() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("app"), "from systemd\n").unwrap();
        let env = env(&[("A", " from env\n"), ("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap())]);
        let secrets = Secrets::new(Path::new("/nowhere"), &env);
        assert_eq!(secrets.text(&SecretRef::Env("A".into())).unwrap().expose_secret(), "from env");
        assert_eq!(secrets.text(&SecretRef::Credential("app".into())).unwrap().expose_secret(), "from systemd");
        assert_eq!(secrets.text(&SecretRef::Credential("../app".into())).unwrap_err(), SecretError::CredentialName("../app".into()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("blank"), " \n\n").unwrap();
        std::fs::write(dir.path().join("latin1"), b"caf\xe9").unwrap();
        let env = env(&[("TWO", "hush\nhush"), ("BLANK", "")]);
        let secrets = Secrets::new(dir.path(), &env);
        let cases = [
            (SecretRef::File("gone".into()), "gone does not exist"),
            (SecretRef::File("blank".into()), "blank is empty"),
            (SecretRef::File("latin1".into()), "latin1 is not UTF-8 text"),
            (SecretRef::File(".".into()), "cannot be read"),
            (SecretRef::Env("NONE".into()), "variable NONE is not set"),
            (SecretRef::Env("BLANK".into()), "variable BLANK is empty"),
            (SecretRef::Env("TWO".into()), "variable TWO has a line break"),
            (SecretRef::Credential("app".into()), "no credential app"),
            (SecretRef::Literal("hush\n".into()), "the value has a line break"),
            (SecretRef::Literal(" ".into()), "the value is empty"),
        ];
        for (reference, expected) in cases {
            let error = secrets.text(&reference).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            assert!(!error.hint().is_empty());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, reference) = file(b"value");
        let env = env(&[]);
        let secrets = Secrets::new(dir.path(), &env);
        for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true)] {
            std::fs::set_permissions(dir.path().join("s"), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secrets.exposed(&reference).is_some(), exposed, "{mode:o}");
        }
    }

    #[test]
    fn a_reference_does_not_show_its_value() {
        assert!(!format!("{:?}", SecretRef::Literal("hush".into())).contains("hush"));
    }
}

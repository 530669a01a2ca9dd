//! Secret references: a literal, `{ file = … }`, `{ env = … }`, `{ credential = … }`, `{ command = … }`; how each is read, and
//! what is wrong when it cannot be. What a secret is for is not known here, and no message holds a secret's value.

mod command;
mod error;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use self::command::{Failure, TIMEOUT};
pub use self::error::SecretError;
use crate::confine;
use crate::look::Look;

/// More than any key or token has; a reference to a device or to the wrong file ends here.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a secret is, as the configuration names it.
#[derive(Clone)]
pub enum SecretRef {
    /// The value itself stands in the configuration.
    Literal(SecretString),
    /// `{ file = "…" }`, relative to the configuration file.
    File(PathBuf),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ credential = "NAME" }`: a file in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// `{ command = ["…", …] }`: what a program prints.
    Command {
        /// The program, and its arguments.
        command: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Literal(text) => f.debug_tuple("Literal").field(text).finish(),
            SecretRef::File(path) => f.debug_tuple("File").field(path).finish(),
            SecretRef::Env(name) => f.debug_tuple("Env").field(name).finish(),
            SecretRef::Credential(name) => f.debug_tuple("Credential").field(name).finish(),
            // Its arguments may be secrets.
            SecretRef::Command { command, timeout } => {
                f.debug_struct("Command").field("program", &program(command)).field("timeout", timeout).finish_non_exhaustive()
            }
        }
    }
}

impl PartialEq for SecretRef {
    fn eq(&self, other: &SecretRef) -> bool {
        match (self, other) {
            (SecretRef::Literal(a), SecretRef::Literal(b)) => a.expose_secret() == b.expose_secret(),
            (SecretRef::File(a), SecretRef::File(b)) => a == b,
            (SecretRef::Env(a), SecretRef::Env(b)) | (SecretRef::Credential(a), SecretRef::Credential(b)) => a == b,
            (SecretRef::Command { command: a, timeout: x }, SecretRef::Command { command: b, timeout: y }) => a == b && x == y,
            _ => false,
        }
    }
}

impl Eq for SecretRef {}

impl SecretRef {
    /// What tells one place from another; a literal is in none.
    fn place(&self, secrets: &Secrets<'_>) -> Option<String> {
        match self {
            SecretRef::Literal(_) => None,
            SecretRef::File(path) => Some(format!("file {}", secrets.resolve(path).display())),
            SecretRef::Env(name) => Some(format!("env {name}")),
            SecretRef::Credential(name) => Some(format!("credential {name}")),
            SecretRef::Command { command, .. } => Some(format!("command {command:?}")),
        }
    }
}

/// What tells one content from another, in this process and in no other; from it nobody learns the content.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(bytes)
}

/// How a message names a command's program: a first word that holds a blank is probably a whole line, with its arguments.
pub fn program(command: &[String]) -> String {
    let name = command.first().map_or("", |name| name.trim());
    match name.split_once(char::is_whitespace) {
        Some((name, _)) => format!("{}…", name.escape_debug()),
        None => name.escape_debug().to_string(),
    }
}

/// A command with its time limit, and what came of it.
type Outputs = BTreeMap<(Vec<String>, Duration), Result<Zeroizing<Vec<u8>>, SecretError>>;

/// Reads references: relative paths against one directory, variables from one environment. Lives for one reading of a
/// configuration: each command is run once, however many refer to it.
pub struct Secrets<'a> {
    dir: &'a Path,
    env: &'a BTreeMap<String, String>,
    runs: bool,
    /// Whether any reference was a command.
    commands: Cell<bool>,
    outputs: RefCell<Outputs>,
    /// All files that were asked for.
    named: RefCell<BTreeSet<PathBuf>>,
    /// The files that were read, as they looked then.
    read: RefCell<BTreeMap<PathBuf, Look>>,
    /// What was read from each place, as a fingerprint.
    contents: RefCell<BTreeMap<String, u64>>,
}

impl<'a> Secrets<'a> {
    /// `dir` is the configuration file's directory. Runs no command.
    pub fn new(dir: &'a Path, env: &'a BTreeMap<String, String>) -> Secrets<'a> {
        Secrets {
            dir,
            env,
            runs: false,
            commands: Cell::new(false),
            outputs: RefCell::default(),
            named: RefCell::default(),
            read: RefCell::default(),
            contents: RefCell::default(),
        }
    }

    /// Runs commands, if it may.
    pub fn running(self, runs: bool) -> Secrets<'a> {
        Secrets { runs, ..self }
    }

    /// The files of secrets that were read, each as it looked just before.
    pub fn into_read(self) -> Vec<(PathBuf, Look)> {
        self.read.into_inner().into_iter().collect()
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
        self.note(reference);
        self.bytes_followed_elsewhere(reference)
    }

    /// The same for a secret whose file somebody else reads again when it changes.
    pub fn bytes_followed_elsewhere(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let bytes = match reference {
            SecretRef::Literal(text) => Zeroizing::new(text.expose_secret().as_bytes().to_vec()),
            SecretRef::Env(name) => {
                let value = self.env.get(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                Zeroizing::new(value.as_bytes().to_vec())
            }
            SecretRef::File(path) => self.file(path)?,
            SecretRef::Credential(name) => read(&self.name(self.credential(name)?))?,
            SecretRef::Command { command, timeout } => self.output(command, *timeout)?,
        };
        let blank = decode(&bytes).is_some_and(|text| text.trim().is_empty());
        if let Some(place) = reference.place(self) {
            self.contents.borrow_mut().insert(place, fingerprint(&bytes));
        }
        match reference {
            _ if !blank => Ok(bytes),
            SecretRef::Command { command, .. } => Err(SecretError::Command { program: program(command), failure: Failure::Silent }),
            _ => Err(SecretError::Empty(self.place(reference))),
        }
    }

    /// Before it is read: what changes meanwhile is seen as a change. The first look counts, for the same reason.
    fn note(&self, reference: &SecretRef) {
        if let Some(path) = self.file_of(reference) {
            self.follow(path);
        }
    }

    /// A file that belongs to a secret, and is read again together with it.
    pub fn follow(&self, path: PathBuf) {
        let mut read = self.read.borrow_mut();
        if !read.contains_key(&path)
            && let Some(look) = Look::at(&path)
        {
            read.insert(path, look);
        }
    }

    /// Whether a secret that was asked for comes from a program.
    pub fn has_commands(&self) -> bool {
        self.commands.get()
    }

    fn output(&self, command: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.commands.set(true);
        let failed = |failure| SecretError::Command { program: program(command), failure };
        let Some((name, arguments)) = command.split_first().filter(|_| self.runs) else { return Err(failed(Failure::NotRun)) };
        let key = (command.to_vec(), timeout);
        if let Some(output) = self.outputs.borrow().get(&key) {
            return output.clone();
        }
        // As for execvp: a name without a slash is looked for in PATH.
        let path = if name.contains(std::path::is_separator) { self.dir.join(name) } else { PathBuf::from(name) };
        let output = command::run(&path, arguments, timeout).map_err(failed);
        self.outputs.borrow_mut().insert(key, output.clone());
        output
    }

    /// The bytes of a file that is no secret, under the same rules.
    pub fn file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let bytes = read(&self.path(path))?;
        self.contents.borrow_mut().insert(format!("file {}", self.resolve(path).display()), fingerprint(&bytes));
        Ok(bytes)
    }

    /// What was read from this place, if anything was, as a fingerprint.
    pub fn content(&self, reference: &SecretRef) -> Option<u64> {
        match reference {
            SecretRef::Literal(text) => Some(fingerprint(text.expose_secret().as_bytes())),
            _ => self.contents.borrow().get(&reference.place(self)?).copied(),
        }
    }

    /// A variable that is no secret's.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Where the path of a file leads that the configuration is read from, now or later.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.name(self.resolve(path))
    }

    /// Where a path leads of which nothing is read.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// The files that were asked for until now, whether they could be read or not.
    pub fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().iter().cloned().collect()
    }

    fn name(&self, path: PathBuf) -> PathBuf {
        self.named.borrow_mut().insert(path.clone());
        path
    }

    /// The file that a secret is in, if it is in one.
    pub fn file_of(&self, reference: &SecretRef) -> Option<PathBuf> {
        match reference {
            SecretRef::File(path) => Some(self.path(path)),
            SecretRef::Credential(name) => self.credential(name).ok(),
            SecretRef::Literal(_) | SecretRef::Env(_) | SecretRef::Command { .. } => None,
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
            SecretRef::Command { command, .. } => format!("the output of {}", program(command)),
        }
    }
}

/// Whether others may read the file, by its permission bits; of a link, what it leads to counts. A group may read root's file if we are not
/// root, and read it by that: so services and Kubernetes' `fsGroup` are given secrets.
#[cfg(unix)]
pub fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let ours = |meta: &std::fs::Metadata| if meta.uid() == 0 && !rustix::process::geteuid().is_root() { 0o004 } else { 0o044 };
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & ours(&meta) != 0)
}

/// Windows' access control lists are not judged.
#[cfg(not(unix))]
pub fn readable_by_others(_: &Path) -> bool {
    false
}

/// How a file is kept from others where it is: what Docker and Kubernetes mount has the mode that they are told.
pub fn how_to_close(path: &Path) -> &'static str {
    let dir = path.parent().unwrap_or(Path::new(""));
    if dir.join("..data").symlink_metadata().is_ok() {
        return "set defaultMode: 0400 on the Pod's volume; where fsGroup is set Kubernetes lets the group read, and only that";
    }
    if ["/run/secrets", "/var/run/secrets"].iter().any(|mount| path.starts_with(mount)) {
        return "set mode: 0400 and uid, that of the user that runs soproxy, where the service gets the secret; for a file of Compose, chmod 600 there";
    }
    "chmod 600, owned by the user that runs soproxy"
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let fail = |error: io::Error| {
        let (kind, barred) = (error.kind(), confine::bars(path));
        SecretError::File { path: path.to_owned(), kind, error: error.to_string(), barred }
    };
    let file = File::open(path).map_err(fail)?;
    // Room for all of it, and a little for finding its end: a vector that grows leaves copies behind.
    let size = file.metadata().map_or(0, |found| found.len()).min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 64));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
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

#[cfg(test)]
mod tests;

//! Why a secret cannot be read, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::command::Failure;
use crate::confine;

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
        /// Whether it is not the file's permissions, but that the process is confined.
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
    /// A program that should print it.
    Command {
        /// The program as a message names it, without its arguments.
        program: String,
        /// What went wrong.
        failure: Failure,
    },
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
            SecretError::Command { program, failure } => hint(program, failure),
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
            SecretError::Command { program, failure } => match failure {
                Failure::Start { kind: io::ErrorKind::NotFound, .. } => write!(f, "there is no program {program}"),
                Failure::Start { kind: io::ErrorKind::Unsupported, .. } => {
                    write!(f, "the program {program} cannot be started: this process makes no other, because it is confined")
                }
                Failure::Start { error, .. } => write!(f, "the program {program} cannot be started: {error}"),
                Failure::Ended(how) => write!(f, "the program {program} ended with {how}"),
                Failure::Late(limit) => write!(f, "the program {program} was not done after {limit:?}, and was killed"),
                Failure::TooLarge => write!(f, "the program {program} printed more than 1 MiB, and was killed"),
                Failure::Silent => write!(f, "the program {program} printed nothing"),
                Failure::NotRun => write!(f, "the program {program} is not run for this"),
            },
        }
    }
}

impl std::error::Error for SecretError {}

/// What to do about a program.
fn hint(program: &str, failure: &Failure) -> String {
    const BY_HAND: &str = "run it by hand as the user that runs soproxy to see what it says";
    match failure {
        // As a message names it: one that had a blank inside ends there.
        Failure::Start { kind: io::ErrorKind::NotFound, .. } if program.ends_with('…') => {
            "write the program and each of its arguments as an item of its own: no shell takes them apart".to_owned()
        }
        Failure::Start { kind: io::ErrorKind::NotFound, .. } if program.contains('/') => {
            "correct the path, which is relative to the configuration file; for a script, also that of the interpreter in its first line"
                .to_owned()
        }
        Failure::Start { kind: io::ErrorKind::NotFound, .. } => "install it, or write its whole path: it is looked for in PATH".to_owned(),
        Failure::Start { kind: io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported, .. } => {
            "let the user that runs soproxy execute it; a confined process starts only what [confine] execute names: name it there, for a script its interpreter, too, and restart; or start with --no-confine"
                .to_owned()
        }
        Failure::Start { .. } => "name a program that this machine can execute; a script begins with #! and its interpreter".to_owned(),
        Failure::Ended(_) | Failure::Silent => BY_HAND.to_owned(),
        Failure::Late(_) => format!("{BY_HAND}, or give it more time: {{ command = […], timeout = \"30s\" }}"),
        Failure::TooLarge => format!("it must print the secret alone: {BY_HAND}"),
        Failure::NotRun => "`soproxy check` runs it".to_owned(),
    }
}

//! The files that a configuration is made of: `proxy.toml`, and `tenants.d/*.toml` beside it. Which they are, how they look, and
//! what is in them; what that means is not known here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{Problem, Problems, file, secret};
use crate::confine;
use crate::look::Look;

/// The directory beside `proxy.toml` whose files hold tenants.
pub const TENANTS_D: &str = "tenants.d";

/// A file's text.
pub struct Text {
    /// How messages name it.
    pub label: String,
    /// What is in it.
    pub text: String,
    /// Others than its owner can read it.
    pub public: bool,
}

/// The files of a configuration as they looked just before they were read.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// `proxy.toml`; it need not be there when variables say all.
    pub file: (PathBuf, Option<Look>),
    /// Those of `tenants.d`.
    pub tenants: Vec<(PathBuf, Option<Look>)>,
}

/// All of them, that of `proxy.toml` first.
pub struct Texts {
    /// What is in them.
    pub texts: Vec<Text>,
    /// Which they are.
    pub followed: Followed,
}

/// Where files of tenants are looked for.
pub fn directory(file: &Path) -> PathBuf {
    file.with_file_name(TENANTS_D)
}

/// The files of tenants in a directory, by their names. Of one that is not there: none. Left out is what is hidden, such as
/// `..data` and the files that editors write for a moment, and what does not end in `.toml`.
pub fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| counts(name));
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

fn counts(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Reads them all: every one that cannot be read is a problem.
pub fn read(path: &Path, env: &BTreeMap<String, String>) -> Result<Texts, Problems> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    // Before anything is read: what changes meanwhile is seen as a change.
    let look = Look::at(path);
    match main(path, env) {
        Ok(text) => texts.push(text),
        Err(problem) => problems.push(problem),
    }
    let directory = directory(path);
    let names = names(&directory).unwrap_or_else(|error| {
        problems.push(unreadable(&directory, &error));
        Vec::new()
    });
    let mut tenants = Vec::new();
    for name in names {
        tenants.push((name.clone(), Look::at(&name)));
        match one(&name) {
            Ok(text) => texts.push(text),
            Err(error) => problems.push(unreadable(&name, &error)),
        }
    }
    match problems.is_empty() {
        true => Ok(Texts { texts, followed: Followed { file: (path.to_owned(), look), tenants } }),
        false => Err(Problems(problems)),
    }
}

fn one(path: &Path) -> io::Result<Text> {
    let text = std::fs::read_to_string(path)?;
    // Only a file that was really read can give its secrets away.
    Ok(Text { label: path.display().to_string(), text, public: secret::readable_by_others(path) })
}

/// A file that is not there is a problem, unless the environment has settings of its own.
fn main(path: &Path, env: &BTreeMap<String, String>) -> Result<Text, Problem> {
    one(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound if file::any_variable(env) => {
            Ok(Text { label: format!("{} (not found)", path.display()), text: String::new(), public: false })
        }
        _ => Err(unreadable(path, &error)),
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (what, hint) = match error.kind() {
        io::ErrorKind::InvalidData => ("is not UTF-8 text".to_owned(), "save the file as UTF-8".to_owned()),
        io::ErrorKind::NotFound if path.symlink_metadata().is_ok() => {
            ("is a link that leads nowhere".to_owned(), "correct the link, or remove it".to_owned())
        }
        io::ErrorKind::NotFound if path.extension().is_some() && path.parent().is_some_and(|dir| dir.ends_with(TENANTS_D)) => {
            ("has gone while it was read".to_owned(), "try again".to_owned())
        }
        io::ErrorKind::IsADirectory => {
            (format!("cannot be read: {error}"), "rename the directory: what ends in .toml is to be a file".to_owned())
        }
        io::ErrorKind::NotFound => (
            "there is no such file".to_owned(),
            "copy proxy.toml.example to proxy.toml and fill it in, or name another file with --config".to_owned(),
        ),
        _ if confine::bars(path) => (format!("cannot be read: {error}"), confine::FILE_HINT.to_owned()),
        _ if path.ends_with(TENANTS_D) => {
            (format!("cannot be read: {error}"), "it is to be a directory that the user that runs soproxy may list".to_owned())
        }
        _ => (format!("cannot be read: {error}"), "let the user that runs soproxy read the file, or name another with --config".to_owned()),
    };
    Problem { key: String::new(), source: path.display().to_string(), what, hint }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_hidden_or_is_no_toml_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".a.toml.swp", ".#b.toml", ".hidden.toml", "b.toml~", "#b.toml#", "b.toml.bak", "readme", "toml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("..data")).unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["a.toml", "b.toml"].map(|name| dir.path().join(name)));
        assert_eq!(names(&dir.path().join("gone")).unwrap(), Vec::<PathBuf>::new());
        assert!(names(&dir.path().join("a.toml")).is_err(), "a file is no directory");
        assert_eq!(directory(Path::new("/etc/soproxy/proxy.toml")), Path::new("/etc/soproxy/tenants.d"));
        assert_eq!(directory(Path::new("proxy.toml")), Path::new("tenants.d"));
    }
}

//! From what the configuration names to what the kernel is told: which directories may be read, written, and executed from.
//!
//! **A rule holds for a file or directory itself, not for its name.** What is replaced by renaming another one over it cannot be
//! read any more, unless a rule holds for the directory that both were in. So a file that the configuration names brings its
//! directory along; and the one where its links lead in the end, because what replaces it may be there: `..data` of a mounted
//! secret of Kubernetes, `archive` of certbot. A directory that is `/` would be everything: then it is the file alone.
//!
//! **`resolv.conf` and `hosts`** are replaced so by NetworkManager, dhclient, and people with an editor. glibc does not complain
//! when it cannot read them any more: it asks 127.0.0.1, and nobody has any name. Their directories are let be read as well,
//! which often is `/etc`, and the files in there are then guarded by their permissions alone. In a container they are mounted
//! one by one, so that nobody can replace them: there it is the files alone.

use std::path::{Path, PathBuf};

use super::mounts::Mounts;
use super::system;

/// What a configuration names, as paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files that are read at start and at each reload: the configuration itself, secrets, certificates.
    pub files: Vec<PathBuf>,
    /// Directories and files that are read besides.
    pub read: Vec<PathBuf>,
    /// Directories in which files are made, written and removed.
    pub write: Vec<PathBuf>,
    /// Unix sockets that are made.
    pub sockets: Vec<PathBuf>,
    /// Programs that are run, and directories of them.
    pub execute: Vec<PathBuf>,
}

/// What may be opened, all paths without links, none within another of its list. What is not there is left out: a rule cannot be
/// made for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// For the configuration: everything in there may be read.
    pub read: Vec<PathBuf>,
    /// For names, trust and the like: the same.
    pub system: Vec<PathBuf>,
    /// Everything in there may be read and written, and files and directories be made and removed.
    pub write: Vec<PathBuf>,
    /// Sockets may be made and removed in there.
    pub sockets: Vec<PathBuf>,
    /// This, and everything in there, may be executed.
    pub execute: Vec<PathBuf>,
}

impl Plan {
    /// Follows links as they are now.
    pub fn new(needs: &Needs, mounts: &Mounts) -> Plan {
        let files = needs.files.iter().flat_map(|file| around(file));
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let replaced = system::REPLACED.iter().filter_map(|file| replaceable(Path::new(file), mounts));
        let roots = system::ROOTS.iter().filter(|file| Path::new(file).exists()).flat_map(|file| around(Path::new(file)));
        let lists = [system::NAMES, system::LIBRARIES, system::ROOT_DIRECTORIES, system::MACHINE];
        let linkers = if needs.execute.is_empty() { Vec::new() } else { paths(system::LINKERS) };
        Plan {
            read: real(files.chain(needs.read.iter().cloned())),
            system: real(replaced.chain(roots).chain(lists.into_iter().flat_map(paths))),
            write: real(needs.write.iter().cloned()),
            sockets: real(needs.sockets.iter().filter_map(|socket| directory(socket))),
            execute: real(needs.execute.iter().cloned().chain(linkers)),
        }
    }
}

/// The directory that a file is named in, and the one that it is in.
fn around(file: &Path) -> Vec<PathBuf> {
    let named = directory(file).map_or_else(|| file.to_owned(), |directory| beneath_root(directory, file));
    let found = file
        .canonicalize()
        .ok()
        .and_then(|found| if found.is_dir() { Some(found) } else { Some(beneath_root(directory(&found)?, &found)) });
    std::iter::once(named).chain(found).collect()
}

/// The directory, unless it is the root: then the file.
fn beneath_root(directory: PathBuf, file: &Path) -> PathBuf {
    match directory.canonicalize() {
        Ok(real) if real.parent().is_none() => file.to_owned(),
        _ => directory,
    }
}

/// A file's directory; that of a bare name is the current one.
fn directory(file: &Path) -> Option<PathBuf> {
    file.parent().map(|parent| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// What has to be let be read so that a file can be replaced: see the module's page.
fn replaceable(file: &Path, mounts: &Mounts) -> Option<PathBuf> {
    let real = file.canonicalize().ok()?;
    if mounts.at(&real) { Some(real) } else { Some(beneath_root(directory(&real)?, &real)) }
}

/// As they are without links, sorted, without what is not there and what lies within another.
fn real(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = paths.into_iter().filter_map(|path| own_file(&path).or_else(|| path.canonicalize().ok())).collect();
    all.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in all {
        // Sorted by their parts, so that what is within another comes right behind it.
        if !kept.last().is_some_and(|before| path.starts_with(before)) {
            kept.push(path);
        }
    }
    kept
}

/// `/proc/self` is to be this process's whoever makes the plan, and is shown as it is known.
fn own_file(path: &Path) -> Option<PathBuf> {
    path.starts_with("/proc/self").then(|| path.to_owned()).filter(|path| path.exists())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn home() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    fn read_for(file: PathBuf) -> Vec<PathBuf> {
        Plan::new(&Needs { files: vec![file], ..Needs::default() }, &Mounts::default()).read
    }

    #[test]
    fn a_file_brings_its_directory_along() {
        let (_keep, home) = home();
        fs::write(home.join("key"), "").unwrap();
        assert_eq!(read_for(home.join("key")), std::slice::from_ref(&home));
        assert_eq!(read_for(home.join("not-yet")), std::slice::from_ref(&home), "it may come");
        assert_eq!(read_for(home.join("gone/key")), Vec::<PathBuf>::new(), "a directory that is not there cannot be let be read");
    }

    #[test]
    fn links_of_certbot_and_kubernetes_are_followed() {
        let (_keep, home) = home();
        for dir in ["live/x", "archive/x", "mounted/..2024"] {
            fs::create_dir_all(home.join(dir)).unwrap();
        }
        fs::write(home.join("archive/x/key3.pem"), "").unwrap();
        symlink("../../archive/x/key3.pem", home.join("live/x/key.pem")).unwrap();
        assert_eq!(read_for(home.join("live/x/key.pem")), [home.join("archive/x"), home.join("live/x")]);
        fs::write(home.join("mounted/..2024/token"), "").unwrap();
        symlink("..2024", home.join("mounted/..data")).unwrap();
        symlink("..data/token", home.join("mounted/token")).unwrap();
        assert_eq!(read_for(home.join("mounted/token")), [home.join("mounted")], "the next one will be in there, too");
    }

    #[test]
    fn a_file_right_below_the_root_comes_alone() {
        let file = Path::new("/proxy.toml");
        assert_eq!(around(file)[0], file);
        let (_keep, home) = home();
        symlink("/", home.join("root")).unwrap();
        assert_eq!(around(&home.join("root/proxy.toml"))[0], home.join("root/proxy.toml"), "also by another name");
        assert_eq!(directory(Path::new("proxy.toml")), Some(PathBuf::from(".")));
    }

    #[test]
    fn a_file_that_can_be_replaced_brings_its_directory_and_a_mounted_one_comes_alone() {
        let (_keep, home) = home();
        fs::create_dir(home.join("run")).unwrap();
        fs::write(home.join("run/stub.conf"), "").unwrap();
        symlink("run/stub.conf", home.join("resolv.conf")).unwrap();
        assert_eq!(replaceable(&home.join("resolv.conf"), &Mounts::default()), Some(home.join("run")));
        let mounted = format!("1 1 0:1 / {}/run/stub.conf rw - tmpfs tmpfs rw\n", home.display());
        let mounts = Mounts::parse(mounted.as_bytes());
        assert_eq!(replaceable(&home.join("resolv.conf"), &mounts), Some(home.join("run/stub.conf")));
        assert_eq!(replaceable(&home.join("gone"), &mounts), None);
    }

    #[test]
    fn what_lies_within_another_is_left_out() {
        let (_keep, home) = home();
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::create_dir(home.join("a.b")).unwrap();
        let paths = ["a/b", "a", "a.b", "a", "gone"].map(|name| home.join(name));
        assert_eq!(real(paths), [home.join("a"), home.join("a.b")]);
    }

    #[test]
    fn sockets_and_programs_have_their_own_lists() {
        let (_keep, home) = home();
        let needs = Needs { sockets: vec![home.join("s")], execute: vec![home.clone()], ..Needs::default() };
        let plan = Plan::new(&needs, &Mounts::default());
        assert_eq!((plan.sockets, plan.write, plan.read), (vec![home.clone()], Vec::new(), Vec::new()));
        assert!(plan.execute.contains(&home));
        assert!(Plan::new(&Needs::default(), &Mounts::default()).execute.is_empty(), "no linker for nobody");
    }
}

//! Looks at the files of the configuration and of its secrets, and tells when they have changed and rest.
//!
//! Each look asks the file system about [`AT_ONCE`] files at most: up to so many are all seen at every look, of ten thousand each
//! is seen once in about a minute. Those that were found changed are looked at every time until they rest. That a file came to a
//! directory, or went, is seen at once: then the directory itself has changed.
//!
//! Looked at, not waited for: this works on every file system and mount, whatever the files are replaced with, and it needs no
//! more rights than reading them.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use crate::config::{Watched, texts};
use crate::look::Look;

/// How many files one look takes in.
pub const AT_ONCE: usize = 200;

/// After so many looks it does not matter any more that something does not rest, or is missing.
pub const PATIENCE: u32 = 10;

/// Files, and how they look.
pub struct Watch {
    files: Vec<File>,
    /// Where files may come to.
    directory: Option<Directory>,
    /// Where the next look goes on.
    next: usize,
    /// Those that do not look as they did when they were read.
    changed: BTreeSet<usize>,
    /// How many looks there were since the first of them.
    waited: u32,
}

struct File {
    path: PathBuf,
    /// How it looked when it was read; `None`: it was not there.
    read: Option<Look>,
    /// How it looked the last time.
    last: Option<Look>,
    /// It may go for good: then nobody waits for it to come back.
    may_go: bool,
}

struct Directory {
    path: PathBuf,
    /// How it looked the last time; it need not be there.
    look: Option<Look>,
    /// It looked so twice: nothing came after it was listed, within the same tick of the file system's clock.
    rests: bool,
}

impl Watch {
    /// Of files that were read when they looked like this.
    pub fn new(watched: Watched) -> Watch {
        let file = |path: PathBuf, look: Option<Look>, may_go| File { path, read: look, last: look, may_go };
        let Watched { secrets, configuration } = watched;
        let directory = configuration.as_ref().map(|followed| texts::directory(&followed.file.0));
        // A tenant's secret beside its file goes together with it.
        let secret = |(path, look): (PathBuf, Look)| {
            let may_go = directory.as_ref().is_some_and(|directory| path.starts_with(directory));
            file(path, Some(look), may_go)
        };
        let mut files: Vec<File> = secrets.into_iter().map(secret).collect();
        if let Some(followed) = configuration {
            files.push(file(followed.file.0, followed.file.1, false));
            files.extend(followed.tenants.into_iter().map(|(path, look)| file(path, look, true)));
        }
        let directory = directory.map(|path| Directory { path, look: None, rests: false });
        Watch { files, directory, next: 0, changed: BTreeSet::new(), waited: 0 }
    }

    /// Takes in the files that came to the directory since the last time.
    fn list(&mut self) {
        let Some(directory) = &mut self.directory else { return };
        let now = Look::at(&directory.path);
        if now == directory.look && directory.rests {
            return;
        }
        directory.rests = now == directory.look;
        directory.look = now;
        // One that cannot be listed is complained of by whoever reads it: as if it were a file that came.
        let names = texts::names(&directory.path).unwrap_or_else(|_| vec![directory.path.clone()]);
        let known: HashSet<&PathBuf> = self.files.iter().map(|file| &file.path).collect();
        let came: Vec<PathBuf> = names.into_iter().filter(|path| !known.contains(path)).collect();
        for path in came {
            self.changed.insert(self.files.len());
            self.files.push(File { path, read: None, last: None, may_go: true });
        }
    }

    /// One look: a file that has changed, once all that have rest. Secrets that belong together are not written at the same
    /// moment, and a file that is replaced may be missing for one.
    pub fn look(&mut self) -> Option<PathBuf> {
        self.list();
        let mut rest = true;
        // Half of the room, so that the others are reached however many have changed.
        let again: Vec<usize> = self.changed.iter().copied().take(AT_ONCE / 2).collect();
        for index in &again {
            rest &= self.see(*index);
        }
        for _ in 0..self.files.len().min(AT_ONCE - again.len()) {
            let index = self.next;
            self.next = (index + 1) % self.files.len();
            if !again.contains(&index) {
                rest &= self.see(index);
            }
        }
        let Some(first) = self.changed.first() else {
            self.waited = 0;
            return None;
        };
        self.waited += 1;
        if !rest && self.waited <= PATIENCE {
            return None;
        }
        self.waited = 0;
        self.files.get(*first).map(|file| file.path.clone())
    }

    /// Looks at one file: whether it rests, or has not changed at all.
    fn see(&mut self, index: usize) -> bool {
        let Some(file) = self.files.get_mut(index) else { return true };
        let now = Look::at(&file.path);
        let rests = now == file.last && (now.is_some() || file.may_go);
        file.last = now;
        if now == file.read {
            self.changed.remove(&index);
            return true;
        }
        self.changed.insert(index);
        rests
    }

    /// How all of them look now, for [`Watch::tried`].
    pub fn looks(&mut self) -> Vec<Option<Look>> {
        self.list();
        self.files.iter().map(|file| Look::at(&file.path)).collect()
    }

    /// They were read when they looked like this, and could not be used: only another change counts.
    pub fn tried(&mut self, looks: Vec<Option<Look>>) {
        for (file, look) in self.files.iter_mut().zip(looks) {
            (file.read, file.last) = (look, look);
        }
        self.changed.clear();
        self.waited = 0;
    }
}

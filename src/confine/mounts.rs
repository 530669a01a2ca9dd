//! What is mounted where: a file that is a mount point of its own cannot be replaced by renaming.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All mount points of this process's namespace.
#[derive(Clone, Debug, Default)]
pub struct Mounts(BTreeSet<PathBuf>);

impl Mounts {
    /// Those of this process; none where `/proc` is not mounted.
    pub fn of_this_process() -> Mounts {
        Mounts::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    /// Those of a text like `/proc/self/mountinfo`: the fifth word of each line, where blanks and the like are `\040`.
    pub fn parse(mountinfo: &[u8]) -> Mounts {
        let lines = mountinfo.split(|&byte| byte == b'\n');
        Mounts(lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(4)).map(unescape).collect())
    }

    /// Whether something is mounted exactly there.
    pub fn at(&self, path: &Path) -> bool {
        self.0.contains(path)
    }
}

fn unescape(word: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(meant) => (bytes.push(meant), rest = &after[3..]).1,
            None => (bytes.push(byte), rest = after).1,
        }
    }
    path(bytes)
}

#[cfg(unix)]
fn path(bytes: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_points_of_a_container_are_found() {
        let text = b"617 519 0:53 / / rw,relatime - overlay overlay rw\n\
                     640 617 254:1 /containers/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda1 rw\n\
                     641 617 254:1 /x /mnt/two\\040words\\134 rw - ext4 /dev/vda1 rw\n\nbroken";
        let mounts = Mounts::parse(text);
        for (path, expected) in
            [("/", true), ("/etc/resolv.conf", true), ("/etc/hosts", false), ("/etc", false), ("/mnt/two words\\", true)]
        {
            assert_eq!(mounts.at(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn something_is_mounted_at_the_root() {
        assert!(Mounts::of_this_process().at(Path::new("/")));
        assert_eq!(unescape(b"a\\04"), Path::new("a\\04"), "what is no escape stays");
    }
}

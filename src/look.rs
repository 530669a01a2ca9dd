//! What tells one content of a file from another without reading it: for those who read a file again when it has changed.

use std::fs;
use std::path::Path;

/// How a file looked at one moment: which file it is, how large, and when it was last written or put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Of a file that was found or opened.
    #[cfg(unix)]
    pub fn of(found: &fs::Metadata) -> Look {
        use std::os::unix::fs::MetadataExt;
        Look {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Of a file that was found or opened. Windows tells a file's number only to whoever opens it: when it was made takes its place.
    #[cfg(not(unix))]
    pub fn of(found: &fs::Metadata) -> Look {
        use std::os::windows::fs::MetadataExt;
        Look {
            file: (u64::from(found.file_attributes()), found.creation_time()),
            size: found.file_size(),
            modified: (found.last_write_time().cast_signed(), 0),
            changed: (0, 0),
        }
    }

    /// Of what is at `path` now, if anything is. Follows links: certbot and Kubernetes put a new one in the place of the old.
    pub fn at(path: &Path) -> Option<Look> {
        fs::metadata(path).ok().map(|found| Look::of(&found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn another_content_another_file_and_another_link_look_different() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), "a").unwrap();
        fs::write(at("two"), "a").unwrap();
        std::os::unix::fs::symlink("one", at("link")).unwrap();
        let (one, link) = (Look::at(&at("one")), Look::at(&at("link")));
        assert!(one.is_some() && one == link && one == Look::at(&at("one")));
        assert_ne!(one, Look::at(&at("two")));
        std::os::unix::fs::symlink("two", at("new")).unwrap();
        fs::rename(at("new"), at("link")).unwrap();
        assert_eq!(Look::at(&at("link")), Look::at(&at("two")));
        fs::write(at("one"), "longer").unwrap();
        assert_ne!(Look::at(&at("one")), one);
        assert_eq!(Look::at(&at("gone")), None);
    }
}

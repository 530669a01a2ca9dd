//! What rotated files are called: `soproxy.log` of a day becomes `soproxy-2026-11-28.log`, the next of that day
//! `soproxy-2026-11-28.1.log`, and compressed both end in `.gz`. Only what is called so is ever compressed or removed.

use std::path::{Path, PathBuf};

use jiff::civil::Date;

/// The ends of what is compressed, and of what is being compressed.
const COMPRESSED: &str = ".gz";
const UNFINISHED: &str = ".gz.tmp";

/// The names around one log file.
#[derive(Clone, Debug)]
pub struct Names {
    dir: PathBuf,
    stem: String,
    /// With its dot, or empty.
    extension: String,
}

/// What a name says of a rotated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotated {
    /// The day (UTC) that its lines are of.
    pub day: Date,
    /// Which one of that day.
    pub number: u32,
    /// How far it is.
    pub state: State,
}

/// What became of a rotated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it was written.
    Plain,
    /// Compressed, and whole.
    Compressed,
    /// What is left of a compression that did not come to its end, or is going on.
    Unfinished,
}

impl Names {
    /// Those around this file. Its name is text: it comes from the configuration.
    pub fn new(path: &Path) -> Names {
        let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Names {
            dir: dir.to_owned(),
            stem: part(path.file_stem()).unwrap_or_default(),
            extension: part(path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default(),
        }
    }

    /// Where all of them are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a rotated file is.
    pub fn path(&self, file: Rotated) -> PathBuf {
        let number = if file.number == 0 { String::new() } else { format!(".{}", file.number) };
        let end = match file.state {
            State::Plain => "",
            State::Compressed => COMPRESSED,
            State::Unfinished => UNFINISHED,
        };
        self.dir.join(format!("{}-{}{number}{}{end}", self.stem, file.day, self.extension))
    }

    /// What a file's name says, if it is one of ours.
    pub fn parse(&self, name: &str) -> Option<Rotated> {
        let (rest, state) = match (name.strip_suffix(UNFINISHED), name.strip_suffix(COMPRESSED)) {
            (Some(rest), _) => (rest, State::Unfinished),
            (_, Some(rest)) => (rest, State::Compressed),
            _ => (name, State::Plain),
        };
        let rest = rest.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(&self.extension)?;
        let (day, number) = match rest.split_once('.') {
            Some((day, number)) => (day, number.parse().ok().filter(|number| *number > 0)?),
            None => (rest, 0),
        };
        let found = Rotated { day: day.parse().ok()?, number, state };
        // Nothing that is only like it, such as a number with a sign.
        (self.path(found).file_name()? == name).then_some(found)
    }

    /// A name for a file of this day that neither it nor its compressed form has yet.
    pub fn free(&self, day: Date, taken: impl Fn(&Path) -> bool) -> Option<Rotated> {
        let numbered = |number| Rotated { day, number, state: State::Plain };
        let free = |file: &Rotated| {
            let states = [State::Plain, State::Compressed];
            !states.into_iter().any(|state| taken(&self.path(Rotated { state, ..*file })))
        };
        (0..100_000).map(numbered).find(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(Path::new("/var/log/soproxy/soproxy.log"))
    }

    fn file(day: &str, number: u32, state: State) -> Rotated {
        Rotated { day: day.parse().unwrap(), number, state }
    }

    #[test]
    fn names_are_made_and_read() {
        for (rotated, name) in [
            (file("2026-11-28", 0, State::Plain), "soproxy-2026-11-28.log"),
            (file("2026-11-28", 0, State::Compressed), "soproxy-2026-11-28.log.gz"),
            (file("2026-11-28", 12, State::Compressed), "soproxy-2026-11-28.12.log.gz"),
            (file("2026-11-28", 1, State::Unfinished), "soproxy-2026-11-28.1.log.gz.tmp"),
        ] {
            assert_eq!(names().path(rotated), Path::new("/var/log/soproxy").join(name));
            assert_eq!(names().parse(name), Some(rotated), "{name}");
        }
        let bare = Names::new(Path::new("log"));
        assert_eq!(bare.path(file("2026-01-02", 3, State::Plain)), Path::new("./log-2026-01-02.3"));
        assert_eq!(bare.parse("log-2026-01-02.3.gz"), Some(file("2026-01-02", 3, State::Compressed)));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for name in [
            "soproxy.log",
            "soproxy.log.1",
            "soproxy.log.gz",
            "soproxy-2026-11-28.txt",
            "soproxy-2026-11-28.log.xz",
            "soproxy-2026-11-28.0.log",
            "soproxy-2026-11-28.+1.log",
            "soproxy-2026-11-28.01.log",
            "soproxy-2026-13-28.log",
            "soproxy-20261128.log",
            "soproxy-2026-11-28T10.log",
            "soproxy-2026-11-28 .log",
            "soproxy2-2026-11-28.log",
            "other-2026-11-28.log",
            "soproxy-.log",
            "",
        ] {
            assert_eq!(names().parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_free_when_nobody_has_it_in_any_form() {
        let taken = ["soproxy-2026-11-28.log.gz", "soproxy-2026-11-28.1.log"];
        let is_taken = |path: &Path| taken.iter().any(|name| path.ends_with(name));
        let day = "2026-11-28".parse().unwrap();
        assert_eq!(names().free(day, is_taken), Some(file("2026-11-28", 2, State::Plain)));
        assert_eq!(names().free(day, |_| false), Some(file("2026-11-28", 0, State::Plain)));
        assert_eq!(names().free(day, |_| true), None);
    }

    proptest::proptest! {
        #[test]
        fn no_name_makes_it_panic(name in "(soproxy-)?[-0-9.]{0,14}(.log)?(.gz)?(.tmp)?") {
            if let Some(found) = names().parse(&name) {
                proptest::prop_assert!(names().path(found).ends_with(&name));
            }
        }
    }
}

//! The file by itself: the test does what the writing thread does.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use jiff::{Timestamp, ToSpan};

use super::*;
use crate::clock::Hand;

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
    hand: Hand,
}

impl Place {
    fn new() -> Place {
        let (clock, hand) = Clock::manual(Timestamp::now());
        Place { dir: tempfile::tempdir().unwrap(), clock, hand }
    }

    fn settings(&self) -> Settings {
        Settings { path: self.path("soproxy.log"), rotate: true, max_size: None, keep: Some(DAY * 90) }
    }

    fn log(&self) -> LogFile {
        LogFile::new(self.settings(), self.clock.clone())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        unpacked(&self.path(name))
    }

    /// All names, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a file of so many days ago is called, without its end.
    fn of_day(&self, days_ago: i32) -> String {
        format!("soproxy-{}", self.today().checked_sub(days_ago.days()).unwrap())
    }

    fn today(&self) -> Date {
        Offset::UTC.to_datetime(self.clock.now().wall).date()
    }
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    let mut file = File::open(path).unwrap();
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => GzDecoder::new(file).read_to_string(&mut text).unwrap(),
        false => file.read_to_string(&mut text).unwrap(),
    };
    text
}

/// Does what there is to do.
fn settle(log: &mut LogFile) {
    for _ in 0..1000 {
        if log.idle() != Some(Duration::ZERO) {
            return;
        }
    }
    panic!("there is always more to do");
}

#[test]
fn a_file_is_appended_to_also_by_the_next_process() {
    let place = Place::new();
    for line in ["one\n", "two\n"] {
        let mut log = place.log();
        log.write(line.as_bytes());
        settle(&mut log);
        log.finish();
    }
    assert_eq!(place.read("soproxy.log"), "one\ntwo\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = place.path("soproxy.log").metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o640, 0, "{mode:o}");
    }
}

#[test]
fn a_day_that_is_over_is_put_away_with_the_next_line_or_without_one() {
    let place = Place::new();
    let mut log = place.log();
    log.write(b"yesterday\n");
    place.hand.suspend(DAY);
    log.write(b"today\n");
    assert_eq!(place.names(), [format!("{}.log", place.of_day(1)), "soproxy.log".to_owned()]);
    settle(&mut log);
    let packed = format!("{}.log.gz", place.of_day(1));
    assert_eq!(place.names(), [packed.clone(), "soproxy.log".to_owned()]);
    assert_eq!((place.read(&packed).as_str(), place.read("soproxy.log").as_str()), ("yesterday\n", "today\n"));
    // Nobody calls for a day.
    place.hand.suspend(DAY);
    settle(&mut log);
    assert_eq!(
        place.names(),
        [format!("{}.log.gz", place.of_day(2)), format!("{}.log.gz", place.of_day(1))]
            .into_iter()
            .chain(["soproxy.log".to_owned()])
            .collect::<Vec<_>>()
    );
    assert_eq!(place.read("soproxy.log"), "");
    // Nor for another: an empty file is no day's.
    place.hand.suspend(DAY);
    settle(&mut log);
    assert_eq!(place.names().len(), 3);
}

#[test]
fn what_an_earlier_process_wrote_is_put_away_under_its_own_day() {
    let place = Place::new();
    std::fs::write(place.path("soproxy.log"), "long ago\n").unwrap();
    let then = std::time::SystemTime::now() - DAY * 7;
    File::options().append(true).open(place.path("soproxy.log")).unwrap().set_modified(then).unwrap();
    let mut log = place.log();
    log.write(b"now\n");
    settle(&mut log);
    let packed = format!("{}.log.gz", place.of_day(7));
    assert_eq!((place.read(&packed).as_str(), place.read("soproxy.log").as_str()), ("long ago\n", "now\n"));
    let modified = place.path(&packed).metadata().unwrap().modified().unwrap();
    assert!(then.duration_since(modified).unwrap_or_default() < Duration::from_secs(2), "{modified:?}");
}

#[test]
fn a_file_that_is_large_is_put_away_sooner() {
    let place = Place::new();
    let mut log = LogFile::new(Settings { max_size: Some(10), ..place.settings() }, place.clock.clone());
    for line in ["first\n", "second\n", "third, which alone is longer\n", "4\n"] {
        log.write(line.as_bytes());
    }
    settle(&mut log);
    let names: Vec<String> = ["", ".1", ".2"].iter().map(|number| format!("{}{number}.log.gz", place.of_day(0))).collect();
    let texts: Vec<String> = names.iter().map(|name| place.read(name)).collect();
    assert_eq!(texts, ["first\n", "second\n", "third, which alone is longer\n"]);
    assert_eq!(place.read("soproxy.log"), "4\n");
}

#[test]
fn old_files_go_and_whatever_is_not_ours_stays() {
    let place = Place::new();
    let (old, kept) = (format!("{}.log.gz", place.of_day(91)), format!("{}.log.gz", place.of_day(90)));
    let others = ["soproxy-2001-01-01.txt", "other-2001-01-01.log.gz", "soproxy.log.1", "soproxy-2001-01-01.log.gz.bak"];
    for name in [old.as_str(), kept.as_str(), "soproxy-2001-01-01.log", "soproxy-2001-01-01.3.log.gz.tmp"].iter().chain(&others) {
        std::fs::write(place.path(name), "x\n").unwrap();
    }
    std::fs::create_dir(place.path("soproxy-2001-01-02.log")).unwrap();
    let mut log = place.log();
    settle(&mut log);
    let mut expected: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    expected.extend([kept, "soproxy-2001-01-02.log".to_owned()]);
    expected.sort();
    assert_eq!(place.names(), expected);
    // For as long as it may.
    let mut log = LogFile::new(Settings { keep: None, ..place.settings() }, place.clock.clone());
    std::fs::write(place.path(&old), "x\n").unwrap();
    settle(&mut log);
    assert!(place.path(&old).exists());
}

#[test]
fn a_compression_that_was_cut_off_is_done_again() {
    let place = Place::new();
    let (plain, packed) = (format!("{}.log", place.of_day(3)), format!("{}.log.gz", place.of_day(3)));
    std::fs::write(place.path(&plain), "whole\n").unwrap();
    std::fs::write(place.path(&format!("{packed}.tmp")), "half").unwrap();
    // Whole, but the process ended before it could remove what it was made of.
    let (also, done) = (format!("{}.1.log", place.of_day(3)), format!("{}.1.log.gz", place.of_day(3)));
    std::fs::write(place.path(&also), "whole, too\n").unwrap();
    std::fs::write(place.path(&done), "whatever").unwrap();
    settle(&mut place.log());
    assert_eq!(place.names(), [done.clone(), packed.clone()]);
    assert_eq!((place.read(&packed).as_str(), place.read(&done).as_str()), ("whole\n", "whole, too\n"));
}

#[test]
fn a_process_that_ends_while_it_compresses_leaves_nothing_half_done() {
    let place = Place::new();
    let plain = format!("{}.log", place.of_day(1));
    std::fs::write(place.path(&plain), vec![b'\n'; 3_000_000]).unwrap();
    let mut log = place.log();
    assert!((0..3).all(|_| log.idle() == Some(Duration::ZERO)));
    assert_eq!(place.names().len(), 2, "it is under way");
    // Meanwhile lines are written, and another process leaves the file alone.
    log.write(b"line\n");
    assert_eq!(place.read("soproxy.log"), "line\n");
    settle(&mut place.log());
    assert!(place.path(&plain).exists());
    drop(log);
    assert_eq!(place.names(), [plain, "soproxy.log".to_owned()]);
}

#[test]
fn a_file_that_somebody_else_moved_away_is_written_to_no_more() {
    let place = Place::new();
    let mut log = LogFile::new(Settings { rotate: false, ..place.settings() }, place.clock.clone());
    log.write(b"one\n");
    std::fs::rename(place.path("soproxy.log"), place.path("soproxy.log.1")).unwrap();
    log.write(b"two\n");
    std::fs::remove_file(place.path("soproxy.log")).unwrap();
    log.reopen();
    log.write(b"three\n");
    assert_eq!((place.read("soproxy.log.1").as_str(), place.read("soproxy.log").as_str()), ("one\n", "three\n"));
    place.hand.suspend(DAY);
    std::fs::write(place.path("soproxy-2001-01-01.log"), "x").unwrap();
    log.write(b"four\n");
    assert_eq!(log.idle(), None);
    assert_eq!(place.names(), ["soproxy-2001-01-01.log", "soproxy.log", "soproxy.log.1"], "never is never");
}

#[test]
fn a_directory_that_is_gone_costs_nothing_when_it_comes_back_soon() {
    let place = Place::new();
    let path = place.path("logs/soproxy.log");
    let mut log = LogFile::new(Settings { path: path.clone(), ..place.settings() }, place.clock.clone());
    log.write(b"one\n");
    assert!(log.failing.is_some());
    log.write(b"two\n");
    std::fs::create_dir(place.path("logs")).unwrap();
    log.write(b"three\n");
    assert!(!path.exists(), "not so soon");
    place.hand.advance(AGAIN);
    settle(&mut log);
    assert_eq!(unpacked(&path), "one\ntwo\nthree\n");
    assert!(log.failing.is_none() && log.lost == 0);
}

#[test]
fn what_is_too_much_for_a_disk_that_takes_nothing_is_counted() {
    let place = Place::new();
    let mut log = place.log();
    log.settings.path = place.path("gone/soproxy.log");
    let lines = [b'x'; 99].iter().chain(b"\n").copied().cycle().take(1 << 20).collect::<Vec<u8>>();
    for _ in 0..5 {
        log.write(&lines);
    }
    assert_eq!((log.held.len(), log.lost), (4 << 20, (1 << 20) / 100));
    std::fs::create_dir(place.path("gone")).unwrap();
    // Whoever says so has made room.
    log.reopen();
    settle(&mut log);
    assert_eq!((log.held.len(), log.lost, log.failing.is_none()), (0, 0, true));
    assert_eq!(place.path("gone/soproxy.log").metadata().unwrap().len(), 4 << 20);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_nobody_and_no_line_is_halved() {
    let place = Place::new();
    let mut log = place.log();
    let full = Path::new("/dev/full");
    let file = File::options().append(true).open(full).unwrap();
    let (id, path) = (system::id(&file).unwrap(), std::mem::replace(&mut log.settings.path, full.to_owned()));
    log.open = Some(Open { file, id, day: place.today() });
    log.write(b"one\n");
    let (why, _) = log.failing.clone().unwrap();
    assert!(why.contains("No space left on device"), "{why}");
    assert_eq!(log.held, b"one\n");
    // The disk took a part of this line before it was full; what has the name now is another file.
    log.held.splice(0..1, *b"ne of th");
    log.torn = Some(id);
    log.settings.path = path;
    log.reopen();
    log.write(b"two\n");
    assert_eq!((place.read("soproxy.log").as_str(), log.torn), ("two\n", None));
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_written_to() {
    let place = Place::new();
    std::fs::write(place.path("precious"), "").unwrap();
    std::os::unix::fs::symlink(place.path("precious"), place.path("soproxy.log")).unwrap();
    let said = |path: &str| {
        let settings = Settings { path: place.path(path), ..place.settings() };
        let mut log = LogFile::new(settings.clone(), place.clock.clone());
        log.write(b"line\n");
        let said = log.failing.clone().unwrap().0;
        assert_eq!(settings.try_out().unwrap_err().to_string(), said);
        said
    };
    assert_eq!(said("soproxy.log"), "it is a symbolic link, and such are not followed: name the file itself");
    assert_eq!(place.read("precious"), "");
    std::fs::create_dir(place.path("dir")).unwrap();
    assert!(said("dir").contains("directory"));
    assert_eq!(said("/dev/null"), "it is no regular file");
    let settings = Settings { path: place.path("new.log"), ..place.settings() };
    settings.try_out().unwrap();
    assert!(!settings.path.exists());
}

#[test]
fn processes_that_share_a_file_lose_no_line_when_one_of_them_rotates_it() {
    let place = Place::new();
    let settings = Settings { max_size: Some(2000), ..place.settings() };
    let clock = place.clock.clone();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut log = LogFile::new(settings.clone(), clock.clone());
            scope.spawn(move || {
                for line in 0..200 {
                    log.write(format!("writer {writer} line {line}\n").as_bytes());
                    let _ = log.idle();
                }
                settle(&mut log);
            });
        }
    });
    settle(&mut place.log());
    let mut lines: Vec<String> =
        place.names().iter().flat_map(|name| place.read(name).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    let mut expected: Vec<String> = (0..4).flat_map(|writer| (0..200).map(move |line| format!("writer {writer} line {line}"))).collect();
    expected.sort();
    assert_eq!(lines, expected);
    assert!(place.names().len() > 5, "{:?}", place.names());
}

//! The log as a file: appended to, rotated, compressed and kept for a while. All of it happens in the writing thread, and whatever
//! the disk does, nobody who serves a request waits for it: lines wait here, and when there are too many of them they are lost
//! and counted.
//!
//! Several processes may write to one file, as they do while one replaces another. Each writes whole lines to its end, holding a lock
//! together with the others, and looks under it whether the file still has its name; whoever renames it holds the lock alone. So nothing
//! is written to a file any more that was rotated, by whomever.

mod chores;
mod names;
mod system;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::Offset;

use self::chores::Chores;
use self::names::Names;
use super::writer::Sink;
use crate::clock::{Clock, Moment};

/// What waits for a disk that takes nothing.
const ROOM: usize = 4 << 20;

/// How often a disk that takes nothing is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often old files are looked for, and a day that is over.
const LOOK: Duration = Duration::from_secs(600);

const DAY: Duration = Duration::from_secs(86_400);

/// `log.file` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `file`
    pub path: PathBuf,
    /// `rotate = "daily"`; else nothing is renamed, compressed or removed here.
    pub rotate: bool,
    /// `max_size`: rotated sooner when it is larger.
    pub max_size: Option<u64>,
    /// `keep`: how long rotated files stay; `None` is "forever".
    pub keep: Option<Duration>,
}

impl Settings {
    /// The directory that the file is in.
    pub fn dir(&self) -> PathBuf {
        Names::new(&self.path).dir().to_owned()
    }

    /// Makes the directory if only it is missing.
    pub fn make_directory(&self) -> io::Result<()> {
        system::make_directory(&self.dir())
    }

    /// Why the file cannot be written to, tried without writing anything; where its directory would be made, whether it could be.
    pub fn try_out(&self) -> io::Result<()> {
        let dir = self.dir();
        if !dir.is_dir() {
            return system::may_write(dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        }
        let there = self.path.symlink_metadata().is_ok();
        let file = system::open(&self.path)?;
        drop(file);
        // Whoever looks leaves nothing behind.
        if there { Ok(()) } else { std::fs::remove_file(&self.path) }
    }
}

/// The file as the writing thread has it.
#[derive(Debug)]
pub struct LogFile {
    settings: Settings,
    names: Names,
    clock: Clock,
    open: Option<Open>,
    /// Lines that could not be written yet; the first may lack its beginning, which was.
    held: Vec<u8>,
    torn: Option<system::Id>,
    lost: u64,
    /// What was said to be wrong, and when it was tried last.
    failing: Option<(String, Moment)>,
    /// What was said about chores.
    complaint: String,
    chores: Chores,
    looked: Option<Moment>,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: system::Id,
    /// The day that its lines are of.
    day: Date,
}

impl LogFile {
    /// Opened with the first line.
    pub fn new(settings: Settings, clock: Clock) -> LogFile {
        let names = Names::new(&settings.path);
        let (open, held, torn, lost, failing, complaint, chores, looked) = Default::default();
        LogFile { settings, names, clock, open, held, torn, lost, failing, complaint, chores, looked }
    }

    fn today(&self) -> Date {
        Offset::UTC.to_datetime(self.clock.now().wall).date()
    }

    /// Writes what is held, and says so when that does not go, or goes again.
    fn write_held(&mut self) {
        let mut written = 0;
        let outcome = self.append(&mut written);
        if let Some(last) = self.held[..written].last() {
            self.torn = self.open.as_ref().filter(|_| *last != b'\n').map(|open| open.id);
        }
        self.held.drain(..written);
        let path = self.settings.path.display();
        match outcome {
            Ok(()) => {
                if self.failing.take().is_some() {
                    let lines = std::mem::take(&mut self.lost);
                    tracing::warn!(file = %path, lines_lost = lines, "the log file is written to again");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.failing.as_ref().is_none_or(|(said, _)| *said != why) {
                    tracing::error!(file = %path, "the log file cannot be written to: {why}; it is tried again, and lines wait until there are too many");
                }
                self.failing = Some((why, self.clock.now()));
                // Whatever it was, another file may have the name meanwhile.
                self.open = None;
            }
        }
    }

    /// Appends what is held; `written` tells how much of it, whatever comes of the rest.
    fn append(&mut self, written: &mut usize) -> io::Result<()> {
        let today = self.today();
        // Who finds that the file has another name now looks again; nobody renames that often.
        for _ in 0..100 {
            self.have_open(today)?;
            let Some(open) = &self.open else { continue };
            if !system::share(&open.file) {
                // Somebody renames it, or has renamed it and compresses it.
                if !system::is_at(open.id, &self.settings.path) {
                    self.open = None;
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            if !system::is_at(open.id, &self.settings.path) {
                self.open = None;
                continue;
            }
            // Others write to it as well.
            let size = open.file.metadata()?.len();
            let full = self.settings.max_size.is_some_and(|most| size + self.held.len() as u64 > most);
            if self.settings.rotate && size > 0 && (open.day < today || full) {
                match self.rotate() {
                    Ok(()) => continue,
                    // A file that is too large is better than none.
                    Err(error) => self.complain(format!("{} cannot be rotated: {error}", self.settings.path.display())),
                }
            }
            return self.write_to_end(written);
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "somebody else keeps it locked"))
    }

    fn have_open(&mut self, today: Date) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let file = system::open(&self.settings.path)?;
        let (metadata, id) = (file.metadata()?, system::id(&file)?);
        let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        let day = modified.filter(|_| metadata.len() > 0).map_or(today, |time| Offset::UTC.to_datetime(time).date());
        if self.torn.is_some_and(|begun| begun != id) {
            // The beginning of this line is in another file.
            self.torn = None;
            let end = self.held.iter().position(|byte| *byte == b'\n').map_or(self.held.len(), |at| at + 1);
            self.held.drain(..end);
            self.lose(1);
        }
        self.open = Some(Open { id, file, day });
        Ok(())
    }

    fn write_to_end(&mut self, written: &mut usize) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let outcome = loop {
            match open.file.write(&self.held[*written..]) {
                Ok(0) if *written < self.held.len() => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    *written += bytes;
                    if *written == self.held.len() {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        system::release(&open.file);
        outcome
    }

    /// Gives the file the name of its day. Another may have done so meanwhile.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let claimed = (0..100).any(|_| {
            let claimed = system::claim(&open.file);
            if !claimed {
                std::thread::sleep(Duration::from_millis(1));
            }
            claimed
        });
        if !claimed {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "somebody else keeps it locked"));
        }
        if system::is_at(open.id, &self.settings.path) {
            let free = self.names.free(open.day, |path| path.symlink_metadata().is_ok());
            let free = free.ok_or_else(|| io::Error::other("there are too many files of that day"))?;
            std::fs::rename(&self.settings.path, self.names.path(free))?;
        }
        self.open = None;
        self.chores.look();
        Ok(())
    }

    fn complain(&mut self, what: String) {
        if self.complaint != what {
            tracing::warn!("the log: {what}");
            self.complaint = what;
        }
    }

    fn hold(&mut self, lines: &[u8]) {
        if self.held.len() + lines.len() <= ROOM {
            self.held.extend_from_slice(lines);
        } else {
            self.lose(lines_in(lines));
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        super::lose(lines);
    }

    /// Whether a disk that took nothing is to be tried again.
    fn is_due(&self) -> bool {
        self.failing.as_ref().is_none_or(|(_, tried)| self.clock.now().since(*tried) >= AGAIN)
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) {
        self.hold(lines);
        if !self.held.is_empty() && self.is_due() {
            self.write_held();
        }
    }

    fn idle(&mut self) -> Option<Duration> {
        if !self.held.is_empty() && self.is_due() {
            self.write_held();
        }
        if !self.settings.rotate {
            return (!self.held.is_empty()).then_some(AGAIN);
        }
        let (now, today) = (self.clock.now(), self.today());
        if self.looked.is_none_or(|looked| now.since(looked) >= LOOK) {
            self.looked = Some(now);
            self.chores.look();
            // A day that is over while nobody calls.
            if self.failing.is_none() && self.settings.path.symlink_metadata().is_ok_and(|metadata| metadata.len() > 0) {
                let mut none = 0;
                if let Err(error) = self.append(&mut none) {
                    self.complain(format!("{}: {error}", self.settings.path.display()));
                }
            }
        }
        let keep = self.settings.keep.map(|keep| u32::try_from(keep.as_secs().div_ceil(DAY.as_secs())).unwrap_or(u32::MAX));
        match self.chores.step(&self.names, today, keep) {
            Ok(true) => return Some(Duration::ZERO),
            Ok(false) => {}
            Err(what) => self.complain(what),
        }
        Some(if self.held.is_empty() { LOOK } else { AGAIN })
    }

    fn reopen(&mut self) {
        self.open = None;
        self.looked = None;
        if let Some((_, tried)) = &mut self.failing {
            // Whoever asks has probably made room.
            *tried = Moment { mono: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        }
    }

    fn finish(&mut self) {
        if !self.held.is_empty() {
            self.write_held();
        }
        self.lose(lines_in(&self.held));
        let left = std::mem::take(&mut self.lost);
        if left > 0 {
            let path = self.settings.path.display();
            // The file is no place for it.
            eprintln!("soproxy: {left} lines of the log {path} are lost: it could not be written to");
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

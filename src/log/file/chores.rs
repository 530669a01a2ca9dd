//! What is done with rotated files when there is nothing to write: they are compressed, piece by piece, and removed when they
//! are old. Whatever is called otherwise is somebody else's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::Date;

use super::names::{Names, Rotated, State};
use super::system;

/// So much is compressed at once: some milliseconds, in which new lines wait.
const PIECE: usize = 256 * 1024;

/// What there is to do, and what is being done.
#[derive(Debug, Default)]
pub struct Chores {
    /// The directory is to be looked through.
    due: bool,
    waiting: Vec<Rotated>,
    current: Option<Squeeze>,
}

impl Chores {
    /// There may be something to do.
    pub fn look(&mut self) {
        self.due = true;
    }

    /// Does one piece; whether there is more to do. On failure, what could not be done: it is tried again when somebody looks.
    pub fn step(&mut self, names: &Names, today: Date, keep: Option<u32>) -> Result<bool, String> {
        if let Some(squeeze) = &mut self.current {
            match squeeze.step() {
                Ok(true) => return Ok(true),
                Ok(false) => self.current = None,
                Err(error) => {
                    let path = squeeze.from.clone();
                    self.current = None;
                    return Err(format!("{} cannot be compressed: {error}", path.display()));
                }
            }
            return Ok(true);
        }
        if let Some(next) = self.waiting.pop() {
            self.current =
                Squeeze::begin(names, next).map_err(|error| format!("{} cannot be compressed: {error}", names.path(next).display()))?;
            return Ok(true);
        }
        if !std::mem::take(&mut self.due) {
            return Ok(false);
        }
        self.waiting = look_through(names, today, keep)?;
        Ok(!self.waiting.is_empty())
    }
}

/// Removes what is too old: what is to be compressed, the oldest last.
fn look_through(names: &Names, today: Date, keep: Option<u32>) -> Result<Vec<Rotated>, String> {
    let unreadable = |error: io::Error| format!("{} cannot be looked through: {error}", names.dir().display());
    let mut plain = Vec::new();
    let mut failed = None;
    for entry in names.dir().read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(found) = entry.file_name().to_str().and_then(|name| names.parse(name)) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let age = today.since(found.day).map_or(0, |age| age.get_days());
        if keep.is_some_and(|keep| i64::from(age) > i64::from(keep)) {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                failed.get_or_insert(format!("{} cannot be removed: {error}", entry.path().display()));
            }
        } else if found.state == State::Plain {
            plain.push(found);
        }
    }
    plain.sort();
    plain.reverse();
    failed.map_or(Ok(plain), Err)
}

/// One file on its way to its compressed form. The form has its name only when it is whole; what is dropped before leaves nothing.
#[derive(Debug)]
struct Squeeze {
    from: PathBuf,
    unfinished: PathBuf,
    to: PathBuf,
    source: File,
    encoder: GzEncoder<File>,
    buffer: Vec<u8>,
    done: bool,
}

impl Squeeze {
    /// `None` when another process does it, or has done it.
    fn begin(names: &Names, file: Rotated) -> io::Result<Option<Squeeze>> {
        let path = |state| names.path(Rotated { state, ..file });
        let (from, unfinished, to) = (path(State::Plain), path(State::Unfinished), path(State::Compressed));
        let source = match File::open(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Whoever has it, writes to it or compresses it; and who compressed it has removed it.
        if !system::claim(&source) || !system::is_at(system::id(&source)?, &from) {
            return Ok(None);
        }
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = system::create(&unfinished)?;
        let encoder = GzEncoder::new(made, Compression::default());
        let mut squeeze = Squeeze { from, unfinished, to, source, encoder, buffer: vec![0; PIECE], done: false };
        system::same_mode(&squeeze.source, squeeze.encoder.get_mut())?;
        Ok(Some(squeeze))
    }

    /// Whether there is more.
    fn step(&mut self) -> io::Result<bool> {
        let read = self.source.read(&mut self.buffer)?;
        if read > 0 {
            self.encoder.write_all(&self.buffer[..read])?;
            return Ok(true);
        }
        self.encoder.try_finish()?;
        let made = self.encoder.get_mut();
        if let Ok(modified) = self.source.metadata().and_then(|metadata| metadata.modified()) {
            // For people who look.
            let _ = made.set_modified(modified);
        }
        made.sync_all()?;
        std::fs::rename(&self.unfinished, &self.to)?;
        self.done = true;
        std::fs::remove_file(&self.from)?;
        Ok(false)
    }
}

impl Drop for Squeeze {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}

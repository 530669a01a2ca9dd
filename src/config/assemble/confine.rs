//! What the process may reach besides what the configuration names.

use std::path::PathBuf;

use super::Assembly;
use crate::config::Confine;
use crate::config::file::ConfineSettings;

impl Assembly<'_> {
    /// Resolves the paths. One that is not there is worth a warning: the kernel can only be told of what is.
    pub(super) fn confine(&mut self, settings: &ConfineSettings) -> Option<Confine> {
        let mut paths = |key: &str, paths: &Option<Vec<PathBuf>>| -> Option<Vec<PathBuf>> {
            let paths: Vec<PathBuf> = paths.as_ref()?.iter().map(|path| self.secrets.resolve(path)).collect();
            for path in paths.iter().filter(|path| !path.exists()) {
                let hint = "make it, or correct the path, before the next start: only what is there then can be let through";
                self.warn(&format!("confine.{key}"), format!("{} does not exist", path.display()), hint);
            }
            Some(paths)
        };
        let (read, write, execute) = (paths("read", &settings.read), paths("write", &settings.write), paths("execute", &settings.execute));
        if cfg!(target_os = "linux") && self.secrets.has_commands() && execute.as_ref().is_some_and(Vec::is_empty) {
            let hint = "name the programs, what they are linked to, and for a script its interpreter, or start with --no-confine";
            self.warn(
                "confine.execute",
                "names no program, but secrets come from programs: they run at the start, and not again, so that every reload fails",
                hint,
            );
        }
        Some(Confine { read: read?, write: write?, execute: execute? })
    }
}

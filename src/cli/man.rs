//! Manual pages, made from the command definitions.

use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::{CliError, say};

/// Prints soproxy(1), or writes it and a page per command into `dir`.
pub fn run(command: &Command, dir: Option<&Path>) -> Result<ExitCode, CliError> {
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(command.clone(), dir)?;
        }
        None => {
            let mut page = Vec::new();
            Man::new(command.clone()).render(&mut page)?;
            say(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

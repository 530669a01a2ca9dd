//! Parses arguments, runs the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use soproxy::cli::{self, Cli};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soproxy: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

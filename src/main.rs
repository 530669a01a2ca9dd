//! Parses arguments, runs the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use soproxy::cli::{self, Cli};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("soproxy: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soproxy: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

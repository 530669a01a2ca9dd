//! SIGHUP → read the configuration anew → apply it. A configuration that cannot be read changes nothing, and says why.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

/// For a process without a file to read: SIGHUP must not end it.
pub fn ignore_hangup() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: there is no configuration file to read anew");
        }
    });
    Ok(())
}

/// Listens for SIGHUP from now on, and hands each good configuration to `apply`.
pub fn on_hangup<E: std::fmt::Display>(file: PathBuf, apply: impl Fn(Config) -> Result<(), E> + Send + Sync + 'static) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let again = Arc::new(move || match Config::load(&file) {
        Ok(config) => {
            if let Err(error) = apply(config) {
                tracing::error!("the configuration stays as it was: {error}");
            }
        }
        Err(problems) => tracing::error!("the configuration stays as it was:\n{problems}"),
    });
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let again = again.clone();
            // Reads files, and may take a while with thousands of tenants: no request shall wait for that.
            if let Err(error) = tokio::task::spawn_blocking(move || again()).await {
                tracing::error!("the configuration stays as it was: {error}");
            }
        }
    });
    Ok(())
}

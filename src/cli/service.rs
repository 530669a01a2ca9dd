//! `soproxy run` as a service of systemd: it is told when the proxy serves, reads its configuration anew and stops, how its tenants
//! stand, and, if it asks for that, again and again that all workers are well.

use std::io;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Readiness;
use crate::app::App;
use crate::reload::Turn;
use crate::systemd::{self, Notifier};

/// How often the status is looked at, and how much later for each tenant; it is told when it is another one.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(1));

/// What the end of the process may take besides what was configured.
const REST: Duration = Duration::from_secs(15);

/// How many tenants a status names.
const NAMED: usize = 3;

/// The service manager, if it wants to hear of this process.
pub struct Service {
    notifier: Notifier,
    watchdog: Option<Duration>,
    /// What a stop may take.
    farewell: Duration,
}

impl Service {
    /// As the environment says. Before the process confines itself: the socket is out of its reach then.
    pub fn of_this_process(farewell: Duration) -> Option<Service> {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        match Notifier::to(&address) {
            Ok(notifier) => {
                let watchdog = systemd::watchdog(|name| std::env::var(name).ok());
                Some(Service { notifier, watchdog, farewell: farewell + REST })
            }
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the service manager hears nothing");
                None
            }
        }
    }

    /// The listeners are bound: tells so, and of what follows until the process ends.
    pub fn attend(self, app: &App) {
        let (stop, readiness, crew) = (app.stop(), app.readiness(), app.crew());
        let mut turns = app.reloads().turns();
        let first = readiness();
        let mut told = stands(&first);
        said(self.notifier.ready(&told));
        let tenants = u32::try_from(first.tenants.len()).unwrap_or(u32::MAX);
        let mut look = interval(LOOK.0 + LOOK.1.saturating_mul(tenants));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Twice within the time even if the workers take as long as they may.
        let beat = self.watchdog.map(|limit| (limit / 3).max(Duration::from_millis(1)));
        let patience = beat.unwrap_or(LOOK.0);
        let mut pulse = interval(patience);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(async move {
            let (mut leaving, mut draining) = (false, false);
            loop {
                tokio::select! {
                    () = stop.leaving.cancelled(), if !leaving => {
                        leaving = true;
                        said(self.notifier.stopping(self.farewell, "stopping: not ready any more"));
                    }
                    () = stop.drain.cancelled(), if leaving && !draining => {
                        draining = true;
                        said(self.notifier.status("draining: finishing what is in flight"));
                    }
                    turn = turns.recv() => match turn {
                        Some(Turn::Begins) => said(self.notifier.reloading()),
                        Some(Turn::Ends(applied)) => {
                            told = stands(&readiness());
                            if !applied {
                                told.push_str("; the new configuration cannot be used, see the log");
                            }
                            said(self.notifier.ready(&told));
                        }
                        None => return,
                    },
                    _ = look.tick(), if !leaving => {
                        let now = stands(&readiness());
                        // What a failed reload has added stays until something else changes.
                        if !told.starts_with(&now) {
                            said(self.notifier.status(&now));
                            told = now;
                        }
                    }
                    _ = pulse.tick(), if beat.is_some() => match crew.stuck(patience).await {
                        None => said(self.notifier.alive()),
                        Some(worker) => tracing::error!(worker, "a worker does not answer: the watchdog is not told that all is well"),
                    },
                }
            }
        });
    }
}

fn said(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the service manager was not told");
    }
}

fn stands(readiness: &Readiness) -> String {
    status(readiness.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant.can_serve, tenant.state)))
}

/// `3 of 4 tenants can be served; not Cust2 (failing)`
fn status<'a>(tenants: impl Iterator<Item = (&'a str, bool, &'a str)>) -> String {
    let (mut all, mut not) = (0_usize, Vec::new());
    for (name, can_serve, state) in tenants {
        all += 1;
        if !can_serve {
            not.push(format!("{name} ({state})"));
        }
    }
    let mut text = format!("{} of {all} tenants can be served", all - not.len());
    if !not.is_empty() {
        let more = not.len().saturating_sub(NAMED);
        not.truncate(NAMED);
        text.push_str(&format!("; not {}", not.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_counts_tenants_and_names_those_that_fail() {
        let of = |tenants: &[(&str, bool)]| {
            status(tenants.iter().map(|&(name, can_serve)| (name, can_serve, if can_serve { "ready" } else { "failing" })))
        };
        assert_eq!(of(&[("A", true), ("B", true)]), "2 of 2 tenants can be served");
        assert_eq!(of(&[("A", true), ("B", false)]), "1 of 2 tenants can be served; not B (failing)");
        let many = ["A", "B", "C", "D", "E"].map(|name| (name, false));
        assert_eq!(of(&many), "0 of 5 tenants can be served; not A (failing), B (failing), C (failing) and 2 more");
    }
}

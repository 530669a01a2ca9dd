//! What a connection proves about who is at its other end, whatever its requests say.

mod certificate;

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Which user, and group, another process on this machine runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its user.
    pub uid: u32,
    /// Its group, where the kernel tells: on Unix sockets.
    pub gid: Option<u32>,
}

/// A certificate that was verified against the listener's own authorities: the names it gives to whoever has its key.
///
/// Each is written as in the configuration: `subject:CN=erp,O=Example` (RFC 4514), `cn:erp`, `dns:erp.example.com`,
/// `email:erp@example.com`, `uri:spiffe://example/erp`, `ip:10.0.0.1`; of `dns:` and `email:` in small letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// All of them.
    pub names: Vec<String>,
}

/// What one connection proves. Cheap to clone; made once for each connection.
#[derive(Clone, Default)]
pub struct Proof(Option<Arc<Inner>>);

struct Inner {
    certificate: Option<Certificate>,
    /// Asked at most once, and only if somebody wants to know.
    process: OnceLock<Option<Process>>,
    ask: Box<dyn Fn() -> Option<Process> + Send + Sync>,
}

impl Proof {
    /// `ask` finds out which process it is.
    pub fn new(certificate: Option<Certificate>, ask: impl Fn() -> Option<Process> + Send + Sync + 'static) -> Proof {
        Proof(Some(Arc::new(Inner { certificate, process: OnceLock::new(), ask: Box::new(ask) })))
    }

    /// The certificate, if one was shown.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.0.as_ref()?.certificate.as_ref()
    }

    /// The process, if it is on this machine and the kernel tells.
    pub fn process(&self) -> Option<Process> {
        let inner = self.0.as_ref()?;
        *inner.process.get_or_init(|| (inner.ask)())
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("certificate", &self.certificate()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_process_is_asked_for_once_and_only_when_somebody_wants_to_know() {
        assert_eq!(Proof::default().process(), None);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let proof = Proof::new(None, move || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(Process { uid: 7, gid: None })
        });
        let again = proof.clone();
        assert_eq!(format!("{proof:?}"), "Proof { certificate: None, .. }");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(proof.process(), Some(Process { uid: 7, gid: None }));
        assert_eq!(again.process(), proof.process());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

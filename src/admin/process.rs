//! What Linux tells of this process, under `/proc/self`. What serves on other systems is told nothing, and tells nothing.

use std::fs;

/// In which processor time is told: to programs it is the same on every architecture that Rust has Linux for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_fds: Option<usize>,
    /// `None`: as many as it likes, or nobody says.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// As they are now.
    pub(super) fn now() -> Option<Process> {
        let (stat, status) = (fs::read_to_string("/proc/self/stat").ok()?, fs::read_to_string("/proc/self/status").ok()?);
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        // One of them is the one by which they are counted.
        let open_fds = fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1));
        Some(Process { open_fds, ..Process::parse(&stat, &status, &limits)? })
    }

    fn parse(stat: &str, status: &str, limits: &str) -> Option<Process> {
        // The program's name may hold anything, but ends with the last parenthesis. Behind it come the state and 10 fields.
        let mut times = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
        let ticks = times.next()? + times.next()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Some(Process {
            cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
            resident_bytes: field("VmRSS")? * 1024,
            virtual_bytes: field("VmSize")? * 1024,
            threads: field("Threads")?,
            open_fds: None,
            max_fds: max_fds.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        let stat = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 900 0 7 0 123 27 0 0 20 0 9 0 55 1000 20 18446744073709551615";
        let status = "Name:\ta\nVmPeak:\t  9 kB\nVmSize:\t  800 kB\nVmRSS:\t  300 kB\nThreads:\t5\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n";
        let read = Process::parse(stat, status, limits).unwrap();
        let expected = Process {
            cpu_seconds: 1.5,
            resident_bytes: 300 << 10,
            virtual_bytes: 800 << 10,
            threads: 5,
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(read, expected);
        assert_eq!(Process::parse(stat, status, &limits.replace("1024 ", "unlimited ")).unwrap().max_fds, None);
        assert_eq!(Process::parse("nonsense", status, limits), None);
        assert_eq!(Process::parse(stat, "", limits), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_files() {
        let now = Process::now().unwrap();
        assert!(now.resident_bytes > 1 << 20 && now.virtual_bytes >= now.resident_bytes && now.threads > 0, "{now:?}");
        assert!(now.open_fds.is_some_and(|count| count > 0), "{now:?}");
    }
}

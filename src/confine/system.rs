//! What a server reads of the system while it runs, wherever it is: names, roots of trust, libraries that are loaded late, and
//! what the machine can do. Nobody has all of it, and what is not there is skipped.

/// Files that the resolver reads again whenever they change, and that people and programs replace by renaming a new one over
/// them. (glibc and musl.)
pub const REPLACED: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];

/// What else names need. glibc loads the libraries that `nsswitch.conf` names when the first name is asked for, and they may ask
/// services of this machine.
pub const NAMES: &[&str] = &[
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/run/nscd",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    // Whose a Unix socket shall be (`socket_owner`).
    "/etc/passwd",
    "/etc/group",
];

/// Where libraries are.
pub const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
];

/// Files of trusted roots; the first that is there is read.
pub const ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/opt/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/cacert.pem",
];

/// Directories of trusted roots, and those where their links lead.
pub const ROOT_DIRECTORIES: &[&str] = &[
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/etc/security/certificates",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
];

/// How many processors this process may use (std asks the control group whenever it is asked), what it uses, and where randomness is.
pub const MACHINE: &[&str] = &[
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    // What `/metrics` tells of the process.
    "/proc/self/stat",
    "/proc/self/status",
    "/proc/self/limits",
    "/proc/self/fd",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    // Whether this virtual machine is a copy of another one: aws-lc then wants new randomness.
    "/dev/sysgenid",
];

/// What starts a program that is linked dynamically: the kernel must be let execute it.
pub const LINKERS: &[&str] =
    &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"];

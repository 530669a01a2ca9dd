//! Where a Unix socket shall be: a setting, also where there are none.

use std::fmt;
use std::path::PathBuf;

/// Where a Unix socket shall be, and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `address`, without `unix:`; absolute.
    pub path: PathBuf,
    /// `socket_mode`
    pub mode: u32,
    /// `socket_owner`: user and group, where they are set.
    pub owner: (Option<u32>, Option<u32>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
    }
}

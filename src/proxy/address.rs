//! How callers address us: by which listener, name and path, and whose word about that counts.

mod network;

pub use self::network::Network;

//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

// Clippy knows tests by their attribute, and takes their helpers for the product.
#![allow(clippy::unwrap_used)]

mod bench;
mod clock;
mod exchange;
mod forwarding;
mod login;
mod logs;
mod peer;
mod tickets;

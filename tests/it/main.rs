//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

// Clippy's allowance for tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod bench;
mod binary;
mod cli;
mod errors;
mod forwarding;
mod guard;
mod headers;
mod lifecycle;
mod memory;
mod peer;
mod streaming;
mod wire;

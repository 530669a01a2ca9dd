//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

#![allow(clippy::unwrap_used)]

mod bench;
mod binary;
mod cli;
mod clock;
mod errors;
mod exchange;
mod forwarding;
mod guard;
mod headers;
mod lifecycle;
mod login;
mod logs;
mod memory;
mod peer;
mod scale;
mod streaming;
mod tickets;
mod tidy;
mod tls;
mod wire;

//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod errors;
mod forwarding;
mod headers;
mod peer;
mod streaming;
mod wire;

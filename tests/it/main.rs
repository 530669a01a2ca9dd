//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod forwarding;
mod headers;
mod peer;
mod wire;

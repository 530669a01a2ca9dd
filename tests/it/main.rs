//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod binary;
mod errors;
mod forwarding;
mod guard;
mod headers;
mod lifecycle;
mod peer;
mod streaming;
mod tidy;
mod tls;
mod wire;

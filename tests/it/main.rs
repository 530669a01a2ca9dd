//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod forwarding;
mod peer;
mod tidy;
mod tls;

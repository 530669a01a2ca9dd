//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod binary;
mod clock;
mod errors;
mod exchange;
mod forwarding;
mod guard;
mod headers;
mod lifecycle;
mod login;
mod logs;
mod peer;
mod streaming;
mod tickets;
mod tidy;
mod tls;
mod wire;

//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

mod bench;
mod clock;
mod exchange;
mod forwarding;
mod login;
mod logs;
mod peer;
mod tickets;

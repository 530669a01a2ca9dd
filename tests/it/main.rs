//! The one integration binary: the real proxy over real sockets, against the sandbox and small scripted peers.

#![allow(clippy::unwrap_used)]

mod addressing;
mod bench;
mod binary;
mod cache;
mod chunks;
mod citizen;
mod cli;
mod clock;
mod cut;
mod early;
mod errors;
mod exchange;
mod expect;
mod forwarding;
mod framing;
mod guard;
mod h2;
mod halfclose;
mod headers;
mod http10;
mod lifecycle;
mod limits;
mod links;
mod login;
mod logs;
mod memory;
mod moving;
mod peer;
mod pool;
mod scale;
mod secure;
mod smuggling;
mod soap;
mod state_push;
mod streaming;
mod tenant_state;
mod tickets;
mod tidy;
mod timeouts;
mod tls;
mod trailers;
mod twice;
mod upgrade;
mod wire;

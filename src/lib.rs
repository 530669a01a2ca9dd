//! soproxy: an authenticating reverse proxy for SuperOffice CRM Online.
//!
//! Applications send plain requests to `http://127.0.0.1:8080/Cust12345/api/v1/…`. soproxy forwards them to the tenant's
//! SuperOffice host with `Authorization: SOTicket …` and `SO-AppToken: …`, streaming both ways. It gets the ticket itself:
//! it signs the tenant's *system user token* with the application's RSA key, exchanges it at the login service, verifies the
//! JWT that comes back, takes the ticket out, keeps it, and renews it in the background before it expires.
//!
//! # Start reading here
//!
//! A request: [`server`] accepts its connection and gives it to a worker, a thread with a runtime of its own;
//! [`proxy::Proxy::handle`] is the pipeline (one step per line; the order of the steps is the security argument),
//! [`superoffice::state::keeper`] tells where the tenant lives, [`ticket::cache`] hands out the ticket, [`upstream`] sends,
//! [`proxy::links`] brings the answer's links home. A credential: [`config`] → [`superoffice::signing`] →
//! [`superoffice::soap`] or [`superoffice::rest`] → [`superoffice::login`] (the I/O) → [`superoffice::jwt`] →
//! [`ticket::cache`].
//!
//! # Rooms, and who may import whom
//!
//! Imports point down, never up, and within a level only to what the table lists before; a room's own files may import each
//! other. Only `cli` (and tests) may import `sandbox`. A test (`tests/it/tidy.rs`) holds every `use` line against this table.
//!
//! ```text
//! 6  main
//! 5  cli                  knows all; only main imports it
//! 4  app                  the composition root
//! 3  telemetry config reload proxy admin push sandbox
//! 2  confine superoffice::http superoffice::login superoffice::state superoffice::tenant ticket::cache server
//! 2  proxy::governor proxy::cache
//! 2  store
//! 1  superoffice::text superoffice::pem superoffice::redact superoffice::document superoffice::reply superoffice::soap superoffice::rest
//! 1  superoffice::signing superoffice::application superoffice::keys superoffice::jwt
//! 1  proxy::error proxy::headers proxy::body proxy::route proxy::target proxy::policy proxy::clients proxy::cors proxy::links
//! 1  proxy::address proxy::soap upstream
//! 0  alarm shard body clock look signals shutdown systemd peer superoffice superoffice::origin superoffice::serial ticket trace log metrics
//! ```
//!
//! `config` stands above the plan's level 0 because it parses what it reads: keys, certificates, origins and the renewal
//! policy are of their rooms' own types when [`config::Config::load`] returns, so that a key file that cannot be used is
//! reported together with everything else that is wrong. `upstream` is one lower than the plan's, because the login service
//! is called through it. [`clock`], [`body`], [`alarm`], [`shard`] and [`look`] are rooms the plan did not name.
//!
//! # Invariants
//!
//! - No module below `app` (but for `cli`'s commands above it) sees the whole `Config`; constructors take what they need.
//! - Levels 0 and 1 hold no socket, file or clock, but for `upstream` (the socket), `clock`, `shutdown`, `look` and `log::file` themselves.
//! - `ticket::cache` does not know how a ticket is made; `superoffice::login` does not know that anyone caches.
//! - A connection stays on its worker, and so does everything its requests use: pool, counters, log lines ([`shard`]). No
//!   request waits for another core, and none has a timer of its own ([`alarm`]).
//! - A connection to SuperOffice is driven by the request that uses it: a request that is dropped closes it. Only what several
//!   may wait for, an answer on its way into [`proxy::cache`], is driven by a task.
//! - Nothing is sent twice but by `proxy::twice`, and [`upstream`] says for certain when upstream cannot have read a request.
//!   What SuperOffice refused for too many calls is sent again only if it is a GET or HEAD, while `queue_timeout` lasts.
//! - No call goes but with a permit of its tenant's [`proxy::governor`], held until the last byte of its answer, or its 101. The
//!   bounds hold over all workers, and one lock per tenant is taken only while it is governed. What the cache has costs no turn.
//! - The request path reads an atomic snapshot: no lock and no await while a usable ticket exists.
//! - An exchange never runs inside a client's request; no class of error ends a renewal loop.
//! - A rejected ticket is named by its generation: a thousand 401s on generation 7 cause one exchange.
//! - A ticket only goes to a host that is allowed: a request's target is made from an [`superoffice::origin::AllowedBase`] of the
//!   ticket's own tenant, and only [`superoffice::origin::UpstreamHosts::allow`] makes one.
//! - Where a tenant is and whether it runs is decided by its state alone ([`superoffice::state::keeper`]). A push, a 421 and a
//!   token only make the proxy ask.
//! - What `all` rewrites in an answer can be undone in a request: the proxy's own address is never stored at SuperOffice.
//! - A proxy on the way out carries TLS that ends at the origin, and is told no more than host, port and its own credentials.
//! - Whatever decides whom TLS trusts ([`upstream::tls`]) makes a client of its own: no session, no connection outlives its change.
//! - What a caller sent as credentials is stripped before, ours injected after hop-by-hop processing; never merged.
//! - Secrets have no `Display`, and a redacted `Debug`. Header values that hold them are sensitive.
//! - The [`store`] is a memory, never a source of truth: what it tells is judged as told long ago, and whatever is wrong with it
//!   costs an exchange, not a start. It holds nothing that its tenant's private key could not get anew, sealed under a key derived
//!   from that; nobody who serves a request waits for it.
//! - What serving does not need is given up before the first thread is made ([`confine`]); each command makes its own runtime.
//! - Whatever takes the log or the spans, a disk or a collector, nobody waits for it: what it does not take in time is lost and counted.
//! - The proxy never knows that it talks to a sandbox.
//!
//! # Words
//!
//! *Downstream* and *upstream* are the caller's and SuperOffice's side. A *tenant* is a SuperOffice customer, named by its
//! *context identifier*. The *system user token* is the long-lived string from consent; signed with a timestamp it is the
//! *signed system token*. An *exchange* is one round trip to the *login service*: signed system token in, JWT out. The
//! *ticket* is the credential of `Authorization: SOTicket`. The *client secret* is the value of `SO-AppToken`, also called
//! application token. To *renew* is to replace a ticket in the background, or at once *on demand*; to *invalidate* is to mark a
//! *generation* of it as rejected, to *forget* it to drop it without getting another. *Strip*, *inject* and *scrub* are what happens to
//! headers on the way in and out. A *snapshot* is an immutable value, swapped as a whole by a *reload*. A process that is *leaving* is
//! not ready any more and serves as ever; to *drain* is to accept no more and finish what is in flight, within the *grace* period. A
//! socket is *handed* to the process when a service manager has bound it, and is *held* by both. *Live* means that the process answers,
//! *ready* that it can serve what `ready_when` names. An *action* is what the admin listener has done when it is told.
//!
//! A tenant's *state* is what SuperOffice tells of it, its *standing* what the proxy makes of that: the *base* where requests go,
//! an *outage* while it does not run. A tenant whose base is configured is *pinned*. A *hint* (a push, a 421) has the state fetched
//! as soon as it may be; a base that answered 421 is *doubted*. *Theirs* is a tenant's address at SuperOffice, its *home*; *ours* is
//! where the caller reaches it, by its *way* (path, listener, `Host`, default) and *door* (the listener); a *marker* keeps another
//! spelling of theirs behind ours.
//!
//! An *application* may have several private keys and client secrets; a *pair* is one of each, tried together. A ticket and the
//! client secret that it was got with go together. The *serial* of a tenant's database is pinned on first sight. What a later
//! process needs is *kept* as a *record* in the *store*, and *recalled* by it.
//!
//! A *refusal* is SuperOffice's 429, or 503 with `Retry-After`; it *cuts* its tenant's *pace*. A call needs a *turn*; the *caller*
//! that takes turns with others in the *line* is whoever shares an address.
//!
//! A *metric* is a family of samples that differ by their labels; a request's time is spent in *phases*. A renewal is *spared* when uses
//! have made a ticket's window slide past the end that it began with.
//! An *access record* is the log's one line per request. A request's *span* is a part of its caller's *trace*, and each sending of it
//! is a span within; the *collector* is whoever gets them.
//! A configuration is *gathered* from its *texts*: `proxy.toml`, and the files of tenants in `tenants.d`. Each setting has a *shape*, what it
//! takes; what all texts, variables and defaults say together is *effective*, and a reload's *report* is what that differs by.
//!
//! A process that has given up what it does not need is *confined*; a file that is then out of its reach, whatever its permissions, is
//! *barred*.

pub mod admin;
pub mod alarm;
pub mod app;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confine;
pub mod log;
pub mod look;
pub mod metrics;
pub mod peer;
pub mod proxy;
pub mod push;
pub mod reload;
pub mod sandbox;
pub mod server;
pub mod shard;
pub mod shutdown;
pub mod signals;
pub mod store;
pub mod superoffice;
#[cfg(target_os = "linux")]
pub mod systemd;
pub mod telemetry;
pub mod ticket;
pub mod trace;
pub mod upstream;

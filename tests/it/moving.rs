//! Callers of all kinds go on while their tenant moves and stops: nobody is answered wrongly, nothing is done twice or lost.
//!
//! The same run in two sizes: a small one here, and `tests/moves/run.sh`'s against the built program.

mod caller;
mod conductor;
mod ledger;
mod mix;
mod numbers;
mod places;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::caller::{Caller, Way};
use self::conductor::{Conductor, get};
use self::ledger::Ledger;
use self::mix::{Client, Facts, READ_ONLY};
use self::numbers::{Counted, Numbers};
use self::places::Place;
use crate::bench::{Setup, TENANT};

/// The highest id that a sandbox begins with.
const CONTACTS: u64 = 60;
const PERSONS: u64 = 150;

/// A proxy in front of a sandbox.
struct Site {
    proxy: SocketAddr,
    /// The listener that is the tenant's own.
    door: SocketAddr,
    admin: SocketAddr,
    sandbox: SocketAddr,
    /// Where notifications are taken, if SuperOffice sends any.
    push: Option<SocketAddr>,
    places: Vec<Place>,
}

struct Plan {
    title: String,
    /// `rewrite_links = "all"`, not `known`.
    all: bool,
    callers: usize,
    requests: usize,
    moves: usize,
    outages: usize,
    largest_upload: usize,
    /// `state.min_interval`
    min_interval: Duration,
    /// How far ahead a state's `ValidUntil` is.
    validity: Duration,
}

async fn run(site: Site, plan: Plan) -> Numbers {
    let Site { proxy, door, admin, sandbox, push, places } = site;
    let mut contacts = HashMap::new();
    for id in 1..=READ_ONLY {
        contacts.insert(id, stored(sandbox, id).await.unwrap());
    }
    let hosts = places.iter().map(|place| place.authority.clone()).chain([sandbox.to_string()]).collect();
    let facts =
        Facts { contacts, persons: (1..=PERSONS).collect(), hosts, all: plan.all, largest: plan.largest_upload, etags: Default::default() };
    let (facts, ledger, over) = (Arc::new(facts), Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let before = Counted::now(sandbox, admin).await;
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for id in 0..plan.callers {
        let way = Way::nth(id, proxy, door);
        let mut client = Client::new(Caller::new(id, way, ledger.clone()), facts.clone());
        let (ledger, over) = (ledger.clone(), over.clone());
        callers.spawn(async move {
            while !over.load(Ordering::SeqCst) || ledger.answered() < plan.requests {
                client.step().await;
            }
            client
        });
    }
    let mut conductor = Conductor::new(sandbox, push, places, ledger.clone());
    conductor.conduct(plan.requests, plan.moves, plan.outages).await;
    over.store(true, Ordering::SeqCst);
    let clients = callers.join_all().await;
    let took = started.elapsed();
    let counted = Counted::now(sandbox, admin).await.since(before);
    ledger.judge(&conductor.events, plan.validity);
    let made = check_store(sandbox, &clients, &facts, &ledger).await;
    let mut numbers = Numbers {
        title: plan.title,
        rows: ledger.rows(),
        counted,
        took,
        min_interval: plan.min_interval,
        moves: plan.moves,
        outages: plan.outages,
        longest_goodbye: conductor.longest_goodbye,
        longest_news: conductor.longest_news,
        slowest: ledger.entries().iter().map(|entry| entry.answered - entry.sent).max().unwrap_or_default(),
        created: made,
        callers: plan.callers,
        connections: clients.iter().map(|client| client.caller.connections).sum(),
        upstream_connections: conductor.places.iter().map(Place::ever).sum(),
        wrong: ledger.all_wrong(),
    };
    numbers.add_up(&ledger);
    numbers
}

async fn stored(sandbox: SocketAddr, id: u64) -> Option<Value> {
    let answer = get(sandbox, &format!("/_sandbox/stored/{TENANT}/Contact/{id}")).await;
    (answer.status == 200).then(|| answer.json())
}

/// What was answered with success is stored, once, and nothing else is; and none of it names the proxy.
async fn check_store(sandbox: SocketAddr, clients: &[Client], facts: &Facts, ledger: &Ledger) -> usize {
    let mut there = BTreeMap::new();
    let mut id = CONTACTS + 1;
    while let Some(contact) = stored(sandbox, id).await {
        there.insert(id, contact["Name"].as_str().unwrap_or_default().to_owned());
        id += 1;
    }
    let told: BTreeMap<u64, String> = clients.iter().flat_map(|client| &client.created).map(|(name, id)| (*id, name.clone())).collect();
    for (id, name) in there.iter().filter(|(id, name)| told.get(id) != Some(name)) {
        ledger.wrong(format!("{name} is stored as {id}, and nobody was told so"));
    }
    for (id, name) in told.iter().filter(|(id, name)| there.get(id) != Some(name)) {
        ledger.wrong(format!("{name} was created as {id}, and is not stored"));
    }
    for client in clients {
        client.check_own(stored(sandbox, client.own_contact()).await, facts).unwrap_or_else(|why| ledger.wrong(why));
    }
    there.len()
}

async fn small(all: bool, pushed: bool, validity: Duration) {
    let min_interval = Duration::from_millis(50);
    let mut setup = Setup::new().set("state.min_interval", "50ms").set("listen.default_tenant", TENANT).listener(TENANT);
    setup = setup.set("upstream.rewrite_links", if all { "all" } else { "known" }).set("listen.workers", "2");
    if pushed {
        setup = setup.set("state.push_address", "127.0.0.1:0");
    }
    let mut hosts = Vec::new();
    for name in ["127.0.0.1", "localhost"] {
        hosts.push((name, TcpListener::bind("127.0.0.1:0").await.unwrap()));
    }
    let named: Vec<String> = hosts.iter().map(|(name, at)| format!("{name}:{}", at.local_addr().unwrap().port())).collect();
    setup = setup.set("superoffice.upstream_hosts", &named.join(","));
    setup = setup.fault(&format!("moved.{TENANT}=http://{}", named[0])).fault(&format!("valid_for={}ms", validity.as_millis()));
    let bench = setup.start().await;
    let sandbox: SocketAddr = bench.sandbox.base().trim_start_matches("http://").parse().unwrap();
    let places = hosts.into_iter().map(|(name, listener)| Place::open(listener, name, sandbox)).collect();
    bench.until("a ticket", async || bench.get("/api/v1/User/currentPrincipal").await.status == 200).await;
    let site = Site {
        proxy: bench.proxy,
        door: bench.doors[0],
        admin: bench.admin.unwrap(),
        sandbox,
        push: bench.push.filter(|_| pushed),
        places,
    };
    let title = format!("all: {all}, pushed: {pushed}");
    let plan = Plan { title, all, callers: 10, requests: 600, moves: 4, outages: 1, largest_upload: 200_000, min_interval, validity };
    let numbers = run(site, plan).await;
    numbers.print();
    assert!(numbers.wrong.is_empty(), "{:#?}", numbers.wrong);
    assert!(pushed || numbers.told_of_moves(), "a run in which no 421 was seen proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_wrongly_while_the_tenant_moves_and_stops() {
    small(false, false, Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_superoffice_tells_of_it_and_all_links_are_rewritten() {
    small(true, true, Duration::from_secs(600)).await;
}

/// Started by `tests/moves/run.sh`, which says in the environment where everything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the built program, and longer: tests/moves/run.sh"]
async fn the_whole_run() {
    let told = |name: &str| std::env::var(format!("MOVES_{name}")).unwrap_or_else(|_| panic!("no MOVES_{name}"));
    let number = |name: &str| told(name).parse::<usize>().unwrap();
    let at = |port: &str| SocketAddr::from(([127, 0, 0, 1], told(port).parse().unwrap()));
    let sandbox = at("SANDBOX");
    let mut places = Vec::new();
    for place in told("PLACES").split(',') {
        let (name, port) = place.split_once(':').unwrap();
        places.push(Place::open(TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap(), name, sandbox));
    }
    let push = (told("PUSH") != "off").then(|| at("PUSH"));
    let site = Site { proxy: at("PROXY"), door: at("DOOR"), admin: at("ADMIN"), sandbox, push, places };
    let milliseconds = |name| Duration::from_millis(number(name) as u64);
    let plan = Plan {
        title: told("TITLE"),
        all: told("LINKS") == "all",
        callers: 16,
        requests: number("REQUESTS"),
        moves: number("MOVES"),
        outages: number("OUTAGES"),
        largest_upload: 400_000,
        min_interval: milliseconds("MIN_INTERVAL"),
        validity: milliseconds("VALIDITY"),
    };
    let numbers = run(site, plan).await;
    numbers.print();
    assert!(numbers.wrong.is_empty(), "answers were wrong");
}

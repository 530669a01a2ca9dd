//! Where tenants are, and whether they run.

use super::*;

impl Running {
    fn set(&self, fault: &str) {
        self.sandbox.control().change_faults(|faults| faults.set(fault).unwrap());
    }

    /// A call that is addressed to `host`, wherever that is.
    async fn at(&self, host: &str, ticket: &str, method: Method, path: &str) -> Answer {
        let authorization = format!("SOTicket {ticket}");
        let headers = [("host", host), ("authorization", authorization.as_str()), ("so-apptoken", demo::CLIENT_SECRET)];
        self.call(method, path, &headers, "").await
    }
}

#[tokio::test]
async fn a_state_is_valid_for_as_long_as_demanded() {
    let (clock, hand) = Clock::manual("2026-02-23T09:42:01.9342965Z".parse().unwrap());
    let running = running(Options { clock, ..Options::default() }).await;
    let valid_until = async || running.get("/api/state/Cust12345").await.json()["ValidUntil"].as_str().unwrap().to_owned();
    assert_eq!(valid_until().await, "2026-02-23T09:52:01.9342965Z");
    running.set("valid_for=2s");
    hand.advance(Duration::from_secs(1));
    assert_eq!(valid_until().await, "2026-02-23T09:42:04.9342965Z");
    running.set("valid_for=-1m");
    assert_eq!(valid_until().await, "2026-02-23T09:41:02.9342965Z");
}

#[tokio::test]
async fn states_can_be_slow_or_garbled_and_are_counted() {
    let running = running(Options::default()).await;
    running.set("state_slow=50ms");
    let start = std::time::Instant::now();
    assert_eq!(running.get("/api/state/Cust54321").await.json()["State"], "Running");
    assert!(start.elapsed() >= Duration::from_millis(50));
    running.set("state_slow=0s");
    running.set("state_garbled=true");
    let garbled = running.get("/api/state/cust12345").await;
    assert_eq!((garbled.status, garbled.text().contains("<HTML>")), (StatusCode::OK, true));
    running.get("/api/state/Cust1").await;
    let counters = running.sandbox.control().counters();
    assert_eq!((counters.state, counters.states_of("Cust12345"), counters.states_of("Cust54321")), (3, 1, 1));
    assert_eq!(counters.states_of("unknown"), 1);
}

#[tokio::test]
async fn every_state_is_told_and_only_those_that_run_are_served() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    for (state, runs, serves) in [
        ("Unknown", false, true),
        ("Provisioning", false, false),
        ("Running", true, true),
        ("Deleted", false, false),
        ("Suspended", false, false),
        ("OnlineMaintenance", true, true),
        ("OfflineMaintenance", false, false),
        ("ProvisioningFailed", false, false),
        ("Deleting", false, false),
        ("DeleteFailed", false, false),
        ("MigrationPending", false, false),
    ] {
        running.set(&format!("state.Cust12345={state}"));
        let told = running.get("/api/state/Cust12345").await.json();
        assert_eq!((&told["State"], &told["IsRunning"]), (&json!(state), &json!(runs)));
        let status = running.api(&ticket, Method::GET, "Contact/1", "").await.status;
        assert_eq!(status, if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "{state}");
    }
    assert_eq!(running.sandbox.control().counters().not_running, 8);
}

#[tokio::test]
async fn a_tenant_moves_back_and_forth_and_is_nowhere_else() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let port = running.sandbox.base().rsplit_once(':').unwrap().1.to_owned();
    let (home, other) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
    let path = "/Cust12345/api/v1/Contact/1";
    let status = async |host: &str| running.at(host, &ticket, Method::GET, path).await.status.as_u16();
    assert_eq!((status(&home).await, status(&other).await, status("anything.example").await), (200, 200, 200), "never moved");
    for _ in 0..2 {
        running.set("moved.Cust12345=null");
        assert_eq!((status(&home).await, status(&other).await, status("anything.example").await), (421, 200, 421));
        assert_eq!(running.get("/api/state/Cust12345").await.json()["Endpoint"], format!("http://{other}/Cust12345"));
        running.set("moved.Cust12345=home");
        assert_eq!((status(&home).await, status(&other).await, status("anything.example").await), (200, 421, 421));
        assert_eq!(running.get("/api/state/Cust12345").await.json()["Api"], format!("http://{home}/Cust12345/api"));
    }
    running.set("moved.Cust12345=http://elsewhere.example");
    assert_eq!((status("elsewhere.example").await, status("elsewhere.example:80").await, status(&home).await), (200, 200, 421));
    assert_eq!(running.sandbox.control().counters().misdirected, 9);
}

#[tokio::test]
async fn a_421_comes_before_anything_is_done() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    running.set("moved.Cust12345=http://elsewhere.example");
    running.set("unauthorized.next=1");
    running.set("state.Cust12345=Suspended");
    for (method, path) in [(Method::DELETE, "/Cust12345/api/v1/Contact/1"), (Method::POST, "/Cust12345/CS/scripts/customer.fcgi")] {
        let answer = running.at("127.0.0.1", &ticket, method, path).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(answer.json()["Message"], "Wrong subdomain used to access tenant");
    }
    assert_eq!(running.sandbox.control().faults().unauthorized, Unauthorized::Next(1));
    assert!(running.sandbox.control().stored("Cust12345", "Contact", 1).is_some());
    let counters = running.sandbox.control().counters();
    assert_eq!((counters.misdirected, counters.not_running, counters.unauthorized), (2, 0, 0));
}

#[tokio::test]
async fn of_a_move_the_state_tells_and_not_the_token() {
    let running = running(Options::default()).await;
    running.set("moved.Cust12345=http://elsewhere.example/");
    let token = running.try_send(running.demo_exchange()).await.unwrap().json()["Token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["http://schemes.superoffice.net/identity/webapi_url"], format!("{}/Cust12345/api/", running.sandbox.base()));
    assert_eq!(running.get("/api/state/Cust12345").await.json()["Api"], "http://elsewhere.example/Cust12345/api");
}

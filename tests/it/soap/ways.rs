//! Where services are, for callers and at SuperOffice; and tenants that move and stop.

use std::net::SocketAddr;

use serde_json::json;

use super::*;
use crate::login::{Act, Login, Token, http};
use crate::wire::{Message, OK, ask, recorder};

const SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";

async fn post(to: SocketAddr, host: &str, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
    let body = body.as_ref();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    ask(to, [head.as_bytes(), body].concat()).await
}

/// A small call by SOAP 1.1.
async fn post_small(to: SocketAddr, host: &str, path: &str) -> Message {
    let headers = format!("Content-Type: text/xml\r\nSOAPAction: \"{NS}/Contact/GetContact\"\r\n");
    post(to, host, path, &headers, envelope("", "<n:GetContact><n:ContactId>3</n:ContactId></n:GetContact>")).await
}

fn is_contact(answer: &Message) -> bool {
    answer.status() == 200 && answer.text().contains("<ContactId>3</ContactId>")
}

#[tokio::test]
async fn soap_1_2_with_any_prefix_and_compressed() {
    let bench = Bench::start().await;
    let body = format!("<GetContact xmlns=\"{NS}\"><ContactId>3</ContactId></GetContact>");
    let stale = format!("<Credentials xmlns=\"{NS}\"><Ticket>7T:old</Ticket></Credentials>");
    for prefix in ["", "soap12:", "Ω:"] {
        let declared = prefix.strip_suffix(':').map_or("xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
        for header in ["".to_owned(), format!("<{prefix}Header/>"), format!("<{prefix}Header>{stale}</{prefix}Header>")] {
            let text = format!("<{prefix}Envelope {declared}=\"{SOAP_12}\">{header}<{prefix}Body>{body}</{prefix}Body></{prefix}Envelope>");
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
            let kind = format!("Content-Type: application/soap+xml; charset=utf-8; action=\"{NS}/Contact/GetContact\"\r\n");
            let answer = post(bench.proxy, "localhost", PATH, &kind, &text).await;
            assert!(is_contact(&answer), "{text}: {}", answer.text());
            let answer = post(bench.proxy, "localhost", PATH, &format!("{kind}Content-Encoding: gzip\r\n"), packed.finish().unwrap()).await;
            assert!(is_contact(&answer), "packed {text}: {}", answer.text());
            let answer = post(bench.proxy, "localhost", PATH, &format!("{kind}Content-Encoding: zstd\r\n"), &text).await;
            assert_eq!((answer.status(), answer.error()), (415, Some("bad_envelope")));
            assert!(answer.text().contains("gzip"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_service_is_reached_by_every_way_to_its_tenant_and_its_description_leads_back_there() {
    for mode in ["known", "all", "off"] {
        let setup = Setup::new().set("upstream.rewrite_links", mode).set("listen.default_tenant", TENANT);
        let bench = setup.listener(TENANT).start().await;
        let (proxy, door) = (bench.proxy, bench.doors[0]);
        for (to, host, prefix) in [
            (proxy, proxy.to_string(), "/Cust12345"),
            (proxy, proxy.to_string(), ""),
            (proxy, format!("cust12345.localhost:{}", proxy.port()), ""),
            (door, door.to_string(), ""),
            (door, door.to_string(), "/Cust12345"),
        ] {
            let path = format!("{prefix}/Remote/Services88/Contact.svc");
            assert!(is_contact(&post_small(to, &host, &path).await), "{mode} {host}{path}");
            let wsdl = ask(to, format!("GET {path}?wsdl HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.text();
            assert!(wsdl.contains(&format!("<soap:address location=\"http://{host}{path}\"/>")), "{mode} {host}{path}: {wsdl}");
            assert!(!wsdl.contains(bench.sandbox.base()), "{mode} {host}{path}: {wsdl}");
        }
    }
}

#[tokio::test]
async fn the_case_of_a_path_does_not_matter() {
    let bench = Bench::start().await;
    for path in ["/cust12345/remote/services88/contact.svc", "/CUST12345/REMOTE/SERVICES88/CONTACT.SVC"] {
        assert!(is_contact(&post_small(bench.proxy, "localhost", path).await), "{path}");
        let wsdl = ask(bench.proxy, format!("GET {path}?WSDL HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.text();
        assert!(
            wsdl.contains("location=\"http://localhost/cust12345/") || wsdl.contains("location=\"http://localhost/CUST12345/"),
            "{wsdl}"
        );
    }
}

#[tokio::test]
async fn a_ticket_that_is_refused_again_is_not_renewed_again() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.fault("soap_exception=SuperOffice.Exceptions.SoSessionException").start().await;
    assert_eq!(bench.get("/api/v1/Contact/1").await.status, 200);
    let before = bench.exchanges();
    hand.advance(Duration::from_secs(10));
    let answer = call(&bench, "Contact/SaveContactEntity", "", SAVE).await;
    assert!(!succeeded(&answer) && answer.text().contains("SoSessionException"), "{answer:?}");
    assert_eq!(bench.sandbox.control().counters().soap["Contact.SaveContactEntity"], 2);
    assert_eq!(bench.exchanges(), before + 1);
}

#[tokio::test]
async fn a_move_is_followed_and_an_outage_answered() {
    let bench = Setup::new().may_move().set("state.min_interval", "50ms").start().await;
    assert!(succeeded(&get_contact(&bench).await));
    bench.fault("moved.Cust12345=null");
    assert!(succeeded(&call(&bench, "Contact/SaveContactEntity", "", SAVE).await));
    let counters = bench.sandbox.control().counters();
    assert_eq!((counters.misdirected, counters.soap["Contact.SaveContactEntity"]), (1, 1));
    bench.fault("state.Cust12345=OfflineMaintenance");
    bench.until("the outage is known", async || get_contact(&bench).await.error() == Some("tenant_not_running")).await;
}

/// A state that says this of its places.
fn places(api: &str, endpoint: Option<&str>) -> Act {
    let mut state = json!({ "ContextIdentifier": TENANT, "State": "Running", "IsRunning": true, "Api": api });
    if let Some(endpoint) = endpoint {
        state["Endpoint"] = endpoint.into();
    }
    Act::send(http("200 OK", "content-type: application/json\r\n", &state.to_string()))
}

#[tokio::test]
async fn services_are_below_the_states_endpoint_else_beside_the_web_api_else_where_the_token_says() {
    let ((api, at_api), (services, at_services), (foreign, at_foreign)) = (recorder(OK).await, recorder(OK).await, recorder(OK).await);
    let url = |peer: &crate::peer::Peer, path: &str| format!("http://{}{path}", peer.address);
    let (own, odd) = (url(&api, "/Cust12345/api"), url(&api, "/web"));
    let token = |peer| Token::good().of("netserver_url", url(peer, "/x/Remote/Services88/")).reply();
    for (api_base, endpoint, claim, there, prefix) in [
        (&own, Some(url(&services, "/there")), &foreign, Some(&at_services), "/there"),
        (&own, Some(url(&foreign, "/there")), &services, Some(&at_api), "/Cust12345"),
        (&own, None, &services, Some(&at_api), "/Cust12345"),
        (&odd, None, &services, Some(&at_services), "/x"),
        (&odd, None, &foreign, None, ""),
    ] {
        let login = Login::start(token(claim)).await;
        login.on_state(places(api_base, endpoint.as_deref()));
        let hosts = format!("{},{}", api.address, services.address);
        let setup = Setup::new().login_at(login.address()).set("superoffice.upstream_hosts", &hosts).set("upstream.routes", "CS");
        let bench = setup.start().await;
        let answer = post_small(bench.proxy, "localhost", PATH).await;
        let case = format!("{api_base} {endpoint:?} {}", answer.text());
        let Some(there) = there else {
            assert_eq!((answer.status(), answer.error()), (400, Some("bad_target")), "{case}");
            continue;
        };
        assert_eq!(answer.status(), 200, "{case}");
        assert_eq!(there.last().first, format!("POST {prefix}/Remote/Services88/Contact.svc HTTP/1.1"), "{case}");
        let beside = ask(bench.proxy, format!("GET /{TENANT}/CS/x HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!((beside.status(), there.last().first), (200, format!("GET {prefix}/CS/x HTTP/1.1")), "{case}");
        // The web API stays where it is.
        assert_eq!(bench.get("/api/v1/x").await.status, 200);
        assert!(at_api.last().first.ends_with("/v1/x HTTP/1.1"), "{case}");
    }
    assert_eq!(at_foreign.count(), 0, "no ticket goes to a host that is not listed");
}

//! The way of a request, there and back.

use http::{Method, Request};

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Peer;

#[tokio::test]
async fn a_plain_request_becomes_an_authenticated_one() {
    let bench = Bench::start().await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["DatabaseContextIdentifier"], TENANT);
    assert_eq!(answer.headers["via"], "1.1 soproxy");
    assert!(!answer.headers.contains_key("set-cookie"), "SuperOffice's session cookies stay here");
}

#[tokio::test]
async fn every_method_and_any_path_go_through_byte_for_byte() {
    let bench = Bench::start().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "MERGE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let echo = bench.echo(Request::builder().method(method.clone()), "body").await;
        assert_eq!(echo["Method"], method.as_str());
        assert_eq!(echo["BodyLength"], 4, "{echo}");
    }
}

#[tokio::test]
async fn a_dead_upstream_is_a_502() {
    let peer = Peer::answering("").await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = bench.get("/api/v1/Contact/1").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (502, Some("upstream_unreachable")));
    assert!(peer.connections() >= 1);
}

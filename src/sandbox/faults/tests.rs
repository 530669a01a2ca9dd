//! The JSON of faults, and their command-line form.

use super::*;
use crate::sandbox::login::Refusal;
use serde_json::json;

#[test]
fn the_default_is_the_document_of_the_module_page() {
    let expected = json!({
        "login": "ok", "login_of": {}, "jwks_down": false, "state_down": false, "state_slow": "0s", "state_garbled": false,
        "valid_for": "600s", "unauthorized": "off", "throttle": {}, "latency": "0s", "moved": {}, "old_links": {}, "state": {},
        "clock_skew": "0s", "jwt": "ok", "coding": "asked", "escaped_slashes": false,
        "soap_ticket": "SuperOffice.Exceptions.SoSessionException", "soap_exception": null,
    });
    assert_eq!(serde_json::to_value(Faults::default()).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Faults>(expected).unwrap(), Faults::default());
}

#[test]
fn every_fault_can_be_set_as_on_a_command_line() {
    let mut faults = Faults::default();
    for text in [
        "login.slow.delay=1500ms",
        "login_of.Cust1=down",
        "login_of.Cust2.refuse.code=Revoked",
        "jwks_down=true",
        "unauthorized.next=3",
        "latency=0.2",
        "throttle.Cust1.rate=2.5",
        "throttle.Cust2.retry_after=null",
        "moved.Cust1=null",
        "moved.Cust2=http://localhost:1",
        "old_links.Cust1=http://localhost:443",
        "state_slow=50ms",
        "state_garbled=true",
        "valid_for=2s",
        "coding=raw_deflate",
        "escaped_slashes=true",
        "soap_ticket=http_401",
        "soap_exception=SoSentryException",
        "state.Cust1=OfflineMaintenance",
        "clock_skew=-20m",
        "jwt=rotate_key",
    ] {
        faults.set(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    assert_eq!(faults.login, LoginFault::Slow { delay: Duration::from_millis(1500) });
    assert_eq!(faults.login_for("cust1"), &LoginFault::Down);
    assert_eq!(faults.login_for("Cust2"), &LoginFault::Refuse { code: Refusal::Revoked });
    assert_eq!(faults.login_for("Cust3"), &faults.login);
    assert_eq!(faults.unauthorized, Unauthorized::Next(3));
    assert_eq!(faults.latency, Duration::from_millis(200));
    assert_eq!(faults.throttle_of("cust1"), Some(&Throttle { rate: 2.5, ..Throttle::default() }));
    assert_eq!(faults.throttle_of("Cust2"), Some(&Throttle { retry_after: None, ..Throttle::default() }));
    assert_eq!(faults.moved_to("CUST1"), Some(None));
    assert_eq!(faults.moved_to("Cust2"), Some(Some("http://localhost:1")));
    assert_eq!(faults.old_links_of("cust1"), Some("http://localhost:443"));
    assert_eq!((faults.state_slow, faults.valid_for), (Duration::from_millis(50), SignedDuration::from_secs(2)));
    assert_eq!((faults.coding, faults.escaped_slashes, faults.state_garbled), (Coding::RawDeflate, true, true));
    assert_eq!((faults.soap_ticket.as_str(), faults.soap_exception.as_deref()), ("http_401", Some("SoSentryException")));
    assert!(!faults.state_of("Cust1").is_running());
    assert_eq!(faults.clock_skew, SignedDuration::from_mins(-20));
    let again: Faults = serde_json::from_value(serde_json::to_value(&faults).unwrap()).unwrap();
    assert_eq!(again, faults);
}

#[test]
fn what_does_not_exist_is_refused_and_changes_nothing() {
    let mut faults = Faults::default();
    for text in [
        "login",
        "login=broken",
        "logn=down",
        "latency=-5s",
        "latency=soon",
        "state.Cust1=Asleep",
        "login.refuse.code=Tired",
        "unauthorized=3",
        "clock_skew=1e300",
        "login.slow.dly=1s",
        "coding=zip",
        "state_slow=-1s",
        "throttle.Cust1.rate=-1",
        "throttle.Cust1.status=500",
        "throttle.Cust1.speed=5",
        "throttle.Cust1=5",
        "old_links.Cust1=null",
    ] {
        assert!(faults.set(text).is_err(), "{text}");
    }
    assert_eq!(faults, Faults::default());
}

//! The login service: both twins of the exchange, and every way it can fail.

mod token;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use soproxy::sandbox::{LoginFault, Refusal, Tenant, demo};
use soproxy::superoffice::SuperIdCode;

use crate::bench::{Bench, Setup, TENANT, collect, open};
use crate::login::{Act, Login, Token, any_api, denied, envelope, get_of, granted, grows_cold, heals, http, no_secrets, soap, unavailable};
use crate::logs::Logs;
use crate::peer::Peer;

const WHO: &str = "/api/v1/User/currentPrincipal";
const TWINS: [&str; 2] = ["soap", "rest"];

#[tokio::test]
async fn both_twins_serve_both_tenants() {
    for twin in TWINS {
        let bench = Setup::new().set("superoffice.exchange", twin).start().await;
        // The second application is called "R&D Sync 2.0": its token must be escaped, and taken apart from the right.
        for tenant in [TENANT, demo::SECOND_TENANT] {
            let answer = get_of(&bench, tenant, WHO).await;
            assert_eq!(answer.status, 200, "{twin}: {answer:?}");
            assert_eq!(answer.json()["DatabaseContextIdentifier"], tenant);
            assert_eq!(bench.sandbox.control().counters().exchanges_of(tenant), 1, "{twin}");
        }
        assert_eq!(bench.sandbox.control().counters().exchanges_refused, 0);
    }
}

#[tokio::test]
async fn soap_is_the_default_and_rest_a_setting() {
    let api = any_api().await;
    for (twin, path, content_type, action) in [
        (None, "/login/services/PartnerSystemUserService.svc", "text/xml", true),
        (Some("soap"), "/login/services/PartnerSystemUserService.svc", "text/xml", true),
        (Some("rest"), "/Login/api/PartnerSystemUser/Authenticate", "application/json", false),
    ] {
        let login = Login::start(Act::Reset).await;
        let mut setup = login.with_api(&api);
        if let Some(twin) = twin {
            setup = setup.set("superoffice.exchange", twin);
        }
        let bench = setup.start().await;
        bench.get(WHO).await;
        let request = login.seen().exchanges[0].clone();
        let lower = request.to_ascii_lowercase();
        assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{request}");
        assert!(lower.contains(&format!("content-type: {content_type}")), "{request}");
        let soap_action = "soapaction: http://www.superoffice.com/superid/partnersystemuser/0.1/ipartnersystemuserservice/authenticate\r\n";
        assert_eq!(lower.contains(soap_action), action, "{request}");
        assert!(request.contains(TENANT) && request.contains(demo::CLIENT_SECRET), "{request}");
    }
}

#[tokio::test]
async fn everything_is_escaped() {
    let secret = r#"a<b>&"c'd]]>&amp;\u0041\n"#;
    let token = r#"Åpp <&> "Näme'.2.0" \ ]]>-2d2D5KmBji"#;
    for twin in TWINS {
        let mut setup = Setup::new().set("superoffice.exchange", twin);
        let odd = Tenant { client_secret: secret.to_owned(), system_user_token: token.to_owned(), ..demo::tenants().remove(0) };
        setup.options.tenants[0] = odd;
        let setup = setup.set("application.client_secret", secret).set("tenants.Cust12345.system_user_token", token);
        let bench = setup.start().await;
        let answer = bench.get(WHO).await;
        assert_eq!(answer.status, 200, "{twin}: {answer:?}");
    }
}

#[tokio::test]
async fn a_soap_reply_is_read_by_namespace_and_local_name() {
    let api = any_api().await;
    let token = Token::good().sign();
    let usual = envelope(&granted(&token));
    let ns = "http://www.superoffice.com/superid/partnersystemuser/0.1";
    let prefixed = format!(
        r#"<?xml version="1.0" encoding="utf-8"?><!-- x --><x:Envelope xmlns:x="http://schemas.xmlsoap.org/soap/envelope/"><x:Header><IsSuccessful xmlns="urn:other">false</IsSuccessful></x:Header><x:Body><p:AuthenticationResponse xmlns:p="{ns}"><IsSuccessful xmlns="urn:other">false</IsSuccessful><p:IsSuccessful> 1 </p:IsSuccessful><p:Token>
            {token}
        </p:Token></p:AuthenticationResponse></x:Body></x:Envelope>"#
    );
    let nil = usual.replace("<ErrorMessage/>", r#"<ErrorMessage i:nil="true"/>"#);
    let other_order = envelope(&format!("<Other/><Token>{token}</Token><IsSuccessful>1</IsSuccessful>"));
    for (what, reply) in [
        ("the usual", usual.clone()),
        ("any prefix, 1, white space, no ErrorMessage", prefixed),
        ("nil", nil),
        ("another order, and more than is known", other_order),
        ("BOM and white space", format!("\u{feff}\r\n {usual}\r\n\r\n")),
    ] {
        let login = Login::start(Act::send(http("200 OK", "content-type: text/xml\r\n", &reply))).await;
        let bench = login.with_api(&api).start().await;
        let answer = bench.get(WHO).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_rest_reply_is_read_liberally() {
    let api = any_api().await;
    let token = Token::good().sign();
    for (what, reply) in [
        ("the usual", json!({ "IsSuccessful": true, "Token": token, "ErrorMessage": null }).to_string()),
        ("other case, a text, nothing else", json!({ "isSuccessful": "true", "token": token }).to_string()),
        ("a number, BOM, white space", format!("\u{feff}\n {} \n", json!({ "IsSuccessful": 1, "Token": format!(" {token}\r\n") }))),
    ] {
        let login = Login::start(Act::send(http("200 OK", "content-type: application/json\r\n", &reply))).await;
        let bench = login.with_api(&api).set("superoffice.exchange", "rest").start().await;
        let answer = bench.get(WHO).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn every_login_fault_is_a_503_and_heals_by_itself() {
    for twin in TWINS {
        let setup = Setup::new().set("superoffice.exchange", twin).set("superoffice.login_timeout", "500ms");
        let (setup, hand) = setup.set("renewal.prefetch", "false").manual_clock();
        let bench = setup.start().await;
        for (fault, reason, words) in [
            (LoginFault::Down, "cannot be reached", "login service cannot be reached"),
            (LoginFault::Slow { delay: Duration::from_secs(60) }, "does not answer in time", "no whole answer within"),
            (LoginFault::Garbled, "no exchange reply", "HTML page instead of a reply: SuperOffice"),
            (LoginFault::Html500, "no exchange reply", "HTTP 500: an HTML page instead of a reply: Runtime Error"),
            (
                LoginFault::SoapFault,
                "no exchange reply",
                if twin == "soap" { "unable to process the request due to an internal error" } else { "HTTP 500: An error has occurred." },
            ),
            (LoginFault::Empty, "no exchange reply", "HTTP 200 with an empty body"),
            (LoginFault::Truncated, "no exchange reply", "cut off after"),
            (LoginFault::Redirect, "no exchange reply", "HTTP 302: redirected to"),
        ] {
            let logs = Logs::capture();
            bench.sandbox.control().change_faults(|faults| faults.login = fault.clone());
            grows_cold(&hand);
            for _ in 0..2 {
                unavailable(&bench.get(WHO).await, reason);
            }
            let warnings = logs.warnings();
            assert!(warnings.iter().any(|line| line.contains(words)), "{twin} {fault:?}: {warnings:?}");
            bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Ok);
            heals(&bench, &hand).await;
            no_secrets(&logs.text());
        }
    }
}

#[tokio::test]
async fn whatever_a_peer_sends_instead_of_a_reply_is_a_503_and_heals_by_itself() {
    let evil = any_api().await;
    let api = any_api().await;
    let good = soap(&granted(&Token::good().sign()));
    let cut = good[..good.len() - 200].to_vec();
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let laughs = r#"<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>"#;
    let entity = envelope(&granted("&b;"));
    let external = r#"<!DOCTYPE l SYSTEM "file:///etc/hostname">"#;
    let xml = "content-type: text/xml\r\n";
    let redirect = |status: &str| http(status, &format!("location: http://{}/login?secret=1\r\n", evil.address), "");
    let endless = format!("HTTP/1.1 200 OK\r\n{xml}connection: close\r\n\r\n{}", " ".repeat(3 << 20));
    let table: Vec<(&str, Act, &str, &str)> = vec![
        (
            "an HTML page",
            Act::send(http("503 Service Unavailable", "content-type: text/html\r\n", "<html><title>Down</title>")),
            "no exchange reply",
            "Down",
        ),
        (
            "plain words",
            Act::send(http("502 Bad Gateway", "content-type: text/plain\r\n", "Bad Gateway")),
            "no exchange reply",
            "HTTP 502: Bad Gateway",
        ),
        (
            "a SOAP fault",
            Act::send(http(
                "500 Internal Server Error",
                xml,
                r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>The creator of this fault</faultstring></s:Fault></s:Body></s:Envelope>"#,
            )),
            "no exchange reply",
            "s:Client: The creator of this fault",
        ),
        ("nothing", Act::send(http("200 OK", xml, "")), "no exchange reply", "empty body"),
        ("less than its Content-Length", Act::send(cut), "no exchange reply", "cut off"),
        (
            "a chunked body that breaks off",
            Act::send(format!("HTTP/1.1 200 OK\r\n{xml}transfer-encoding: chunked\r\n\r\n40\r\n<s:Envelope")),
            "no exchange reply",
            "cut off",
        ),
        ("302", Act::send(redirect("302 Found")), "no exchange reply", "redirects are not followed"),
        ("307", Act::send(redirect("307 Temporary Redirect")), "no exchange reply", "redirects are not followed"),
        ("308", Act::send(redirect("308 Permanent Redirect")), "no exchange reply", "redirects are not followed"),
        ("binary", Act::send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na\x80\x81b".to_vec()), "no exchange reply", "not text"),
        ("JSON", Act::send(http("200 OK", xml, "{\"IsSuccessful\":true}")), "no exchange reply", "a SOAP envelope was expected"),
        ("XML that is no envelope", Act::send(http("200 OK", xml, "<a/>")), "no exchange reply", "a SOAP envelope was expected"),
        ("too deep", Act::send(soap(&deep)), "no exchange reply", "deeper than"),
        ("entities", Act::send(http("200 OK", xml, &format!("{laughs}{entity}"))), "no exchange reply", "DOCTYPE"),
        ("an external subset", Act::send(http("200 OK", xml, &format!("{external}{entity}"))), "no exchange reply", "DOCTYPE"),
        ("too large", Act::send(endless), "cannot be reached", "more than 1048576 bytes"),
        ("not HTTP", Act::send("SSH-2.0-OpenSSH_9.2\r\n"), "cannot be reached", "cannot be reached"),
        ("a stall", Act::Stall, "does not answer in time", "no whole answer within"),
        ("a drip", Act::Drip, "does not answer in time", "no whole answer within"),
        ("a reset", Act::Reset, "cannot be reached", "cannot be reached"),
        (
            "success without a token",
            Act::send(soap("<IsSuccessful>true</IsSuccessful><Token i:nil=\"true\"/>")),
            "brings no token",
            "brings no token",
        ),
        (
            "neither success nor failure",
            Act::send(soap("<IsSuccessful>perhaps</IsSuccessful>")),
            "no exchange reply",
            "neither true nor false",
        ),
        ("a token, but no success", Act::send(soap("<Token>eyJ0.eyJ0.x</Token>")), "refused the exchange", "refused the exchange"),
        (
            "the elements of another namespace",
            Act::send(http("200 OK", xml, &envelope(&granted("x")).replace("partnersystemuser/0.1", "partnersystemuser/0.2"))),
            "no exchange reply",
            "instead of AuthenticationResponse",
        ),
        (
            "success with an error status",
            Act::send([b"HTTP/1.1 500 Oops".as_slice(), &good["HTTP/1.1 200 OK".len()..]].concat()),
            "no exchange reply",
            "yet the body says IsSuccessful=true",
        ),
    ];
    let login = Login::start(Act::Reset).await;
    let (setup, hand) = login.with_api(&api).set("superoffice.login_timeout", "500ms").manual_clock();
    let bench = setup.start().await;
    for (what, act, reason, words) in table {
        let logs = Logs::capture();
        let before = (login.exchanges(), api.connections());
        login.on_exchange(act);
        grows_cold(&hand);
        for _ in 0..2 {
            unavailable(&bench.get(WHO).await, reason);
        }
        let warnings = logs.warnings();
        assert!(warnings.iter().any(|line| line.contains(words)), "{what}: {words:?} is not in {warnings:?}");
        assert_eq!(login.exchanges(), before.0 + 1, "{what}: one attempt, and then a pause");
        assert_eq!((evil.connections(), login.seen().others.len()), (0, 0), "{what}: a redirect was followed");
        assert_eq!(api.connections(), before.1, "{what}: a call without a ticket");
        login.on_exchange(Token::at(bench.clock.now().wall).reply());
        heals(&bench, &hand).await;
        no_secrets(&logs.text());
    }
}

#[tokio::test]
async fn each_known_code_is_explained() {
    for twin in TWINS {
        let (setup, hand) = Setup::new().set("superoffice.exchange", twin).set("renewal.prefetch", "false").manual_clock();
        let bench = setup.start().await;
        for (code, advice) in [
            (Refusal::Revoked, SuperIdCode::Revoked),
            (Refusal::InvalidRedirectUrl, SuperIdCode::InvalidRedirectUrl),
            (Refusal::Expired, SuperIdCode::Expired),
            (Refusal::Denied, SuperIdCode::Denied),
            (Refusal::NeedsReapproval, SuperIdCode::NeedsReapproval),
            (Refusal::InvalidTimestamp, SuperIdCode::InvalidTimestamp),
            (Refusal::InvalidSignature, SuperIdCode::InvalidSignature),
        ] {
            let logs = Logs::capture();
            bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Refuse { code });
            grows_cold(&hand);
            bench.until("this refusal", async || bench.get(WHO).await.text().contains(&format!("{code:?}"))).await;
            let answer = bench.get(WHO).await;
            unavailable(&answer, &format!("{code:?}, {}", advice.advice()));
            let warnings = logs.warnings().join("\n");
            assert!(warnings.contains("Authorization error: ") && warnings.contains(advice.advice()), "{warnings}");
        }
    }
}

#[tokio::test]
async fn a_code_is_known_by_its_number_or_its_text_too_and_other_words_are_repeated() {
    let api = any_api().await;
    for (words, reason) in [
        ("Failed with InvalidSignature", "InvalidSignature, the signature does not fit"),
        ("(1)", "Revoked, the application's access"),
        ("The supplied timestamp is invalid", "check this machine's clock"),
        ("Out of &lt;coffee&gt; &amp; tea", "refused the exchange: Out of <coffee> & tea"),
    ] {
        let login = Login::start(Act::send(soap(&denied(words)))).await;
        let bench = login.with_api(&api).start().await;
        unavailable(&bench.get(WHO).await, reason);
    }
}

/// A service that repeats what it was sent must not make us tell it to our callers.
#[tokio::test]
async fn words_of_the_service_that_hold_a_secret_are_not_passed_on() {
    let api = any_api().await;
    let echo = format!("Unknown token {} of {}, really", demo::SYSTEM_USER_TOKEN, demo::CLIENT_SECRET);
    let fault = format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>{echo}</faultstring></s:Fault></s:Body></s:Envelope>"#
    );
    let page = format!("<html><title>{echo}</title></html>");
    for (act, reason) in [
        (Act::send(soap(&denied(&echo))), "Unknown token"),
        (Act::send(http("500 Oops", "content-type: text/xml\r\n", &fault)), "no exchange reply"),
        (Act::send(http("500 Oops", "content-type: text/html\r\n", &page)), "no exchange reply"),
    ] {
        let logs = Logs::capture();
        let login = Login::start(act).await;
        let bench = login.with_api(&api).start().await;
        unavailable(&bench.get(WHO).await, reason);
        no_secrets(&logs.text());
        assert!(logs.warnings().iter().any(|line| line.contains("really")), "the other words stay: {:?}", logs.warnings());
        no_secrets(bench.admin("/readyz").await.text());
    }
}

#[tokio::test]
async fn one_tenants_login_failure_is_its_own() {
    let bench = Setup::new().fault("login_of.Cust12345.refuse.code=Revoked").start().await;
    for _ in 0..3 {
        unavailable(&bench.get(WHO).await, "Revoked");
        assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200);
    }
    let ready = bench.admin("/readyz").await;
    assert_eq!(ready.status, 200, "one tenant can be served");
    assert_eq!(ready.json()["tenants"][TENANT]["state"], "failing");
    assert_eq!(ready.json()["tenants"][demo::SECOND_TENANT]["state"], "ready");
}

/// A login service whose port nobody listens on.
#[tokio::test]
async fn a_login_service_that_is_not_there() {
    let gone = Peer::answering("").await.address;
    let bench: Bench = Setup::new().login_at(gone).start().await;
    let answer = bench.call(Method::POST, "/api/v1/Contact", "{}").await;
    unavailable(&answer, "login service cannot be reached");
}

/// The real program, with all it can log: its output tells no secret, whatever goes wrong.
#[tokio::test]
async fn the_program_logs_no_secret() {
    let [sandbox, proxy, admin] = free_ports();
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("output");
    let file = std::fs::File::create(&output).unwrap();
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_soproxy"))
        .args(["sandbox", "--address", &sandbox, "--listen", &proxy, "--admin", &admin])
        .args(["--fault", "login_of.Cust54321.refuse.code=InvalidSignature"])
        .env("SOPROXY_LOG__LEVEL", "trace")
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let mut program = Program(program);
    let call = |to: &str, method: Method, path: &str, body: &str| {
        let (to, request) = (to.to_owned(), Request::builder().method(method).uri(path).header("host", to));
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        async move { collect(open(to.parse().unwrap(), request).await).await }
    };
    let text = || std::fs::read_to_string(&output).unwrap();
    for _ in 0..500 {
        if text().contains("serves") || program.0.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mine = format!("/{TENANT}{WHO}");
    assert_eq!(call(&proxy, Method::GET, &mine, "").await.status, 200, "{}", text());
    unavailable(&call(&proxy, Method::GET, &format!("/{}{WHO}", demo::SECOND_TENANT), "").await, "InvalidSignature");
    assert_eq!(call(&sandbox, Method::POST, "/_sandbox/faults", r#"{"unauthorized": "always"}"#).await.status, 200);
    assert_eq!(call(&proxy, Method::GET, &mine, "").await.status, 401);
    no_secrets(call(&admin, Method::GET, "/readyz", "").await.text());
    drop(program);
    let text = text();
    assert!(text.contains("ticket renewed") && text.contains("TRACE"), "{text}");
    no_secrets(&text);
}

/// A process that does not outlive its test.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Three addresses that nobody listens on.
fn free_ports() -> [String; 3] {
    let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

/// Whether SuperID words a refusal as `IsSuccessful=false` or as a fault is not known.
#[tokio::test]
async fn a_refusal_that_comes_as_a_fault_is_recognised_and_its_timestamp_retried() {
    let fault = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode>s:Client</faultcode>\
                 <faultstring>Authorization error: InvalidTimestamp (6)</faultstring></s:Fault></s:Body></s:Envelope>";
    let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length";
    let peer = Peer::answering(format!("{head}: {}\r\n\r\n{fault}", fault.len())).await;
    let certificate = format!("{}/src/sandbox/keys/login.crt", env!("CARGO_MANIFEST_DIR"));
    let setup = Setup::new().login_at(peer.address).set("superoffice.verification_keys.file", &certificate);
    let bench = setup.set("renewal.prefetch", "false").start().await;
    let answer = bench.get("/api/v1/Contact/1").await;
    assert_eq!(answer.error(), Some("ticket_unavailable"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("InvalidTimestamp") && detail.contains("clock"), "{detail}");
    // The state endpoint is asked beside the first; two exchanges, the second at once.
    assert_eq!(peer.connections(), 3);
}

//! Secrets that would be noticed anywhere: every code path is driven with them, and everything that comes out is searched for
//! them, as they are, escaped, in Base64, and in part.

mod cage;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use soproxy::app::StartError;
use soproxy::sandbox::{Tenant, demo};

use self::cage::Cage;
use crate::bench::{Answer, Bench, Setup, TENANT, collect, open};
use crate::binary::{Home, addresses_in, get};
use crate::login::{denied, envelope, http, jwk};
use crate::logs::{Logs, Records};
use crate::peer::{Peer, read_request};
use crate::traces::Collector;

const SECRET: &str = r#"k4n4r1<&>"'/cl13nt+7f3a9c51e2"#;
const NEXT_SECRET: &str = "zw31t3r-k4n4r1/8b21d0947f6c";
const TOKEN: &str = r#"K4n4r1 & Sønn <2.0>-t0k3n5e8d1c07b9"#;
const ADMIN_TOKEN: &str = "adm1n-k4n4r1-0f9e8d7c6b5a";
const PROXY_PASSWORD: &str = "pr0xy-k4n4r1-6d5c4b3a2910";
const COLLECTORS: &str = "c0ll3ct0r-k4n4r1-0f1e2d3c4b5a";

fn cage() -> Cage {
    let mut cage = Cage::default();
    for secret in [
        SECRET,
        NEXT_SECRET,
        TOKEN,
        ADMIN_TOKEN,
        PROXY_PASSWORD,
        COLLECTORS,
        demo::CLIENT_SECRET,
        demo::SECOND_CLIENT_SECRET,
        "pzqc70604i",
        "8k8Q7DmBgo",
    ] {
        cage.add(secret);
    }
    for xml in [demo::PRIVATE_KEY_XML, demo::SECOND_PRIVATE_KEY_XML] {
        cage.add_key(xml);
    }
    cage
}

/// A proxy and a sandbox whose first tenant has the canaries, and a clock that a hand moves.
async fn bench(kind: &str) -> (Bench, Records, soproxy::clock::Hand) {
    let (mut setup, hand) = Setup::new().manual_clock();
    let canary = Tenant { client_secret: SECRET.into(), system_user_token: TOKEN.into(), ..demo::tenants().remove(0) };
    setup.options.tenants[0] = canary;
    let mut setup = setup
        .set("superoffice.exchange", kind)
        .set("application.client_secret", SECRET)
        .set("tenants.Cust12345.system_user_token", TOKEN)
        .set("upstream.routes", "CS");
    let records = Records::of(&mut setup);
    (setup.start().await, records, hand)
}

/// Everything of an answer that a caller sees.
fn shown(answer: &Answer) -> String {
    format!("{} {:?}\n{}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body))
}

async fn everything(bench: &Bench) -> String {
    let mut all = String::new();
    for path in [
        "/api/v1/Contact/1",
        "/api/v1/User/currentPrincipal",
        "/api/state/Cust12345",
        "/CS/x",
        "/Remote/Services88/Contact.svc?wsdl",
        "/x/../y",
    ] {
        all += &shown(&bench.get(path).await);
    }
    all += &shown(&bench.call(Method::POST, "/api/v1/_sandbox/echo", vec![b'x'; 100_000]).await);
    let soap = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><GetContact/></e:Body></e:Envelope>";
    let request = Request::post(format!("/{TENANT}/Remote/Services88/Contact.svc")).header("host", bench.proxy.to_string());
    all += &shown(&bench.send(request.header("content-type", "text/xml").body(Bytes::from_static(soap.as_bytes())).unwrap()).await);
    for (name, value) in
        [("origin", "https://evil.example"), ("x-api-key", "soproxy_no"), ("authorization", "Bearer x"), ("upgrade", "h2c")]
    {
        let request = Request::get(format!("/{TENANT}/api/v1/Contact/1")).header("host", bench.proxy.to_string()).header(name, value);
        all += &shown(&bench.send(request.body(Bytes::new()).unwrap()).await);
    }
    all += &bench.raw("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n").await;
    for path in ["/livez", "/readyz", "/readyz/Cust12345", "/metrics", "/status", "/tenants/Cust12345", "/log-level", "/", "/nothing"] {
        all += &shown(&bench.admin(path).await);
    }
    for path in ["/tenants/Cust12345/forget", "/tenants/Cust12345/renew", "/reload"] {
        let admin = bench.admin.unwrap();
        let request = Request::post(path).header("host", admin.to_string()).body(http_body_util::Full::new(Bytes::new())).unwrap();
        all += &shown(&collect(open(admin, request).await).await);
    }
    all
}

#[tokio::test]
async fn no_fault_of_superoffice_brings_a_secret_out() {
    let cage = cage();
    for kind in ["soap", "rest"] {
        let logs = Logs::capture();
        let (bench, records, hand) = bench(kind).await;
        assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
        cage.search("good answers", &everything(&bench).await);
        for fault in [
            "login=down",
            "login=garbled",
            "login=html_500",
            "login=soap_fault",
            "login=empty",
            "login=truncated",
            "login=redirect",
            "login.refuse.code=InvalidSignature",
            "login.refuse.code=Denied",
            "login.refuse.code=InvalidTimestamp",
            "jwt=wrong_issuer",
            "jwt=wrong_audience",
            "jwt=other_serial",
            "jwt=wrong_context",
            "jwt=expired",
            "jwt=bad_signature",
            "jwt=no_ticket",
            "jwks_down=true",
            "unauthorized=always",
            "state_down=true",
            "state_garbled=true",
            "moved.Cust12345=null",
            "state.Cust12345=Suspended",
            "clock_skew=20m",
            "soap_ticket=http_401",
            "throttle.Cust12345.rate=1",
        ] {
            // The two kinds differ in the exchange alone.
            if kind == "rest" && !(fault.starts_with("login") || fault.starts_with("jw")) {
                continue;
            }
            bench.fault(fault);
            bench.sandbox.control().revoke_tickets(None);
            hand.advance(Duration::from_secs(1000));
            // Tried at once, whatever failed before.
            bench.live.apply(bench.config_with(&[("upstream.total_timeout", "300ms"), ("upstream.queue_timeout", "200ms")])).unwrap();
            cage.search(fault, &everything(&bench).await);
            bench.sandbox.control().change_faults(|faults| *faults = Default::default());
        }
        bench.live.apply(bench.config_with(&[])).unwrap();
        cage.search("the access log", &records.with("currentPrincipal").await);
        // Down to what the libraries trace.
        let log = logs.text();
        assert!(log.contains("TRACE") && log.contains("ticket renewed"), "everything is captured");
        cage.search("the log", &log);
    }
}

/// A login service that says back what it was sent, in every way in which a refusal is read.
#[tokio::test]
async fn a_login_service_that_repeats_what_it_is_sent_teaches_nobody() {
    let cage = cage();
    type Mirror = fn(&str) -> (&'static str, &'static str, String);
    let mirrors: [(&str, Mirror); 8] = [
        ("soap", |sent| ("200 OK", "text/xml", envelope(&denied(&escaped(sent))))),
        ("soap", |sent| ("200 OK", "text/xml", envelope(&denied(&URL_SAFE_NO_PAD.encode(sent))))),
        ("soap", |sent| {
            (
                "500 Oops",
                "text/xml",
                format!(
                    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>{}</faultstring></s:Fault></s:Body></s:Envelope>",
                    escaped(sent)
                ),
            )
        }),
        ("soap", |sent| ("500 Oops", "text/html", format!("<html><title>{}</title></html>", escaped(sent)))),
        ("soap", |sent| ("403 No", "text/plain", sent.to_owned())),
        ("rest", |sent| ("200 OK", "application/json", json!({"IsSuccessful": false, "Token": null, "ErrorMessage": sent}).to_string())),
        ("rest", |sent| ("400 Bad", "application/json", json!({"Message": sent}).to_string())),
        ("rest", |sent| ("302 Found", "text/plain\r\nLocation: https://x.example/", sent.to_owned())),
    ];
    for (index, (kind, mirror)) in mirrors.into_iter().enumerate() {
        let logs = Logs::capture();
        let login = Peer::start(move |_, mut stream| async move {
            let request = read_request(&mut stream).await;
            let answer = match request.starts_with("GET") {
                true if request.contains("jwks") => {
                    let keys = json!({ "keys": [jwk(json!({}))] }).to_string();
                    http("200 OK", "content-type: application/json\r\n", &keys)
                }
                true => http("404 Not Found", "", ""),
                false => {
                    let sent = request.split_once("\r\n\r\n").unwrap().1;
                    let (status, content_type, body) = mirror(sent);
                    http(status, &format!("content-type: {content_type}\r\n"), &body)
                }
            };
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await;
        })
        .await;
        let setup = Setup::new()
            .login_at(login.address)
            .set("superoffice.exchange", kind)
            .set("application.client_secret", SECRET)
            .set("tenants.Cust12345.system_user_token", TOKEN);
        let bench = setup.start().await;
        let answer = bench.get("/api/v1/Contact/1").await;
        assert_eq!(answer.status, 503, "{index}");
        assert!(login.connections() >= 2, "{index}: an exchange was tried");
        let all = shown(&answer) + &shown(&bench.admin("/readyz").await) + &logs.text();
        cage.search(&format!("mirror {index}"), &all);
        // What was signed is in no dictionary; it begins behind the time.
        assert!(!all.contains(&format!("{}.20", "t0k3n5e8d1c07b9")), "mirror {index}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn a_configuration_shows_nothing_however_it_is_wrong() {
    let cage = cage();
    let good = demo::proxy_toml("http://127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:0").replace(demo::CLIENT_SECRET, "PLACE");
    let quoted = serde_json::to_string(NEXT_SECRET).unwrap();
    let parse = |text: &str, env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        soproxy::config::Config::parse(text, "proxy.toml".as_ref(), env)
    };
    let config = parse(&good.replace("\"PLACE\"", &quoted), &[]).unwrap();
    cage.search("Debug of the configuration", &format!("{config:?} {config:#?}"));
    let wrong = [
        format!("[application]\nclient_secret = {quoted} x\n"),
        format!("[application]\nclient_secret = {}\n", &quoted[..quoted.len() - 1]),
        format!("[application]\nclient_secret = [{quoted}, 5]\n"),
        format!("[application]\nclient_secret = {{ fiel = {quoted} }}\n"),
        format!("[application]\nclient_secret = {{ command = {quoted} }}\n"),
        format!("[application]\nclient_secret = {{ command = [\"sh\", \"-c\", \"exit 1 #\", {quoted}] }}\n"),
        format!("[application]\nprivate_key = {quoted}\n"),
        format!("[application]\nclient_secert = {quoted}\n"),
        format!("[application]\nclient_secret = \"\"\"{NEXT_SECRET}\nx\"\"\"\n"),
        format!("[application]\nprivate_key = '''{}'''\n", &demo::PRIVATE_KEY_XML[..demo::PRIVATE_KEY_XML.len() / 2]),
        format!("[application]\nprivate_key = '''{}'''\n", demo::PRIVATE_KEY_XML.replace("<D>", "<D>AAAA")),
        format!("[upstream]\nproxy = \"http://127.0.0.1:1\"\nproxy_user = \"u\"\nproxy_password = [{quoted}]\n"),
        format!("[tenants.Cust12345]\nsystem_user_token = [{quoted}]\n"),
        format!("[admin]\ntoken = [{quoted}]\n"),
        format!("[admin]\ntoken = \" {NEXT_SECRET} \"\n"),
        format!("[admin]\ntoken = \"{}\"\n", &NEXT_SECRET[..14]),
        format!("[tenants.{quoted}]\nsystem_user_token = 1\n{quoted}"),
    ];
    for text in &wrong {
        let problems = parse(text, &[("SOPROXY_TENANTS__CUST12345__SYSTEM_USER_TOKEN__FIEL", TOKEN)]).unwrap_err();
        if !text.starts_with("[tenants.\"") {
            cage.search(text.split('\n').nth(1).unwrap(), &format!("{problems} {problems:?}"));
        }
    }
    let error = StartError::Tenant { tenant: "x".into(), what: "y".into() };
    cage.search("an error", &format!("{error} {error:?}"));
}

/// What the real program prints, with the canaries in files, in variables and in the configuration itself.
#[tokio::test]
async fn no_command_prints_a_secret_that_it_was_not_asked_for() {
    let cage = cage();
    let home = Home::new().await.variable("SOPROXY_LOG__LEVEL", "trace").variable("SOPROXY_STORE__PATH", "store");
    // What is exported, and what a file has.
    let collector = Collector::start().await;
    let home = home
        .variable("SOPROXY_TELEMETRY__OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .variable("SOPROXY_TELEMETRY__OTLP_HEADERS__X_KEY", COLLECTORS);
    home.write("next_secret", NEXT_SECRET);
    home.write("admin_token", ADMIN_TOKEN);
    home.write("proxy.toml", home.read("proxy.toml") + "\n[admin]\ntoken = { file = \"admin_token\" }\n");
    home.edit(
        "proxy.toml",
        "client_secret = { file = \"secrets/client_secret\" }",
        "client_secret = [{ file = \"next_secret\" }, { file = \"secrets/client_secret\" }]",
    );
    for arguments in [
        &["check"][..],
        &["check", "--online"],
        &["healthcheck"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["config", "schema"],
        &["client", "new", "erp"],
        &["man"],
        &["ticket", "Nobody"],
        &["sign", "Nobody"],
    ] {
        let output = home.run(arguments).await;
        cage.search(&arguments.join(" "), &(output.stdout + &output.stderr));
    }
    // What these were asked for is on standard output alone.
    for arguments in [&["ticket", "Cust12345", "--explain"][..], &["ticket", "Cust54321", "--explain", "--json"], &["sign", "Cust12345"]] {
        let output = home.run(arguments).await;
        assert_eq!(output.code, 0, "{output:?}");
        cage.search(&arguments.join(" "), &without_beginnings(&output.stderr));
    }
    let mut program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    let mut all = String::new();
    for path in ["/Cust12345/api/v1/Contact/1", "/Cust54321/api/v1/Contact?$top=3", "/nobody/api/v1/x"] {
        all += &shown(&get(proxy, path).await);
    }
    let command_line = std::fs::read(format!("/proc/{}/cmdline", program.pid())).unwrap();
    all += &String::from_utf8_lossy(&command_line);
    for broken in ["client_secret = 5\n", "nonsense"] {
        let good = home.read("proxy.toml");
        home.write("proxy.toml", good.replace("[application]\n", &format!("[application]\n{broken}")));
        program.signal("HUP");
        program.logged("the configuration stays as it was", 1).await;
        home.write("proxy.toml", good);
    }
    let refused = shown(&get(admin, "/status").await);
    assert!(refused.starts_with("401"), "{refused}");
    for path in ["/livez", "/readyz", "/metrics"] {
        all += &shown(&get(admin, path).await);
    }
    let address = admin.to_string();
    for arguments in [
        &["status", "--json"][..],
        &["status"],
        &["reload"],
        &["renew", "Cust12345"],
        &["forget", "Cust12345"],
        &["log-level"],
        &["wait", "--tenant", "Cust12345"],
        &["healthcheck", "--ready"],
    ] {
        let output = home.run(&[arguments, &["--address", &address]].concat()).await;
        assert_eq!(output.code, 0, "{arguments:?} {output:?}");
        all += &(output.stdout + &output.stderr);
    }
    program.signal("TERM");
    while program.is_running() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    all += &program.stderr();
    all += &program.stdout();
    assert!(all.contains("TRACE"), "everything is captured");
    cage.search("run", &all);
    for record in std::fs::read_dir(home.path("store")).unwrap() {
        let bytes = std::fs::read(record.unwrap().path()).unwrap();
        cage.search("the store", &String::from_utf8_lossy(&bytes));
    }
    // The collector's own is in the heads.
    let exported: String = collector.requests().iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned()).collect();
    assert!(exported.contains("exchange") && exported.contains("/Cust54321/api/v1/Contact"), "{exported}");
    cage.search("spans", &exported);
    let logged = home.spawn_with(&["run", "--log-format", "json"], &[("SOPROXY_LOG__FILE", "logs/soproxy.log")]);
    let file = || std::fs::read_to_string(home.path("logs/soproxy.log")).unwrap_or_default();
    while !file().contains(" serves") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (proxy, _) = addresses_in(file().lines().find(|line| line.contains(" serves")).unwrap());
    let _ = get(proxy, "/Cust12345/api/v1/Contact/1").await;
    logged.signal("TERM");
    logged.ended().await;
    assert!(file().contains("\"TRACE\"") && file().contains("/Contact/1"), "everything is captured");
    cage.search("the log file", &file());
    let records = home.path("records");
    std::fs::write(&records, program.stderr()).unwrap();
    let learned = home.run(&["policy", "learn", "--from", "records"]).await;
    cage.search("policy learn", &(learned.stdout + &learned.stderr));
}

/// Secrets of every kind, in every form in which they can be given, in places where they belong and in others; each is looked for in
/// what `config show` says, and in what a reload says that it changed.
#[tokio::test]
async fn neither_what_is_in_force_nor_what_changed_tells_a_secret() {
    let mut cage = cage();
    let planted: Vec<String> =
        (0..12).map(|number: u64| format!("k4n4r1-{number:02}-{:x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number + 1))).collect();
    planted.iter().for_each(|secret| cage.add(secret));
    let home = Home::new().await;
    let quoted = |number: usize| format!("\"{}\"", planted[number]);
    home.write("printed", &planted[0]);
    let tls_key = std::fs::read_to_string(crate::tls::vectors("localhost.key")).unwrap();
    std::fs::copy(crate::tls::vectors("localhost.pem"), home.path("localhost.pem")).unwrap();
    cage.add(tls_key.lines().nth(1).unwrap());
    let literal = format!("'''{}'''", demo::PRIVATE_KEY_XML.trim());
    let good = home.read("proxy.toml").replace("{ file = \"privatekey.xml\" }", &literal).replace(
        "[application]",
        &format!(
            "[listen]\ntls_certificate = \"localhost.pem\"\ntls_key = \"\"\"\n{tls_key}\"\"\"\n[upstream]\n\
             proxy = \"http://user:{}@127.0.0.1:9\"\n[application]\nprivate_key_passphrase = {}",
            planted[1],
            quoted(2)
        ),
    );
    let forms = [
        format!("[{{ file = \"printed\" }}, {}]", quoted(3)),
        format!("[{{ command = [\"echo\", {}] }}]", quoted(4)),
        "[{ env = \"NEXT\" }]".to_owned(),
    ];
    std::fs::create_dir(home.path("tenants.d")).unwrap();
    let text = |form: &str| good.replace("client_secret = { file = \"secrets/client_secret\" }", &format!("client_secret = {form}"));
    let variables =
        [("SOPROXY_TENANTS__CUST54321__SYSTEM_USER_TOKEN", planted[5].as_str()), ("NEXT", planted[6].as_str()), ("PATH", "/usr/bin:/bin")];
    let mut program = None;
    for (index, form) in forms.iter().enumerate() {
        home.write("tenants.d/t.toml", format!("[tenants.Cust7]\nsystem_user_token = \"{}-{index}\"\n", planted[7]));
        home.write("proxy.toml", text(form));
        for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
            let output = home.run_with(arguments, &variables).await;
            assert!(output.code == 0 && output.stdout.contains("Cust7"), "{output:?}");
            cage.search(form, &(output.stdout + &output.stderr));
        }
        match &program {
            None => {
                let started = home.spawn_with(&["run", "--no-confine"], &variables);
                started.addresses().await;
                program = Some(started);
            }
            Some(program) => {
                program.signal("HUP");
                program.logged("configuration reloaded", index).await;
            }
        }
    }
    let log = program.unwrap().stderr();
    assert!(log.contains("tenants.Cust7.system_user_token: changed") && log.contains("application.client_secret: ["), "{log}");
    cage.search("the log", &log);
    // What is wrong: the secret under another name, in another place, in another form.
    let wrong = format!(
        "{}\n[store]\npassword = {}\n[admin]\ntoken_of_nobody = [{}]\n[tenants.Cust8]\nsystem_user_token = {{ fiel = {} }}\n",
        text(&forms[0]).replace("http://user:", "user:"),
        quoted(8),
        quoted(9),
        quoted(10)
    );
    home.write("proxy.toml", wrong);
    home.write("tenants.d/t.toml", format!("token = {}\n", quoted(11)));
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let output = home.run_with(arguments, &variables).await;
        assert!(output.code != 0 && output.stdout.contains("password") && output.stderr.contains("store.password"), "{output:?}");
        cage.search("a configuration that is wrong", &(output.stdout + &output.stderr));
    }
}

/// `--explain` shows how a ticket begins, `7T:Z…`, and how long it is.
fn without_beginnings(text: &str) -> String {
    let mut parts = text.split("7T:");
    let mut left = parts.next().unwrap().to_owned();
    for part in parts {
        left += if part.chars().nth(1) == Some('…') { "" } else { "7T:" };
        left += part;
    }
    left
}

/// A search that finds nothing must be one that would find something.
#[test]
fn the_search_finds_what_it_is_to_find() {
    let cage = cage();
    let found = |text: &str| cage.find(text).is_some();
    for planted in cage::spellings(SECRET).into_iter().chain(cage::spellings(TOKEN)).chain(cage::spellings(demo::CLIENT_SECRET)) {
        assert!(found(&format!("x {planted} y")), "{planted}");
    }
    let key = demo::PRIVATE_KEY_XML.split("<P>").nth(1).unwrap();
    for planted in [&SECRET[5..18], "cl13nt+7f3a9", &TOKEN[TOKEN.len() - 12..], &key[30..50], "7T:MAA3AGYA", "eyJ0eXAiOiJKV1QifQ"] {
        assert!(found(planted), "{planted}");
    }
    assert!(!found("an ordinary line of the log: tenant=Cust12345 generation=1 Soproxy Demo App"));
}

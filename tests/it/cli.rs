//! The commands, as a person or a script runs them.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use soproxy::sandbox::demo;

use crate::bench::TENANT;
use crate::binary::{Home, Output, get};
use crate::peer::Peer;
use crate::wire::{ask, assert_no_secret};

const COMMANDS: [&str; 16] = [
    "run",
    "sandbox",
    "check",
    "ticket",
    "sign",
    "healthcheck",
    "wait",
    "shutdown",
    "status",
    "reload",
    "renew",
    "forget",
    "log-level",
    "policy",
    "completions",
    "man",
];

fn good(output: Output) -> Output {
    assert_eq!(output.code, 0, "{}\n{}", output.stdout, output.stderr);
    output
}

/// Fails unless the command ended with this code, printed nothing for scripts to take for a result, and said all of this.
#[track_caller]
fn refused(output: &Output, code: i32, says: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    assert_eq!(output.stdout, "");
    for text in says {
        assert!(output.stderr.contains(text), "{text:?} is not in {}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

// check

#[tokio::test]
async fn check_is_content_with_a_good_configuration() {
    let home = Home::new().await;
    // Kubernetes sets such variables for a service of our name; they are no settings.
    let output = good(home.run_with(&["check"], &[("SOPROXY_PORT", "tcp://10.0.0.1:8080"), ("SOPROXY_SERVICE_HOST", "10.0.0.1")]).await);
    assert!(
        output.stdout.contains("Cust12345") && output.stdout.contains("RSA-2048") && output.stdout.contains("2 tenant(s)"),
        "{output:?}"
    );
    assert!(output.stderr.contains("RSA key of only 1024 bits"), "a warning, and 0 all the same: {output:?}");
    assert_eq!(home.sandbox.control().counters().exchanges.len(), 0, "nothing is sent");
    assert!(output.stdout.contains("(for the admin listener)"), "{output:?}");
    assert_no_secret(&(output.stdout + &output.stderr));
    let nowhere = format!("unix:{}", home.path("nowhere/s").display());
    let output = good(home.run_with(&["check"], &[("SOPROXY_ADMIN__ADDRESS", &nowhere)]).await);
    assert!(output.stderr.contains("there is no directory"), "{output:?}");
}

#[tokio::test]
async fn check_finds_each_kind_of_mistake() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let vector = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let home = Home::new().await;
    let good = home.read("proxy.toml");
    let key = home.read("privatekey.xml");
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let cases: Vec<(String, Vec<u8>, &[&str])> = vec![
        ("[superoffice\n".into(), key.clone().into(), &["is not valid TOML", "proxy.toml:1"]),
        (with("private_key", "privat_key"), key.clone().into(), &["application.privat_key (proxy.toml:", "did you mean"]),
        (with("login_url", "environment = 5\n#"), key.clone().into(), &["superoffice.environment", "must be a string, not a number"]),
        (with("system_user_token", "#"), key.clone().into(), &["tenants.Cust12345.system_user_token", "is missing"]),
        (with("secrets/client_secret", "secrets/gone"), key.clone().into(), &["secrets/gone does not exist"]),
        (with("{ file = \"secrets/client_secret\" }", "{ env = \"NOT_SET\" }"), key.clone().into(), &["NOT_SET is not set"]),
        (with("[superoffice]", "[superoffice]\nenvironment = \"sod\""), key.clone().into(), &["cannot be set together with"]),
        (
            with("[tenants.Cust12345]", "[tenants.Cust12345]\napi_url = \"https://evil.example/api\""),
            key.clone().into(),
            &["tenants.Cust12345.api_url", "evil.example is not in upstream_hosts"],
        ),
        (with("[tenants.Cust54321]", "[tenants.CUST12345]"), key.clone().into(), &["in upper and lower case only"]),
        (format!("{good}\n[admin]\nhosts = [\"a b\"]\n"), key.clone().into(), &["admin.hosts", "is no host name"]),
        (good.clone(), vector("throwaway-2048.pub.pem"), &["application.private_key", "privatekey.xml", "public key"]),
        (good.clone(), vector("not-a-key/certificate.pem"), &["privatekey.xml", "certificate"]),
        (good.clone(), key.as_bytes()[..key.len() / 2].to_vec(), &["privatekey.xml", "ends too early"]),
        (good.clone(), vector("encrypted.aes256-sha256.pem"), &["privatekey.xml", "passphrase"]),
        (
            with("[application]", "[application]\nprivate_key_passphrase = \"not-the-passphrase\""),
            vector("encrypted.aes256-sha256.pem"),
            &["privatekey.xml", "passphrase"],
        ),
        (good.clone(), vector("not-a-key/bundle.pfx"), &["privatekey.xml", "<RSAKeyValue>"]),
        (good.clone(), Vec::new(), &["privatekey.xml"]),
    ];
    for (text, key, says) in cases {
        home.write("proxy.toml", &text);
        home.write("privatekey.xml", &key);
        let output = home.run(&["check"]).await;
        refused(&output, 78, says);
        refused(&output, 78, &["the configuration cannot be used"]);
        assert_no_secret(&output.stderr);
        assert!(!output.stderr.contains("not-the-passphrase"));
        // Whatever check finds, run refuses in the same words.
        assert_eq!(home.run(&["run"]).await.stderr, output.stderr);
    }
}

#[tokio::test]
async fn check_tells_everything_at_once() {
    let home = Home::new().await;
    home.write("proxy.toml", "[listen]\nadress = \"127.0.0.1:1\"\ngrace = 5\n[admin]\naddress = \"0.0.0.0:1\"\n[superoffice]\nenvironment = \"prod\"\n[tenants.A]\n");
    let mut home = home;
    for name in ["LISTEN", "ADMIN"] {
        home = home.variable(&format!("SOPROXY_{name}__INSECURE_ALLOW_ANONYMOUS"), "perhaps");
    }
    let output = home.run_with(&["check"], &[("SOPROXY_ADMIN__ADDRESS", "0.0.0.0:1")]).await;
    let says = [
        "listen.adress (proxy.toml:2): unknown key\n    did you mean `listen.address`?",
        "listen.grace (proxy.toml:3): 5 has no unit",
        "SOPROXY_LISTEN__INSECURE_ALLOW_ANONYMOUS",
        "superoffice.environment (proxy.toml:7): \"prod\" is not known",
        "application.client_secret",
        "application.private_key",
        "tenants.A.system_user_token",
    ];
    refused(&output, 78, &says);
}

#[tokio::test]
async fn check_online_tries_every_tenant() {
    let home = Home::new().await;
    let output = good(home.run(&["check", "--online"]).await);
    for tenant in [TENANT, "Cust54321"] {
        let row = output.stdout.lines().find(|line| line.starts_with(tenant)).unwrap();
        assert_eq!(row.matches("ok").count(), 2, "exchange and call: {row}");
        assert!(row.contains(" as ") && row.contains(&format!("{}/{tenant}/api", home.sandbox.base())), "{row}");
        assert_eq!(home.sandbox.control().counters().exchanges_of(tenant), 1);
    }
    let counters = home.sandbox.control().counters();
    assert_eq!((counters.api_calls, counters.unauthorized), (2, 0));
    assert_no_secret(&(output.stdout + &output.stderr));
}

#[tokio::test]
async fn check_online_fails_when_one_tenant_does_and_still_tries_the_others() {
    let home = Home::new().await;
    home.sandbox.control().change_faults(|faults| faults.set("login_of.Cust12345.refuse.code=Revoked").unwrap());
    let output = home.run(&["check", "--online"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let row = |tenant: &str| output.stdout.lines().find(|line| line.starts_with(tenant)).unwrap().to_owned();
    assert!(row(TENANT).contains("FAILED") && row(TENANT).contains("not tried"), "{}", row(TENANT));
    let reason = output.stdout.lines().find(|line| line.starts_with("Cust12345: ")).unwrap();
    assert!(reason.contains("Revoked"), "{reason}");
    assert_eq!(row("Cust54321").matches("ok").count(), 2, "{}", row("Cust54321"));
    home.sandbox.control().reset();
    home.sandbox.control().change_faults(|faults| faults.set("unauthorized=always").unwrap());
    let output = home.run(&["check", "--online"]).await;
    assert_eq!((output.code, output.stdout.matches("FAILED").count()), (1, 2), "{output:?}");
    assert!(output.stdout.contains("401"), "{output:?}");
    assert_no_secret(&(output.stdout + &output.stderr));
}

#[tokio::test]
async fn check_online_takes_any_2xx_with_or_without_a_name() {
    let peer = Peer::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let home = Home::new().await.api_at(peer.address);
    let hosts = format!("{},{}", peer.address, home.sandbox.base().trim_start_matches("http://"));
    let output = good(home.run_with(&["check", "--online"], &[("SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS", &hosts)]).await);
    let row = output.stdout.lines().find(|line| line.starts_with(TENANT)).unwrap();
    assert!(row.matches("ok").count() == 2 && !row.contains(" as "), "{row}");
}

// ticket and sign

#[tokio::test]
async fn ticket_prints_the_ticket_alone_and_it_works() {
    let home = Home::new().await;
    for (tenant, asked, secret) in [(TENANT, "cust12345", demo::CLIENT_SECRET), ("Cust54321", "Cust54321", demo::SECOND_CLIENT_SECRET)] {
        let output = good(home.run(&["ticket", asked]).await);
        let ticket = output.stdout.strip_suffix('\n').unwrap();
        assert!(ticket.starts_with("7T:") && !ticket.contains(char::is_whitespace), "{ticket:?}");
        let address = home.sandbox.base().trim_start_matches("http://").parse().unwrap();
        let request = |ticket: &str| {
            format!(
                "GET /{tenant}/api/v1/User/currentPrincipal HTTP/1.1\r\nHost: {address}\r\nAuthorization: SOTicket {ticket}\r\nSO-AppToken: {secret}\r\n\r\n"
            )
        };
        let answer = ask(address, request(ticket)).await;
        assert_eq!((answer.status(), answer.json()["DatabaseContextIdentifier"].as_str()), (200, Some(tenant)));
        assert_eq!(ask(address, request("7T:other")).await.status(), 401);
        assert_eq!(home.sandbox.control().counters().exchanges_of(tenant), 1, "one exchange");
    }
}

#[tokio::test]
async fn ticket_explains_each_step_and_gives_nothing_away() {
    for exchange in ["soap", "rest"] {
        let home = Home::new().await.variable("SOPROXY_SUPEROFFICE__EXCHANGE", exchange);
        for (tenant, serial) in [(TENANT, demo::SERIAL), ("Cust54321", demo::SECOND_SERIAL)] {
            let output = good(home.run(&["ticket", tenant, "--explain"]).await);
            let ticket = output.stdout.trim();
            assert!(ticket.starts_with("7T:") && output.stdout.lines().count() == 1, "the ticket is still alone: {:?}", output.stdout);
            let told = &output.stderr;
            let steps = ["token and time", "signature", "request", "reply", "claims", "ticket"];
            let places: Vec<usize> =
                steps.iter().map(|step| told.find(&format!(". {step} ")).unwrap_or_else(|| panic!("{step}: {told}"))).collect();
            assert!(places.is_sorted(), "{told}");
            let url = match exchange {
                "soap" => "/login/services/PartnerSystemUserService.svc",
                _ => "/Login/api/PartnerSystemUser/Authenticate",
            };
            for text in [&format!("POST {}{url}", home.sandbox.base()), "HTTP 200", serial, tenant, "webapi_url"] {
                assert!(told.contains(text), "{text:?} is not in {told}");
            }
            assert!(exchange == "rest" || told.contains("Envelope"), "{told}");
            assert!(!told.contains(ticket));
            assert_no_secret(told);
            let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let longest = told.split(|c| !base64(c)).map(str::len).max();
            assert!(longest < Some(80), "a signature or a key stands there in full: {told}");
        }
    }
}

#[tokio::test]
async fn ticket_as_json_also_shows_what_the_token_told() {
    let home = Home::new().await;
    let output = good(home.run(&["ticket", TENANT, "--json"]).await);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    for member in ["identity_provider", "email", "serial", "netserver_url", "webapi_url", "ticket", "context", "tenant", "web_api"] {
        assert!(report[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {report:#}");
    }
    // No system user's token with an associate in it has been seen; there is a place for one.
    assert!(report.get("associate_id").is_some(), "{report:#}");
    assert_eq!((report["serial"].as_str(), report["context"].as_str()), (Some(demo::SERIAL), Some(TENANT)));
    assert_eq!(report["webapi_url"], format!("{}/{TENANT}/api/", home.sandbox.base()));
    assert!(report["ticket"].as_str().unwrap().starts_with("7T:"));
}

#[tokio::test]
async fn a_ticket_that_is_not_to_be_had_is_exit_1_with_the_reason() {
    let home = Home::new().await;
    home.sandbox.control().change_faults(|faults| faults.set("login.refuse.code=Revoked").unwrap());
    refused(&home.run(&["ticket", TENANT]).await, 1, &["Revoked"]);
    refused(&home.run(&["ticket", TENANT, "--json"]).await, 1, &["Revoked"]);
    refused(&home.run(&["ticket", TENANT, "--explain"]).await, 1, &["Revoked", "2. signature"]);
    home.sandbox.control().change_faults(|faults| faults.set("login=down").unwrap());
    refused(&home.run(&["ticket", TENANT]).await, 1, &["login service"]);
}

#[tokio::test]
async fn sign_prints_what_openssl_verifies() {
    let home = Home::new().await;
    for (tenant, token, key) in [
        (TENANT, demo::SYSTEM_USER_TOKEN, demo::PUBLIC_KEY_PEM),
        ("Cust54321", demo::SECOND_SYSTEM_USER_TOKEN, demo::SECOND_PUBLIC_KEY_PEM),
    ] {
        let before = jiff::Timestamp::now().strftime("%Y%m%d%H%M").to_string();
        let output = good(home.run(&["sign", tenant]).await);
        let after = jiff::Timestamp::now().strftime("%Y%m%d%H%M").to_string();
        let signed = output.stdout.strip_suffix('\n').unwrap();
        let (data, signature) = signed.rsplit_once('.').unwrap();
        let (name, time) = data.rsplit_once('.').unwrap();
        assert_eq!(name, token);
        assert!(before.as_str() <= time && time <= after.as_str(), "{time} is not now, in UTC");
        std::fs::write(home.path("data"), data).unwrap();
        std::fs::write(home.path("signature"), STANDARD.decode(signature).unwrap()).unwrap();
        std::fs::write(home.path("key.pem"), key).unwrap();
        let verify = ["dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "data"];
        let openssl = Command::new("openssl").args(verify).current_dir(home.path("")).output().unwrap();
        assert!(openssl.status.success(), "{openssl:?}");
    }
    assert_eq!(home.sandbox.control().counters().exchanges.len(), 0, "nothing is sent");
}

// The configuration file, and tenants by name

#[tokio::test]
async fn a_tenant_that_is_not_there_is_exit_2_and_those_that_are() {
    let home = Home::new().await;
    for command in [["ticket", "Cust1"], ["sign", "Cust1"]] {
        refused(&home.run(&command).await, 2, &["\"Cust1\"", "proxy.toml", "Cust12345, Cust54321"]);
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_there_is_exit_78_and_what_to_do() {
    let home = Home::new().await;
    std::fs::remove_file(home.path("proxy.toml")).unwrap();
    for command in [&["run"][..], &["check"], &["ticket", "x"], &["sign", "x"]] {
        let none = [("SOPROXY_LISTEN__ADDRESS", ""), ("SOPROXY_ADMIN__ADDRESS", "")];
        let output = home.run_with(command, &none).await;
        assert_eq!(output.code, 78, "with variables, whatever they hold: {output:?}");
        refused(&output, 78, &["proxy.toml (not found)"]);
    }
    let home = home.without_variables();
    for command in [&["run"][..], &["check"], &["ticket", "x"], &["sign", "x"]] {
        refused(&home.run(command).await, 78, &["proxy.toml: there is no such file", "proxy.toml.example", "--config"]);
    }
    refused(&home.run(&["check", "--config", "elsewhere/my.toml"]).await, 78, &["elsewhere/my.toml: there is no such file"]);
}

#[tokio::test]
async fn every_command_takes_config_and_paths_are_relative_to_the_file() {
    let home = Home::new().await;
    std::fs::create_dir(home.path("etc")).unwrap();
    for name in ["proxy.toml", "privatekey.xml", "secrets"] {
        std::fs::rename(home.path(name), home.path("etc").join(name)).unwrap();
    }
    for command in
        [&["check", "--config", "etc/proxy.toml"][..], &["--config", "etc/proxy.toml", "check"], &["sign", "-c", "etc/proxy.toml", TENANT]]
    {
        good(home.run(command).await);
    }
    let file = home.path("etc/proxy.toml").display().to_string();
    good(home.run_with(&["ticket", TENANT], &[("SOPROXY_CONFIG", &file)]).await);
    let program = home.spawn(&["run", "--config", "etc/proxy.toml"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, &format!("/{TENANT}/api/v1/User/currentPrincipal")).await.status, 200);
}

// run

#[tokio::test]
async fn run_says_which_address_is_taken() {
    let home = Home::new().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for section in ["LISTEN", "ADMIN"] {
        let output = home.run_with(&["run"], &[(&format!("SOPROXY_{section}__ADDRESS"), &address)]).await;
        refused(&output, 1, &["cannot start", &address]);
    }
    let arguments = ["sandbox", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--address", &address];
    refused(&home.run(&arguments).await, 1, &["the sandbox cannot listen on", &address, "--address"]);
}

#[tokio::test]
async fn run_refuses_to_listen_wide_unless_told_that_it_is_meant() {
    let home = Home::new().await;
    let wide = ("SOPROXY_LISTEN__ADDRESS", "0.0.0.0:0");
    let output = home.run_with(&["run"], &[wide]).await;
    refused(
        &output,
        78,
        &["listen.address", "0.0.0.0:0 can be reached from other machines", "insecure_allow_anonymous = true in [listen]"],
    );
    let program = home.spawn_with(&["run"], &[wide, ("SOPROXY_LISTEN__INSECURE_ALLOW_ANONYMOUS", "true")]);
    program.logged(" serves", 1).await;
    assert!(program.stderr().contains("0.0.0.0:0 can be reached from other machines"), "{}", program.stderr());
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
}

// healthcheck

#[tokio::test]
async fn healthcheck_tells_by_its_exit_code() {
    let home = Home::new().await;
    home.sandbox.control().change_faults(|faults| faults.set("login=down").unwrap());
    let program = home.spawn(&["run"]);
    let (_, admin) = program.addresses().await;
    let address = admin.to_string();
    let variables = [("SOPROXY_ADMIN__ADDRESS", address.as_str())];
    program.logged("no new ticket", 2).await;
    good(home.run_with(&["healthcheck"], &variables).await);
    let output = home.run_with(&["healthcheck", "--ready"], &variables).await;
    assert!(output.code == 1 && output.stdout.contains("\"ready\": false"), "{output:?}");
    home.sandbox.control().reset();
    program.logged("ticket renewed", 1).await;
    good(home.run_with(&["healthcheck", "--ready"], &variables).await);
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
    refused(&home.run_with(&["healthcheck"], &variables).await, 1, &[&address]);
    refused(&home.run_with(&["healthcheck", "--ready"], &variables).await, 1, &[&address]);
    refused(&home.run_with(&["healthcheck"], &[("SOPROXY_ADMIN__ADDRESS", "off")]).await, 1, &["\"off\""]);
}

#[tokio::test]
async fn healthcheck_asks_for_nothing_but_an_address() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    let (_, admin) = program.addresses().await;
    let address = admin.to_string();
    good(home.run(&["healthcheck", "--address", &address]).await);
    // What is wrong elsewhere in the file is no sign of ill health: the running proxy does not even know of it.
    std::fs::remove_dir_all(home.path("secrets")).unwrap();
    home.edit("proxy.toml", "[application]", "[applications]");
    let variables = [("SOPROXY_ADMIN__ADDRESS", address.as_str())];
    assert_eq!(home.run_with(&["check"], &variables).await.code, 78);
    good(home.run_with(&["healthcheck"], &variables).await);
    std::fs::remove_file(home.path("proxy.toml")).unwrap();
    good(home.run_with(&["healthcheck"], &variables).await);
}

// completions and man

#[tokio::test]
async fn completions_are_scripts_that_know_every_command() {
    let home = Home::new().await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = good(home.run(&["completions", shell]).await);
        for command in COMMANDS {
            assert!(output.stdout.contains(command), "{shell}: {command}");
        }
        if shell == "bash" {
            std::fs::write(home.path("completions"), output.stdout).unwrap();
            let bash = Command::new("bash").arg("-n").arg(home.path("completions")).output().unwrap();
            assert!(bash.status.success() && bash.stderr.is_empty(), "{bash:?}");
        }
    }
    refused(&home.run(&["completions", "basic"]).await, 2, &["bash"]);
}

#[tokio::test]
async fn the_manual_has_every_command() {
    let home = Home::new().await;
    let page = good(home.run(&["man"]).await).stdout;
    good(home.run(&["man", "--dir", "pages"]).await);
    assert!(page.starts_with(".ie") || page.contains(".TH soproxy 1"), "{page:.80}");
    for command in COMMANDS {
        let name = command.replace('-', "\\-");
        assert!(page.contains(&format!("soproxy\\-{name}(1)")), "{command}");
        let own = home.read(&format!("pages/soproxy-{command}.1"));
        assert!(own.contains(".SH SYNOPSIS") || own.contains(".SH NAME"), "{command}");
    }
    let help = good(home.run(&["--help"]).await).stdout;
    assert!(COMMANDS.iter().all(|command| help.contains(command)), "{help}");
}

// sandbox

#[tokio::test]
async fn the_sandbox_prints_curl_lines_that_work() {
    let home = Home::new().await;
    let program = home.spawn(&["sandbox", "--address", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    program.printed("Ctrl-C").await;
    let text = program.stdout();
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| line.starts_with("curl http://") || line.starts_with("curl 'http://")).collect();
    assert!(lines.len() >= 4, "{text}");
    for line in lines {
        let url = line.trim_start_matches("curl ").trim_matches('\'').trim_start_matches("http://");
        let (address, path) = url.split_once('/').unwrap();
        let answer = get(address.parse().unwrap(), &format!("/{path}")).await;
        assert_eq!(answer.status, 200, "{line}");
    }
    let bare = text.lines().find_map(|line| line.trim().strip_prefix("curl -i http://")).unwrap();
    let (address, path) = bare.split_once('/').unwrap();
    assert_eq!(get(address.parse().unwrap(), &format!("/{path}")).await.status, 401, "without soproxy");
    program.signal("INT");
    assert_eq!(program.ended().await.code, 0);
}

#[tokio::test]
async fn the_sandbox_alone_a_written_configuration_and_run_fit_together() {
    let home = Home::new().await;
    let alone = home.spawn(&["sandbox", "--only", "--address", "127.0.0.1:0"]);
    alone.printed("Keys and secrets").await;
    let text = alone.stdout();
    let base = text.split_once("http://").unwrap().1.split_once(',').unwrap().0;
    let wsdl = get(base.parse().unwrap(), "/login/services/PartnerSystemUserService.svc?wsdl").await;
    assert_eq!(wsdl.status, 200);

    let write = ["sandbox", "--write-config", "demo", "--address", base];
    let output = good(home.run(&write).await);
    for name in ["proxy.toml", "privatekey.xml", "secrets/Cust12345.token"] {
        assert!(output.stdout.contains(&format!("demo/{name}")) && home.path("demo").join(name).is_file(), "{output:?}");
    }
    good(home.run(&write).await);
    let before = home.read("demo/proxy.toml");
    home.write("demo/proxy.toml", before.clone() + "# mine\n");
    let again = home.run(&write).await;
    refused(&again, 1, &["demo/proxy.toml exists already", "not overwritten"]);
    assert_eq!(home.read("demo/proxy.toml"), before + "# mine\n");

    good(home.run(&["check", "--online", "--config", "demo/proxy.toml"]).await);
    let program = home.spawn(&["run", "--config", "demo/proxy.toml"]);
    let (proxy, _) = program.addresses().await;
    let answer = get(proxy, &format!("/{TENANT}/api/v1/User/currentPrincipal")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["DatabaseContextIdentifier"].as_str()), (200, Some(TENANT)));
    alone.signal("TERM");
    assert_eq!(alone.ended().await.code, 0);
}

#[tokio::test]
async fn the_sandboxs_faults_and_lifetime_are_set_by_flag() {
    let home = Home::new().await;
    let arguments = [
        "sandbox",
        "--address",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--fault",
        "login.refuse.code=Revoked",
    ];
    let program = home.spawn(&arguments);
    let (proxy, _) = program.addresses().await;
    let answer = get(proxy, &format!("/{TENANT}/api/v1/User/currentPrincipal")).await;
    assert_eq!(answer.error(), Some("ticket_unavailable"));
    assert!(answer.text().contains("evoked"), "{}", answer.text());
    drop(program);
    refused(&home.run(&["sandbox", "--fault", "login=tired", "--address", "127.0.0.1:0"]).await, 2, &["tired"]);
    refused(&home.run(&["sandbox", "--ticket-lifetime=-5s"]).await, 2, &["--ticket-lifetime"]);
    let alone = home.spawn(&["sandbox", "--only", "--address", "127.0.0.1:0", "--ticket-lifetime", "300ms", "--clock-skew", "-2h"]);
    alone.printed("Keys and secrets").await;
    let text = alone.stdout();
    let address = text.split_once("http://").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
    let date = get(address, "/").await.headers["date"].to_str().unwrap().to_owned();
    let behind = std::time::SystemTime::now().duration_since(httpdate::parse_http_date(&date).unwrap()).unwrap();
    assert!((7190..7215).contains(&behind.as_secs()), "{behind:?}");
}

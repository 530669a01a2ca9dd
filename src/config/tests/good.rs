//! Defaults, every way to write a value, overrides by the environment and by tenants.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{KEY_1024, KEY_2048, env, parse, toml, works};
use crate::config::{BoundListener, Config, Prefetch, ReadyWhen, State};
use crate::proxy::cache::Rules;
use crate::proxy::governor::Bounds;
use crate::proxy::links::Mode;
use crate::proxy::soap::TicketFaults;
use crate::superoffice::ExchangeKind;
use crate::superoffice::origin::UpstreamHosts;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn near_misses_are_warned_about() {
    let warned = |name: &str| works(&[], &[(name, "x")]).warnings.iter().any(|warning| warning.source == name);
    assert!(warned("SOPROXY_LISTEN_ADDRESS"));
    for harmless in [
        "SOPROXY_PORT",
        "SOPROXY_LISTENERS_ADDRESS",
        "SOPROXY_CACHE_TTL",
        "SOPROXY_SERVICE_HOST",
        "SOPROXY_ADMIN_SERVICE_HOST",
        "SOPROXY_CONFIG",
        "SOPROXY_LISTEN",
    ] {
        assert!(!warned(harmless), "{harmless}");
    }
    // A path where the secret itself is expected.
    let warnings = works(&[("application", "client_secret", "\"Cargo.toml\"")], &[]).warnings;
    assert!(warnings.iter().any(|warning| warning.key == "application.client_secret" && warning.hint.contains("{ file =")), "{warnings:?}");
}

#[test]
fn defaults() {
    let config = works(&[], &[]);
    assert_eq!(config.warnings, []);
    let listen = &config.listen;
    assert_eq!(listen.addresses, ["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()]);
    assert_eq!((listen.hosts.len(), listen.insecure_allow_anonymous, listen.max_body), (0, false, None));
    assert_eq!((listen.limits.header_read, listen.max_requests, listen.grace), (HOUR / 120, 10_000, HOUR / 120));
    assert_eq!(listen.shutdown_delay, std::time::Duration::ZERO);
    assert_eq!((listen.limits.idle, listen.limits.body, listen.limits.max_connections), (HOUR / 10, HOUR / 60, 10_000));
    assert_eq!((listen.limits.max_header_size, listen.limits.max_headers, listen.max_uri, listen.workers), (65_536, 100, 16_384, None));
    let admin = config.admin.as_ref().unwrap();
    assert_eq!(admin.addresses, ["127.0.0.1:8081".parse().unwrap()]);
    let upstream = &config.upstream;
    assert_eq!((upstream.settings.connect, upstream.settings.response), (HOUR / 360, HOUR / 30));
    assert_eq!((upstream.settings.http2, upstream.settings.tls, upstream.settings.body), (true, HOUR / 360, HOUR / 30));
    assert_eq!((upstream.total_timeout, upstream.tunnel_timeout, upstream.settings.max_age), (None, HOUR / 6, HOUR / 12));
    assert_eq!((upstream.settings.idle, upstream.replay_limit, upstream.forwarded), (HOUR / 60, 65_536, false));
    let renewal = &config.renewal;
    let policy = &renewal.policy;
    assert_eq!((policy.max_age, policy.lifetime, policy.keep_warm), (Some(HOUR), HOUR * 6, HOUR * 24));
    assert_eq!((renewal.prefetch, renewal.concurrency), (Prefetch::Auto, 4));
    assert_eq!((listen.default_tenant.as_ref(), listen.public_url.as_ref(), listen.trusted_proxies.len()), (None, None, 0));
    assert_eq!((upstream.rewrite_links, upstream.routes.len(), config.listeners.len()), (Mode::Known, 0, 0));
    assert_eq!(config.state, State { min_interval: HOUR / 360, max_interval: HOUR, push_addresses: None });
    assert_eq!((config.log.level.as_str(), config.log.json), ("info", false));
    let superoffice = &config.superoffice;
    assert_eq!(superoffice.upstream_hosts, UpstreamHosts::parse(["*.superoffice.com"]).unwrap());
    assert_eq!((superoffice.ca_pem.is_none(), superoffice.leeway, superoffice.login_timeout), (true, HOUR / 12, HOUR / 120));
    assert_eq!(superoffice.soap_ticket_faults, TicketFaults::default());
    assert_eq!((upstream.cache_size, upstream.queue_timeout, config.cache.is_empty()), (64 << 20, HOUR / 360, true));
    let tenant = &config.tenants[0];
    assert_eq!(tenant.bounds, Bounds { rate: None, max_concurrent: None, queue_timeout: HOUR / 360 });
    assert_eq!((tenant.name.as_str(), tenant.context.as_str()), ("Cust1", "Cust1"));
    assert_eq!((tenant.login_url.to_string().as_str(), tenant.exchange), ("https://sod.superoffice.com", ExchangeKind::Soap));
    assert_eq!((tenant.system_user_token.expose(), tenant.client_secrets[0].expose_secret()), ("App-token", "client-secret"));
    assert!(tenant.verification_keys.is_none() && tenant.api_url.is_none());
    assert_eq!(tenant.signing_keys[0].bits(), 2048);
}

#[test]
fn every_setting_can_be_changed_in_the_file_and_in_the_environment() {
    // (section, key, in the file, in the environment)
    let settings = [
        ("superoffice", "exchange", "\"rest\"", "REST"),
        ("superoffice", "upstream_hosts", "[\"a.example\", \"b.example:444\"]", "a.example, b.example:444"),
        ("superoffice", "leeway", "\"1h\"", "1h"),
        ("superoffice", "login_timeout", "\"500ms\"", "500ms"),
        ("superoffice", "soap_ticket_faults", "[\"A.B\", \"C_1\"]", "A.B, C_1"),
        ("superoffice", "soap_ticket_faults", "[]", ""),
        ("listen", "address", "[\"127.0.0.1:1\", \"[::1]:2\"]", "127.0.0.1:1,[::1]:2"),
        ("listen", "hosts", "[\"Proxy.Example\", \"::1\"]", "Proxy.Example,::1"),
        ("listen", "insecure_allow_anonymous", "true", "true"),
        ("listen", "header_read_timeout", "\"5m30s\"", "5m30s"),
        ("listen", "max_body", "\"10MB\"", "10000000"),
        ("listen", "max_requests", "7", "7"),
        ("listen", "grace", "0", "0"),
        ("listen", "shutdown_delay", "\"15s\"", "15s"),
        ("listen", "default_tenant", "\"CUST1\"", "cust1"),
        ("listen", "public_url", "\"https://crm.example/x/\"", "https://crm.example/x"),
        ("listen", "trusted_proxies", "[\"10.0.0.0/8\", \"::1\"]", "10.0.0.0/8,::1"),
        ("admin", "address", "\"127.0.0.1:9\"", "127.0.0.1:9"),
        ("admin", "address", "\"unix:/run/a/s\"", "unix:/run/a/s"),
        ("admin", "hosts", "\"a\"", "a"),
        ("admin", "token", "\"0123456789abcdef\"", "0123456789abcdef"),
        ("admin", "ready_when", "\"all\"", "ALL"),
        ("admin", "ready_when", "[\"CUST1\"]", "cust1"),
        ("admin", "insecure_allow_anonymous", "true", "TRUE"),
        ("upstream", "connect_timeout", "\"1s\"", "1s"),
        ("upstream", "response_timeout", "\"2d\"", "2d"),
        ("upstream", "idle_timeout", "\"0s\"", "0"),
        ("upstream", "replay_limit", "1024", "1KiB"),
        ("upstream", "forwarded", "true", "true"),
        ("upstream", "rewrite_links", "\"all\"", "ALL"),
        ("upstream", "routes", "[\"CS\", \"x.y\"]", "CS, x.y"),
        ("upstream", "cache_size", "\"1MiB\"", "1048576"),
        ("upstream", "queue_timeout", "\"500ms\"", "500ms"),
        ("upstream", "rate", "0.5", "0.5"),
        ("upstream", "rate", "10", "10"),
        ("upstream", "max_concurrent", "4", "4"),
        ("state", "min_interval", "\"1m\"", "60s"),
        ("state", "max_interval", "\"10s\"", "10s"),
        ("state", "push_address", "[\"0.0.0.0:8083\"]", "0.0.0.0:8083"),
        ("renewal", "max_age", "\"never\"", "never"),
        ("renewal", "lifetime", "\"1s\"", "1s"),
        ("renewal", "keep_warm", "\"1d\"", "24h"),
        ("renewal", "prefetch", "false", "false"),
        ("renewal", "concurrency", "9", "9"),
        ("log", "level", "\"info,soproxy=debug\"", "info,soproxy=debug"),
        ("log", "format", "\"json\"", "json"),
        ("tenants.Cust1", "context", "\"Cust2\"", "Cust2"),
        ("tenants.Cust1", "api_url", "\"https://sod2.superoffice.com/Cust1/api/\"", "https://sod2.superoffice.com/Cust1/api/"),
        ("tenants.Cust1", "environment", "\"online\"", "online"),
        ("tenants.Cust1", "rate", "2.5", "2.5"),
        ("tenants.Cust1", "max_concurrent", "1", "1"),
    ];
    let shown = |config: &Config| format!("{config:?}");
    let plain = shown(&works(&[], &[]));
    for (section, key, file, variable) in settings {
        // Other listeners and hosts must not get in the way of the one changed.
        let name = format!("SOPROXY_{}__{}", section.replace('.', "__"), key).to_uppercase();
        let in_file = shown(&works(&[(section, key, file)], &[]));
        let in_env = shown(&works(&[], &[(&name, variable)]));
        assert_eq!(in_file, in_env, "{section}.{key}");
        if key != "keep_warm" {
            assert_ne!(in_file, plain, "{section}.{key}");
        }
    }
}

#[test]
fn prefetch_admin_and_max_body_can_be_switched_off() {
    let config = works(&[("admin", "address", "\"off\""), ("listen", "max_body", "\"OFF\""), ("renewal", "prefetch", "true")], &[]);
    assert!(config.admin.is_none() && config.listen.max_body.is_none());
    assert_eq!(config.renewal.prefetch, Prefetch::Always);
}

#[test]
fn further_listeners_are_bound_to_one_tenant_each() {
    let text = toml(&[("tenants.Acme", "system_user_token", "\"t\""), ("listen", "insecure_allow_anonymous", "true")])
        + "[[listeners]]\naddress = \"127.0.0.1:8082\"\ntenant = \"cust1\"\n\
           [[listeners]]\naddress = [\"0.0.0.0:8083\", \"[::]:8083\"]\ntenant = \"Acme\"\npublic_url = \"https://acme.example\"\n";
    let config = Config::parse(&text, "proxy.toml".as_ref(), []).unwrap();
    let expected = [
        BoundListener {
            addresses: vec!["127.0.0.1:8082".parse().unwrap()],
            sockets: Vec::new(),
            tls: None,
            tenant: Some("Cust1".into()),
            public_url: None,
        },
        BoundListener {
            addresses: vec!["0.0.0.0:8083".parse().unwrap(), "[::]:8083".parse().unwrap()],
            sockets: Vec::new(),
            tls: None,
            tenant: Some("Acme".into()),
            public_url: Some("https://acme.example".parse().unwrap()),
        },
    ];
    assert_eq!(config.listeners, expected);
    let warned: Vec<(&str, &str)> = config.warnings.iter().map(|warning| (warning.key.as_str(), warning.source.as_str())).collect();
    let line = text.lines().position(|line| line.contains("8083")).unwrap() + 1;
    assert_eq!(warned, [("listeners[1].address", format!("proxy.toml:{line}").as_str())]);
}

#[test]
fn tenants_have_the_bounds_of_upstream_but_for_their_own() {
    let changes = [
        ("upstream", "rate", "10"),
        ("upstream", "max_concurrent", "8"),
        ("upstream", "queue_timeout", "\"1h\""),
        ("tenants.Cust2", "system_user_token", "\"t\""),
        ("tenants.Cust2", "rate", "\"OFF\""),
        ("tenants.Cust3", "system_user_token", "\"t\""),
        ("tenants.Cust3", "rate", "0.001"),
        ("tenants.Cust3", "max_concurrent", "\"off\""),
    ];
    let found: Vec<Bounds> = works(&changes, &[]).tenants.iter().map(|tenant| tenant.bounds).collect();
    let bounds = |rate, max_concurrent| Bounds { rate, max_concurrent, queue_timeout: HOUR };
    assert_eq!(found, [bounds(Some(10.0), Some(8)), bounds(None, Some(8)), bounds(Some(0.001), None)]);
}

#[test]
fn the_cache_has_the_rules_of_all_tables_in_their_order() {
    let text = toml(&[])
        + "[[cache]]\npaths = [\"/api/v1/MDOList/*\", \"/api/v1/List/Category\"]\nttl = \"10m\"\n\
           [[cache]]\npaths = \"/api/v1/List/*\"\nttl = \"1s\"\n";
    let config = Config::parse(&text, "proxy.toml".as_ref(), []).unwrap();
    let expected = [("/api/v1/MDOList/*", HOUR / 6), ("/api/v1/List/Category", HOUR / 6), ("/api/v1/List/*", Duration::from_secs(1))];
    assert_eq!(config.cache, Rules::new(expected).unwrap());
    assert_ne!(config.cache, Rules::new(expected.into_iter().rev()).unwrap());
}

#[test]
fn the_push_listener_may_be_wide_without_a_word() {
    let config = works(&[("state", "push_address", "\"0.0.0.0:8084\"")], &[]);
    assert_eq!((config.state.push_addresses, config.warnings), (Some(vec!["0.0.0.0:8084".parse().unwrap()]), vec![]));
}

#[test]
fn a_login_url_replaces_the_environment_and_may_receive_tickets() {
    let changes = [
        ("superoffice", "environment", ""),
        ("superoffice", "login_url", "\"http://127.0.0.1:8090\""),
        ("tenants.Cust1", "api_url", "\"http://127.0.0.1:8090/Cust1/api\""),
        ("tenants.Cust2", "system_user_token", "\"t\""),
        ("tenants.Cust2", "login_url", "\"https://login.example.org:444/\""),
        ("tenants.Cust2", "api_url", "\"https://login.example.org:444/x\""),
        ("tenants.Cust3", "system_user_token", "\"t\""),
        ("tenants.Cust3", "environment", "\"QAonline\""),
    ];
    let urls: Vec<String> = works(&changes, &[]).tenants.iter().map(|tenant| tenant.login_url.to_string()).collect();
    assert_eq!(urls, ["http://127.0.0.1:8090", "https://login.example.org:444", "https://qaonline.superoffice.com"]);
}

#[test]
fn tenants_may_bring_everything_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("weak.xml"), KEY_1024).unwrap();
    std::fs::write(dir.path().join("token"), "\u{feff}Two-token\r\n").unwrap();
    let changes = [
        ("tenants.Cust2", "system_user_token.file", "\"token\""),
        ("tenants.Cust2", "client_secret", "{ env = \"TWO\" }"),
        ("tenants.Cust2", "private_key", "{ file = \"weak.xml\" }"),
        ("tenants.Cust3", "system_user_token", "\"t\""),
    ];
    let config = Config::parse(&toml(&changes), &dir.path().join("proxy.toml"), env(&[("TWO", "two-secret\n")])).unwrap();
    let [one, two, three] = config.tenants.as_slice() else { panic!("{config:?}") };
    assert_eq!((two.system_user_token.expose(), two.client_secrets[0].expose_secret()), ("Two-token", "two-secret"));
    assert_eq!((two.signing_keys[0].bits(), one.signing_keys[0].bits()), (1024, 2048));
    assert!(Arc::ptr_eq(&one.signing_keys, &three.signing_keys));
}

#[test]
fn secrets_may_be_several_while_one_replaces_another() {
    let keys = format!("['''{KEY_1024}''', '''{KEY_2048}''']");
    let config = works(
        &[
            ("application", "client_secret", "[\"new, with a comma\", { env = \"OLD\" }]"),
            ("application", "private_key", &keys),
            ("tenants.Cust1", "serial", "1801550193"),
            ("tenants.Cust2", "system_user_token", "\"t\""),
            ("tenants.Cust2", "serial", "\" x-1 \""),
        ],
        &[("OLD", "old")],
    );
    let [one, two] = config.tenants.as_slice() else { panic!("{config:?}") };
    let secrets: Vec<&str> = one.client_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["new, with a comma", "old"]);
    assert_eq!(one.signing_keys.iter().map(|key| key.bits()).collect::<Vec<_>>(), [1024, 2048]);
    assert!(Arc::ptr_eq(&one.signing_keys, &two.signing_keys) && Arc::ptr_eq(&one.client_secrets, &two.client_secrets));
    assert_eq!((one.serial.as_deref(), two.serial.as_deref()), (Some("1801550193"), Some("x-1")));
    let config = works(&[], &[("SOPROXY_APPLICATION__CLIENT_SECRET", "one, and a comma")]);
    assert_eq!(config.tenants[0].client_secrets[0].expose_secret(), "one, and a comma", "a variable is one secret, whatever is in it");
}

#[test]
fn a_key_may_come_from_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.xml"), KEY_2048).unwrap();
    let directory = dir.path().to_str().unwrap();
    for (value, variables) in [
        ("{ file = \"key.xml\" }", vec![]),
        ("{ env = \"KEY\" }", vec![("KEY", KEY_2048)]),
        ("{ credential = \"key.xml\" }", vec![("CREDENTIALS_DIRECTORY", directory)]),
        ("\"replaced\"", vec![("SOPROXY_APPLICATION__PRIVATE_KEY__FILE", "key.xml")]),
        ("{ file = \"replaced\" }", vec![("SOPROXY_APPLICATION__PRIVATE_KEY", KEY_2048)]),
        ("{ file = \"replaced\" }", vec![("SOPROXY_APPLICATION__PRIVATE_KEY__ENV", "KEY"), ("KEY", KEY_2048)]),
    ] {
        let text = toml(&[("application", "private_key", value)]);
        let config = Config::parse(&text, &dir.path().join("proxy.toml"), env(&variables));
        assert_eq!(config.unwrap_or_else(|problems| panic!("{value}: {problems}")).tenants[0].signing_keys[0].bits(), 2048);
    }
}

#[test]
fn the_environment_alone_is_enough() {
    let variables = env(&[
        ("SOPROXY_SUPEROFFICE__ENVIRONMENT", "online"),
        ("SOPROXY_APPLICATION__CLIENT_SECRET", "s"),
        ("SOPROXY_APPLICATION__PRIVATE_KEY", KEY_2048),
        ("SOPROXY_TENANTS__CUST12345__SYSTEM_USER_TOKEN", "t"),
        ("SOPROXY_TENANTS__acme__SYSTEM_USER_TOKEN__ENV", "TOKEN"),
        ("TOKEN", "u"),
        ("SOPROXY_PORT", "tcp://10.0.0.1:8080"),
        ("SOPROXY_SERVICE_HOST", "10.0.0.1"),
        ("SOPROXY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ]);
    let config = Config::parse("", "proxy.toml".as_ref(), variables).unwrap();
    let names: Vec<&str> = config.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["Cust12345", "acme"]);
}

#[test]
fn the_environment_finds_the_files_tenants_whatever_their_case() {
    let config = works(&[], &[("SOPROXY_TENANTS__CUST1__CONTEXT", "Cust9"), ("SOPROXY_TENANTS__cust1__ENVIRONMENT", "online")]);
    assert_eq!(config.tenants.len(), 1);
    assert_eq!((config.tenants[0].name.as_str(), config.tenants[0].context.as_str()), ("Cust1", "Cust9"));
    assert_eq!(config.tenants[0].login_url.to_string(), "https://online.superoffice.com");
}

#[test]
fn weak_keys_and_wide_listeners_work_with_a_warning() {
    let key = format!("'''{KEY_1024}'''");
    let config = works(
        &[
            ("application", "private_key", &key),
            ("tenants.Cust2", "system_user_token", "\"t\""),
            ("listen", "address", "\"0.0.0.0:8080\""),
            ("listen", "insecure_allow_anonymous", "true"),
            ("admin", "address", "[\"127.0.0.1:8081\", \"[::]:8082\"]"),
            ("admin", "insecure_allow_anonymous", "true"),
        ],
        &[],
    );
    let warnings: Vec<(&str, &str)> = config.warnings.iter().map(|warning| (warning.key.as_str(), warning.what.as_str())).collect();
    let expected = [
        ("listen.address", "0.0.0.0:8080 can be reached from other machines"),
        ("admin.address", "[::]:8082 can be reached from other machines"),
        ("application.private_key", "is an RSA key of only 1024 bits"),
    ];
    assert_eq!(warnings, expected);
    assert!(config.warnings[2].hint.contains("Developer Portal"));
}

#[test]
fn the_admin_listener_is_wide_where_it_asks_for_a_token() {
    let wide = [("admin", "address", "\"0.0.0.0:8081\""), ("admin", "token", "\"0123456789abcdef\"")];
    let config = works(&wide, &[]);
    assert!(matches!(&config.warnings[..], [plain] if plain.key == "admin.token" && plain.what.contains("in plain text")));
    let admin = config.admin.unwrap();
    assert_eq!(admin.token.unwrap().expose_secret(), "0123456789abcdef");
    assert_eq!(admin.ready_when, ReadyWhen::Any);
    // As a literal in the variable of a list of names, and as one that is called like a word.
    let named = |value: &str| works(&[("tenants.all", "system_user_token", "\"t\""), ("admin", "ready_when", value)], &[]);
    assert_eq!(named("[\"ALL\", \"cust1\"]").admin.unwrap().ready_when, ReadyWhen::Tenants(vec!["all".into(), "Cust1".into()]));
    assert_eq!(named("\"all\"").admin.unwrap().ready_when, ReadyWhen::All);
}

#[cfg(unix)]
#[test]
fn secrets_that_others_can_read_get_one_warning_for_each_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("open", "t", 0o644);
    write("closed", "t", 0o600);
    let changes = [
        ("tenants.Cust1", "system_user_token", "{ file = \"open\" }"),
        ("tenants.Cust2", "system_user_token", "{ file = \"open\" }"),
        ("tenants.Cust3", "system_user_token", "{ file = \"closed\" }"),
    ];
    let file = dir.path().join("proxy.toml");
    for (mode, expected) in [(0o600, vec!["tenants.Cust1.system_user_token"]), (0o644, vec!["tenants.Cust1.system_user_token", ""])] {
        write("proxy.toml", &toml(&changes), mode);
        let config = Config::load(&file).unwrap();
        let keys: Vec<&str> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, expected, "{:#?}", config.warnings);
    }
}

#[test]
fn further_trusted_roots_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    std::fs::write(dir.path().join("roots.pem"), pem).unwrap();
    let text = toml(&[("superoffice", "ca_file", "\"roots.pem\"")]);
    let config = Config::parse(&text, &dir.path().join("proxy.toml"), []).unwrap();
    assert_eq!(config.superoffice.ca_pem.as_deref(), Some(pem.as_bytes()));
}

#[test]
fn a_configuration_does_not_show_its_secrets() {
    let changes = [
        ("application", "client_secret", "\"hush-1\""),
        ("application", "private_key_passphrase", "\"hush-2\""),
        ("tenants.Cust1", "system_user_token", "\"hush-3\""),
    ];
    let shown = format!("{:#?}", parse(&changes, &[]).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
    let secret_part = KEY_2048.split("<D>").nth(1).unwrap();
    assert!(!shown.contains(&secret_part[..40]), "{shown}");
}

//! Each bad input and the message it gives.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::{KEY_2048, env, one, parse, toml};
use crate::config::{Config, Problem, Problems};

#[test]
fn bad_values_say_what_is_wrong_and_what_to_write() {
    // (section, key, value, what, hint)
    let cases = [
        ("superoffice", "environment", "\"prod\"", "\"prod\" is not known", "\"sod\" or \"qaonline\" or \"online\""),
        ("superoffice", "environment", "5", "must be a string, not a number", "\"sod\""),
        ("superoffice", "exchange", "\"xml\"", "\"xml\" is not known", "\"soap\" or \"rest\""),
        ("superoffice", "verification_keys", "\"jwk\"", "\"jwk\" is not known", "\"jwks\", or { file ="),
        ("superoffice", "verification_keys", "{ path = \"x\" }", "must have the key `file`", "{ file ="),
        ("superoffice", "verification_keys", "{ file = \"gone.crt\" }", "gone.crt does not exist", "relative to the configuration file"),
        ("superoffice", "upstream_hosts", "[\"*\"]", "\"*\" is no pattern of hosts", "*.superoffice.com"),
        ("superoffice", "upstream_hosts", "[1]", "must be a list of strings, not a number", "[\"one\""),
        ("superoffice", "upstream_hosts", "[]", "no ticket could be sent anywhere", "*.superoffice.com"),
        ("superoffice", "leeway", "\"2h\"", "must be at most 1h", "5m30s"),
        ("superoffice", "leeway", "300", "300 has no unit", "\"300s\"?"),
        ("superoffice", "login_timeout", "\"0s\"", "must be at least 1ms", "a unit"),
        ("superoffice", "soap_ticket_faults", "[\"\"]", "\"\" is no type of exception", "or [] for none"),
        ("superoffice", "soap_ticket_faults", "[\"two words\"]", "\"two words\" is no type of exception", "[\"SoSessionException\"]"),
        ("superoffice", "soap_ticket_faults", "5", "must be a string or a list of strings", "[\"one\""),
        ("superoffice", "ca_file", "\"gone.pem\"", "gone.pem does not exist", "create the file"),
        ("superoffice", "ca_file", "\"Cargo.toml\"", "holds no PEM certificate", "BEGIN CERTIFICATE"),
        ("application", "client_secret", "\"\"", "the value is empty", "put the value there"),
        ("application", "client_secret", "12345", "must be a string or a reference, not a number", "{ file ="),
        ("application", "client_secret", "{}", "refers to nothing", "exactly one of"),
        ("application", "client_secret", "{ env = \"A\", file = \"b\" }", "more than one place", "exactly one of"),
        ("application", "client_secret", "{ fiel = \"a\" }", "unknown key `fiel`", "did you mean `file`?"),
        ("application", "client_secret", "{ env = 5 }", "`env` must be a string", "exactly one of"),
        ("application", "client_secret", "{ env = \"NOPE\" }", "variable NOPE is not set", "set NOPE"),
        ("application", "client_secret", "{ credential = \"x\" }", "CREDENTIALS_DIRECTORY is not set", "LoadCredential=x:"),
        ("application", "client_secret", "\"a\\nb\"", "a line break or another control character", "one line"),
        ("application", "client_secret", "[]", "is an empty list", "[{ file ="),
        ("application", "client_secret", "[1, \"a\"]", "must be a string or a reference, not a number", "{ file ="),
        ("application", "client_secret", "[\"a\", { env = \"NOPE\" }]", "variable NOPE is not set", "set NOPE"),
        ("application", "client_secret", "[\"a\", \"b\", \"c\", \"d\", \"e\"]", "has more than 4 entries", "no longer in use"),
        ("application", "private_key", "[{ file = \"gone.xml\" }]", "gone.xml does not exist", "relative to"),
        ("tenants.Cust1", "serial", "true", "must be a string, not true or false", "soproxy ticket --json"),
        ("tenants.Cust1", "serial", "\"\"", "is no serial", "1801550193"),
        ("application", "private_key", "{ file = \"gone.xml\" }", "gone.xml does not exist", "relative to"),
        ("application", "private_key", "{ file = \"src\" }", "src cannot be read", "readable file"),
        ("application", "private_key", "{ file = \"Cargo.toml\" }", "Cargo.toml: ", "private_key_passphrase"),
        ("application", "private_key_passphrase", "{ env = \"NOPE\" }", "NOPE is not set", "set NOPE"),
        ("listen", "address", "\"localhost:8080\"", "\"localhost:8080\" is no IP address with a port", "127.0.0.1:8080"),
        ("listen", "address", "8080", "must be a string or a list of strings, not a number", "127.0.0.1:8080"),
        ("listen", "address", "[]", "names no address", "127.0.0.1:8080"),
        ("listen", "address", "\"0.0.0.0:8080\"", "can be reached from other machines", "insecure_allow_anonymous = true in [listen]"),
        ("listen", "address", "[\"127.0.0.1:1\", \"[::]:1\"]", "[::]:1 can be reached", "callers without a name"),
        ("listen", "address", "[\"127.0.0.1:1\", \"127.0.0.1:1\"]", "127.0.0.1:1 is already taken by listen.address", "its own"),
        ("listen", "hosts", "[\"https://x\"]", "\"https://x\" is no host name", "the name alone"),
        ("listen", "hosts", "[\"*.x\"]", "\"*.x\" is no host name", "the name alone"),
        ("listen", "default_tenant", "\"Cust2\"", "\"Cust2\" is no configured tenant", "did you mean \"Cust1\"?"),
        ("listen", "default_tenant", "\"somebody\"", "\"somebody\" is no configured tenant", "such as \"Cust1\""),
        ("listen", "default_tenant", "1", "must be a string, not a number", "in quotes"),
        ("listen", "public_url", "\"crm.example\"", "must start with https://", "https://crm.example.com"),
        ("listen", "public_url", "\"ftp://crm.example\"", "only https://", "https://crm.example.com"),
        ("listen", "trusted_proxies", "[\"10.0.0.0/33\"]", "\"10.0.0.0/33\" is no IP address or network", "10.0.0.0/8"),
        ("listen", "trusted_proxies", "\"proxy.example\"", "\"proxy.example\" is no IP address", "127.0.0.1"),
        ("listen", "insecure_allow_anonymous", "\"yes\"", "\"yes\" is neither true nor false", "true or false"),
        ("listen", "insecure_allow_anonymous", "1", "must be true or false, not a number", "true or false"),
        ("listen", "header_read_timeout", "30", "30 has no unit", "\"30s\"?"),
        ("listen", "header_read_timeout", "1.5", "must be a duration, not a number with a decimal point", "a unit"),
        ("listen", "header_read_timeout", "\"half an hour\"", "\"half an hour\" is no duration", "a unit"),
        ("listen", "max_body", "\"big\"", "\"big\" is no size", "64KiB"),
        ("listen", "max_body", "\"big\"", "", "or \"off\""),
        ("listen", "max_body", "0", "0 would refuse every body", "\"off\""),
        ("listen", "max_body", "-1", "is no number of bytes", "64KiB"),
        ("listen", "max_requests", "0", "must be a whole number from 1", "whole number"),
        ("listen", "max_requests", "1.5", "must be a whole number from 1", "whole number"),
        ("listen", "max_requests", "\"many\"", "must be a whole number from 1", "whole number"),
        ("listen", "grace", "\"99999d\"", "longer than ten years", "a unit"),
        ("admin", "address", "\"10.0.0.1:8081\"", "10.0.0.1:8081 can be reached from other machines", "true in [admin]"),
        ("admin", "address", "\"127.0.0.1:8080\"", "127.0.0.1:8080 is already taken by listen.address", "its own"),
        ("admin", "address", "\"of\"", "\"of\" is no IP address", "or \"off\""),
        ("admin", "address", "\"10.0.0.1:8081\"", "", "set token"),
        ("admin", "token", "\"0123456789abcde\"", "is shorter than 16 characters", "openssl rand"),
        ("admin", "token", "\"0123456789 abcdef\"", "holds characters that no Authorization header can carry", "openssl rand"),
        ("admin", "token", "{ env = \"NOPE\" }", "NOPE is not set", "set NOPE"),
        ("admin", "token", "1", "must be a string or a reference", "{ file"),
        ("admin", "ready_when", "[]", "names no tenant", "\"any\", \"all\""),
        ("admin", "ready_when", "1", "must be a string or a list", "\"any\", \"all\""),
        ("admin", "ready_when", "[\"Cust2\"]", "\"Cust2\" is no configured tenant", "did you mean \"Cust1\"?"),
        ("upstream", "replay_limit", "\"64 kilobytes\"", "\"64 kilobytes\" is no size", "64KiB"),
        ("upstream", "rewrite_links", "\"some\"", "\"some\" is not known", "\"known\" or \"all\" or \"off\""),
        ("upstream", "routes", "[\"CS/x\"]", "\"CS/x\" is no segment of a path", "[\"CS\"]"),
        ("upstream", "routes", "[\"~x\"]", "\"~x\" is no segment of a path", "[\"CS\"]"),
        ("upstream", "routes", "[\"..\"]", "\"..\" is no segment of a path", "[\"CS\"]"),
        ("upstream", "routes", "[\"\"]", "\"\" is no segment of a path", "[\"CS\"]"),
        ("upstream", "routes", "[\"Api\"]", "is always carried", "the others only"),
        ("upstream", "cache_size", "\"1023KiB\"", "must be at least 1MiB", "a unit"),
        ("upstream", "cache_size", "\"off\"", "\"off\" is no size", "a unit"),
        ("upstream", "queue_timeout", "\"0s\"", "must be at least 1ms", "a unit"),
        ("upstream", "queue_timeout", "10", "10 has no unit", "\"10s\"?"),
        ("upstream", "rate", "0", "must be a number from 0.001", "or \"off\""),
        ("upstream", "rate", "-1.5", "must be a number from 0.001", "such as 10 or 0.5"),
        ("upstream", "rate", "nan", "must be a number from 0.001", "such as 10 or 0.5"),
        ("upstream", "rate", "inf", "must be a number from 0.001", "such as 10 or 0.5"),
        ("upstream", "rate", "\"10/s\"", "must be a number from 0.001", "such as 10 or 0.5"),
        ("upstream", "rate", "true", "must be a number, not true or false", "such as 10 or 0.5"),
        ("upstream", "max_concurrent", "0", "must be a whole number from 1", "or \"off\""),
        ("upstream", "max_concurrent", "1.5", "must be a whole number from 1", "or \"off\""),
        ("state", "min_interval", "\"0s\"", "must be at least 1ms", "a unit"),
        ("state", "max_interval", "\"5s\"", "is shorter than min_interval", "what min_interval says"),
        ("state", "push_address", "\"on\"", "\"on\" is no IP address", "or \"off\""),
        ("state", "push_address", "\"127.0.0.1:8081\"", "127.0.0.1:8081 is already taken by admin.address", "its own"),
        ("state", "push_address", "\"0.0.0.0:8080\"", "0.0.0.0:8080 is already taken by listen.address", "its own"),
        ("renewal", "max_age", "\"0s\"", "must be at least 1s", "or \"never\""),
        ("renewal", "lifetime", "\"500ms\"", "must be at least 1s", "a unit"),
        ("renewal", "prefetch", "\"maybe\"", "\"maybe\" is not known", "\"auto\" or \"true\" or \"false\""),
        ("log", "level", "\"loud\"", "\"loud\" is no log level", "soproxy=debug"),
        ("log", "level", "\"soproxy=loud\"", "is no log level", "soproxy=debug"),
        ("log", "format", "\"xml\"", "\"xml\" is not known", "\"text\" or \"json\""),
        ("tenants.Cust1", "system_user_token", "[\"t\"]", "must be a string or a reference, not a list", "{ file ="),
        ("tenants.Cust1", "system_user_token", "{ file = \"gone\" }", "gone does not exist", "relative to"),
        ("tenants.Cust1", "context", "\"a/b\"", "a context identifier is", "Cust12345"),
        ("tenants.Cust1", "api_url", "\"sod2.superoffice.com\"", "must start with https://", "https://sod.superoffice.com/Cust12345/api"),
        (
            "tenants.Cust1",
            "api_url",
            "\"https://evil.example/\"",
            "evil.example is not in upstream_hosts",
            "upstream_hosts of [superoffice]",
        ),
        ("tenants.Cust1", "api_url", "\"http://sod2.superoffice.com/\"", "not https", "over https"),
        ("tenants.Cust1", "rate", "\"of\"", "must be a number from 0.001", "or \"off\""),
        ("tenants.Cust1", "max_concurrent", "[]", "must be a number, not a list", "or \"off\""),
        ("tenants.Cust1", "login_url", "\"http://login.example/\"", "is not https", "the origin alone"),
        ("tenants.Cust1", "login_url", "\"https://sod.superoffice.com/login\"", "has a path", "the origin alone"),
    ];
    for (section, key, value, what, hint) in cases {
        let problem = one(&[(section, key, value)], &[]);
        assert_eq!(problem.key, format!("{section}.{key}"), "{problem}");
        assert!(problem.what.contains(what), "{key} = {value}: {problem}");
        assert!(problem.hint.contains(hint), "{key} = {value}: {problem}");
        assert!(problem.source.starts_with("proxy.toml:"), "{problem}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let cases = [
        ("listen", "max_bdy", "listen.max_bdy", "unknown key", "did you mean `listen.max_body`?"),
        ("tenants.Cust1", "api-url", "tenants.Cust1.api-url", "unknown key", "did you mean `tenants.Cust1.api_url`?"),
        ("superoffice", "client_secret", "superoffice.client_secret", "unknown key", "`client_secret` belongs in [application]"),
        ("listen", "tenant", "listen.tenant", "unknown key", "`tenant` belongs in [[listeners]]"),
        ("log", "colour", "log.colour", "unknown key", "the keys of [log] are level, format, query, file, rotate, max_size, keep"),
        ("liste", "x", "liste", "unknown section", "did you mean `listen`?"),
        ("system_user_token", "x", "system_user_token", "unknown key", "`system_user_token` belongs in [tenants.NAME]"),
        ("proxies", "x", "proxies", "unknown section", "the sections are superoffice, application"),
    ];
    for (section, key, expected, what, hint) in cases {
        let problem = one(&[(section, key, "1")], &[]);
        assert_eq!((problem.key.as_str(), problem.what.as_str()), (expected, what));
        assert!(problem.hint.starts_with(hint), "{problem}");
    }
}

#[test]
fn problems_of_variables_name_the_variable() {
    let cases = [
        ("SOPROXY_LISTEN__MAX_BDY", "1", "listen.max_bdy", "unknown key", "did you mean SOPROXY_LISTEN__MAX_BODY?"),
        ("SOPROXY_LISTENER__ADDRESS", "1", "listener", "unknown section", "did you mean SOPROXY_LISTEN__…?"),
        (
            "SOPROXY_TENANTS__CUST1__TOKEN",
            "x",
            "tenants.Cust1.token",
            "unknown key",
            "did you mean SOPROXY_TENANTS__CUST1__SYSTEM_USER_TOKEN?",
        ),
        ("SOPROXY_LISTENERS__ADDRESS", "127.0.0.1:1", "listeners", "must be a list of tables", "in the file"),
        ("SOPROXY_CACHE__TTL", "10m", "cache", "must be a list of tables", "write [[cache]], with two brackets"),
        ("SOPROXY_UPSTREAM__RATE", "fast", "upstream.rate", "must be a number", "such as 10 or 0.5"),
        ("SOPROXY_TENANTS__CUST1", "x", "tenants.Cust1", "must be a table", ""),
        (
            "SOPROXY_TENANTS__CUST2__CONTEXT",
            "C",
            "tenants.Cust2.system_user_token",
            "is missing",
            "SOPROXY_TENANTS__CUST2__SYSTEM_USER_TOKEN",
        ),
        ("SOPROXY_LISTEN__MAX_REQUESTS", "many", "listen.max_requests", "whole number", ""),
        ("SOPROXY_LISTEN__ADDRESS", "", "listen.address", "names no address", ""),
        ("SOPROXY_UPSTREAM__FORWARDED", "1", "upstream.forwarded", "\"1\" is neither true nor false", ""),
        ("SOPROXY_RENEWAL__MAX_AGE", "3600", "renewal.max_age", "3600 has no unit", "\"3600s\"?"),
        ("SOPROXY_APPLICATION__CLIENT_SECRET", "", "application.client_secret", "is empty", ""),
        ("SOPROXY_APPLICATION__CLIENT_SECRET__ENV", "NOPE", "application.client_secret", "NOPE is not set", "set NOPE"),
        ("SOPROXY_APPLICATION__CLIENT_SECRET__PATH", "x", "application.client_secret", "unknown key `path`", "{ file ="),
        ("SOPROXY_LISTEN__ADDRESS__FILE", "x", "listen.address", "must be a string or a list of strings, not a table", ""),
    ];
    for (name, value, key, what, hint) in cases {
        let problems = parse(&[], &[(name, value)]).unwrap_err();
        let problem = &problems[0];
        assert_eq!((problem.key.as_str(), problem.source.as_str()), (key, name), "{problem}");
        assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem}");
    }
}

#[test]
fn two_variables_for_one_key_contradict_each_other() {
    let secret = ("SOPROXY_APPLICATION__CLIENT_SECRET", "hush");
    let problem = one(&[], &[secret, ("SOPROXY_APPLICATION__CLIENT_SECRET__ENV", "S"), ("S", "x")]);
    assert_eq!(problem.source, "SOPROXY_APPLICATION__CLIENT_SECRET__ENV");
    assert_eq!(problem.what, "is also set by SOPROXY_APPLICATION__CLIENT_SECRET");
    let problem = one(&[], &[("SOPROXY_LOG__LEVEL", "info"), ("SOPROXY_LOG__level", "warn")]);
    assert_eq!((problem.key.as_str(), problem.hint.as_str()), ("log.level", "keep one of the two variables"));
    let problem = one(&[], &[("SOPROXY_APPLICATION__CLIENT_SECRET__ENV", "S"), ("SOPROXY_APPLICATION__CLIENT_SECRET__FILE", "f")]);
    assert_eq!(problem.what, "gives more than one place");
}

#[test]
fn an_empty_file_misses_four_things_at_once() {
    let problems = Config::parse("", Path::new("proxy.toml"), []).unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["tenants", "application.client_secret", "application.private_key", "superoffice.environment"]);
    assert!(problems.0.iter().all(|problem| problem.source == "proxy.toml" && !problem.hint.is_empty()), "{problems}");
}

#[test]
fn what_all_tenants_lack_is_said_once_and_what_none_needs_is_not_said() {
    let missing = [
        ("superoffice", "environment", ""),
        ("application", "client_secret", ""),
        ("application", "private_key", ""),
        ("tenants.Cust2", "system_user_token", "\"t\""),
    ];
    let problems = parse(&missing, &[]).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["application.client_secret", "application.private_key", "superoffice.environment"]);
    let key = format!("'''{KEY_2048}'''");
    let own = ["Cust1", "Cust2"].map(|name| format!("tenants.{name}"));
    let mut changes = missing.to_vec();
    for table in &own {
        changes.extend([(table.as_str(), "environment", "\"sod\""), (table, "client_secret", "\"s\""), (table, "private_key", &key)]);
    }
    assert!(parse(&changes, &[]).is_ok());
}

#[test]
fn a_broken_shared_file_is_reported_once() {
    let changes = [
        ("application", "private_key", "{ file = \"gone.xml\" }"),
        ("application", "client_secret", "{ env = \"NOPE\" }"),
        ("superoffice", "verification_keys", "{ file = \"gone.crt\" }"),
        ("tenants.Cust2", "system_user_token", "\"t\""),
        ("tenants.Cust3", "system_user_token", "\"t\""),
    ];
    let keys: Vec<String> = parse(&changes, &[]).unwrap_err().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["superoffice.verification_keys", "application.client_secret", "application.private_key"]);
}

#[test]
fn names_of_tenants() {
    let problem = one(&[("tenants.\"a b\"", "system_user_token", "\"t\"")], &[]);
    assert_eq!((problem.key.as_str(), problem.what.as_str()), ("tenants.a b", "cannot be the name of a tenant"));
    let problem = one(&[("tenants.CUST1", "system_user_token", "\"t\"")], &[]);
    assert!(problem.what.contains("upper and lower case only"), "{problem}");
    let problem = one(&[("tenants", "Cust1", "5"), ("tenants.Cust1", "system_user_token", "")], &[]);
    assert!(problem.key.is_empty() && problem.what.contains("not valid TOML"), "{problem}");
    let problems = Config::parse("tenants = 5\nlisten = \"x\"", Path::new("proxy.toml"), []).unwrap_err().0;
    for key in ["tenants", "listen"] {
        assert_eq!(problems.iter().filter(|problem| problem.key == key).count(), 1, "{problems:#?}");
    }
}

#[test]
fn what_paths_mean_otherwise_is_no_name_of_a_tenant() {
    for (name, routes) in [("Api", "[]"), ("superoffice", "[]"), ("cs", "[\"x\", \"CS\"]")] {
        let problem = one(&[(&format!("tenants.{name}"), "system_user_token", "\"t\""), ("upstream", "routes", routes)], &[]);
        assert_eq!((problem.key, problem.what.as_str()), (format!("tenants.{name}"), "cannot be the name of a tenant"));
        assert!(problem.hint.contains("mean something else"), "{}", problem.hint);
    }
}

#[test]
fn a_wrong_bound_of_all_tenants_is_reported_once() {
    let changes = [("upstream", "rate", "0"), ("tenants.Cust2", "system_user_token", "\"t\""), ("tenants.Cust2", "rate", "5")];
    assert_eq!(one(&changes, &[]).key, "upstream.rate");
}

#[test]
fn environment_and_login_url_together_are_too_much() {
    let problem = one(&[("superoffice", "login_url", "\"https://login.example\"")], &[]);
    assert_eq!((problem.key.as_str(), problem.hint.as_str()), ("superoffice.login_url", "remove one of the two"));
}

#[test]
fn all_problems_come_at_once_whatever_their_kind() {
    let changes = [
        ("superoffice", "environment", "\"prod\""),
        ("superoffice", "leeway", "5"),
        ("application", "client_secret", "{ env = \"NOPE\" }"),
        ("application", "private_key", "{ file = \"gone.xml\" }"),
        ("listen", "address", "\"0.0.0.0:80\""),
        ("listen", "max_body", "true"),
        ("admin", "addres", "\"x\""),
        ("renewal", "max_age", "\"1\""),
        ("tenants.Cust1", "system_user_token", ""),
        ("tenants.Cust1", "api_url", "\"https://evil.example\""),
        ("tenants.Cust2", "context", "\"a b\""),
        ("tenants.Cust2", "private_key", "[]"),
        ("nonsense", "x", "1"),
    ];
    let problems = parse(&changes, &[("SOPROXY_LOG__LEVEL", "loud"), ("SOPROXY_LOG__COLOR", "no")]).unwrap_err();
    let keys: BTreeSet<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "admin.addres",
        "application.client_secret",
        "application.private_key",
        "listen.address",
        "listen.max_body",
        "log.color",
        "log.level",
        "nonsense",
        "renewal.max_age",
        "superoffice.environment",
        "superoffice.leeway",
        "tenants.Cust1.api_url",
        "tenants.Cust1.system_user_token",
        "tenants.Cust2.context",
        "tenants.Cust2.private_key",
        "tenants.Cust2.system_user_token",
    ];
    assert_eq!(keys, expected.into(), "{problems:#?}");
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn a_syntax_error_has_line_and_column_and_does_not_quote_the_line() {
    let text = "[application]\nclient_secret = \"hush\n";
    let problems = Config::parse(text, Path::new("dir/proxy.toml"), []).unwrap_err();
    let [problem] = problems.0.as_slice() else { panic!("{problems}") };
    assert!(problem.source.starts_with("dir/proxy.toml:2:"), "{problem}");
    assert!(problem.what.starts_with("is not valid TOML: "), "{problem}");
    assert!(!problems.to_string().contains("hush"), "{problem}");
}

#[test]
fn lines_are_counted() {
    let problem = one(&[("log", "level", "\"info\""), ("log", "format", "\"xml\"")], &[]);
    let line =
        toml(&[("log", "level", "\"info\""), ("log", "format", "\"xml\"")]).lines().position(|line| line.starts_with("format")).unwrap()
            + 1;
    assert_eq!(problem.source, format!("proxy.toml:{line}"));
}

#[test]
fn a_missing_file_says_how_to_begin() {
    let dir = tempfile::tempdir().unwrap();
    let problems = Config::load(&dir.path().join("proxy.toml")).unwrap_err();
    let [problem] = problems.0.as_slice() else { panic!("{problems}") };
    assert_eq!(problem.what, "there is no such file");
    assert!(problem.hint.contains("proxy.toml.example") && problem.hint.contains("--config"), "{problem}");
    assert!(Config::load(dir.path()).unwrap_err().0[0].what.contains("cannot be read"));
    std::fs::write(dir.path().join("latin1.toml"), b"# \xe9").unwrap();
    assert_eq!(Config::load(&dir.path().join("latin1.toml")).unwrap_err().0[0].what, "is not UTF-8 text");
}

#[test]
fn problems_are_printed_a_paragraph_each() {
    let problem =
        |key: &str| Problem { key: key.into(), source: "proxy.toml:3".into(), what: "is wrong".into(), hint: "write it right".into() };
    let text = Problems(vec![problem("a.b"), problem("")]).to_string();
    assert_eq!(text, "a.b (proxy.toml:3): is wrong\n    write it right\n\nproxy.toml:3: is wrong\n    write it right");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever else is wrong with a value, a message never holds it.
    #[test]
    fn no_message_holds_a_secret(before in "[ -~\\t\\n]{0,6}", after in "[ -~\\t\\n]{0,6}", form in 0..7_usize) {
        let quoted = format!("{:?}", format!("{before}MARKER{after}"));
        let value = match form {
            0 => quoted.clone(),
            1 => format!("[{quoted}]"),
            2 => format!("{{ fiel = {quoted} }}"),
            3 => format!("{{ env = \"S\", file = {quoted} }}"),
            4 => format!("'{before}MARKER{after}"),
            5 => format!("{before}MARKER{after}"),
            _ => format!("{{ env = \"S\" }} # {before}"),
        };
        let keys = [("application", "client_secret"), ("application", "private_key"), ("application", "private_key_passphrase"), ("tenants.Cust1", "system_user_token")];
        for (section, key) in keys {
            let raw = format!("{before}MARKER{after}");
            let variables = [("S", raw.as_str()), ("SOPROXY_LOG__FORMAT", "xml")];
            let shown = match Config::parse(&toml(&[(section, key, &value)]), Path::new("proxy.toml"), env(&variables)) {
                Ok(config) => format!("{config:?}"),
                Err(problems) => format!("{problems} {problems:?}"),
            };
            prop_assert!(!shown.contains("MARKER"), "{}", shown);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z\\[\\]=.\"'{}, \\n0-9é]{0,60}", name in "[A-Z_a-zé]{0,20}") {
        let _ = Config::parse(&text, Path::new("proxy.toml"), env(&[(&format!("SOPROXY_{name}"), &text)]));
    }
}

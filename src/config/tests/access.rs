//! Who may call: what each mistake is told, and which listeners may be wide.

use super::{one, parse, works};
use crate::proxy::clients::{ApiKey, Terms};

const HASH: &str = "sha256:755503ea67dc91d006feda949e8a5d94b287df814ad5b6228850198e78170c36";

fn list(texts: &[&str]) -> String {
    format!("{texts:?}")
}

fn keys() -> String {
    list(&[HASH])
}

fn client() -> (&'static str, &'static str, String) {
    ("clients.erp", "keys", keys())
}

#[test]
fn bad_values_say_what_is_wrong_and_what_to_write() {
    // (section, key, value, what, hint)
    let cases = [
        ("clients.ci", "keys", "[\"sha256:00\"]", "is no hash of an API key", "soproxy client new NAME"),
        ("clients.ci", "keys", "[\"\"]", "is no hash of an API key", "soproxy client new NAME"),
        ("clients.ci", "keys", "\"hunter2\"", "is no hash of an API key", "soproxy client new NAME"),
        ("clients.ci", "keys", "5", "must be a string or a list of strings, not a number", ""),
        ("clients.ci", "keys", "[5]", "must be a list of strings, not a number", ""),
        ("clients.ci", "certificates", "[\"erp\"]", "\"erp\" is no name in a certificate", "\"cn:erp\""),
        ("clients.ci", "certificates", "[\"cn:\"]", "\"cn:\" is no name in a certificate", "\"cn:erp\""),
        ("clients.ci", "certificates", "[\"serial:1\"]", "\"serial:1\" is no name", "subject:CN=erp"),
        ("clients.ci", "certificates", "[\"ip:10.0.0\"]", "\"ip:10.0.0\" is no name", "ip:"),
        ("clients.ci", "uids", "[\"root\"]", "something else than a user's or group's number", "id -u NAME"),
        ("clients.ci", "uids", "-1", "something else than a user's or group's number", "id -u NAME"),
        ("clients.ci", "uids", "[4294967296]", "something else than a user's or group's number", "id -u NAME"),
        ("clients.ci", "gids", "[1.5]", "something else than a user's or group's number", "id -g NAME"),
        ("clients.ci", "gids", "true", "something else than a user's or group's number", "id -g NAME"),
        ("anonymous", "read_only", "\"yes\"", "\"yes\" is neither true nor false", "true or false"),
        ("anonymous", "allow", "[\"/api/v1/**\"]", "\"/api/v1/**\" there is no method", "GET,HEAD"),
        ("anonymous", "allow", "[\"GET\"]", "\"GET\" there is no path", "GET,HEAD"),
        ("anonymous", "allow", "[\"GET api\"]", "does not begin with a slash", "GET,HEAD"),
        ("anonymous", "deny", "[\"get /api/**\"]", "is not in capitals", "capitals"),
        ("anonymous", "deny", "[\"GET /api/v1**\"]", "is no segment", "** is a segment of its own"),
        ("anonymous", "deny", "[\"GET /api/x?y=1\"]", "looks at the path alone", "leave out the query"),
        ("anonymous", "deny", "[\"GET /api/../x\"]", "cannot be matched", "leave it out"),
        ("anonymous", "deny", "5", "must be a list of rules, not a number", "GET /api/v1/**"),
        ("anonymous", "rate", "0", "must be a number from 0.001", "or \"off\""),
        ("anonymous", "rate", "\"fast\"", "must be a number from 0.001", "or \"off\""),
        ("listen", "policy", "\"log\"", "\"log\" is not known", "\"enforce\" or \"report\""),
        ("cors", "origins", "[\"*\"]", "every page of the web", "https://app.example.com"),
        ("cors", "origins", "[\"https://*.example.com\"]", "\"https://*.example.com\" is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"https://app.example/x\"]", "has a path, and an origin has none", "https://app.example.com"),
        ("cors", "origins", "[\"https://app.example?x\"]", "has a path, and an origin has none", "https://app.example.com"),
        ("cors", "origins", "[\"app.example\"]", "\"app.example\" is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"null\"]", "\"null\" is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"file:///x\"]", "is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"https://me@app.example\"]", "is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"https://app.example:99999\"]", "is no origin", "https://app.example.com"),
        ("cors", "origins", "[\"https://å.example\"]", "is no origin", "https://app.example.com"),
        ("cors", "origins", "5", "must be a string or a list of strings", ""),
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
fn a_key_where_its_hash_belongs_is_not_repeated() {
    let key = ApiKey::random();
    for value in [format!("\"{}\"", key.expose()), format!("[\" {} \"]", key.expose()), format!("[\"{HASH}\", \"{}\"]", key.expose())] {
        let problem = one(&[("clients.erp", "keys", &value)], &[]);
        assert!(problem.what.contains("is an API key itself") && problem.hint.contains("make a new one"), "{problem}");
        assert!(!format!("{problem} {problem:?}").contains(key.expose()), "{problem}");
    }
    // What is nearly one is not repeated either.
    let cut = &key.expose()[..40];
    let problem = one(&[("clients.erp", "keys", &format!("\"{cut}\""))], &[]);
    assert!(!format!("{problem} {problem:?}").contains(cut), "{problem}");
    let problem = one(&[], &[("SOPROXY_CLIENTS__ERP__KEYS", key.expose())]);
    assert_eq!((problem.key.as_str(), problem.source.as_str()), ("clients.erp.keys", "SOPROXY_CLIENTS__ERP__KEYS"));
    assert!(!format!("{problem} {problem:?}").contains(key.expose()), "{problem}");
}

#[test]
fn a_client_has_two_keys_at_most() {
    let hash = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let (one_key, two, three) = (hash("1"), hash("2"), hash("3"));
    works(&[("clients.erp", "keys", &list(&[&one_key, &two]))], &[]);
    let problem = one(&[("clients.erp", "keys", &list(&[&one_key, &two, &three]))], &[]);
    assert_eq!(problem.what, "has more than two keys");
    assert!(problem.hint.contains("the one it replaces"), "{problem}");
}

#[test]
fn a_client_is_known_by_something() {
    for (key, value) in [("read_only", "true"), ("keys", "[]"), ("uids", "[]"), ("certificates", "\"\"")] {
        let problem = one(&[("clients.erp", key, value)], &[]);
        assert_eq!((problem.key.as_str(), problem.what.as_str()), ("clients.erp", "can be known by nothing"), "{key}");
        assert!(problem.hint.contains("soproxy client new"), "{problem}");
    }
    for (key, value) in [("keys", keys().as_str()), ("certificates", "[\"cn:erp\"]"), ("uids", "0"), ("gids", "[\"100\"]")] {
        works(&[("clients.erp", key, value)], &[]);
    }
}

#[test]
fn what_is_known_belongs_to_one_client() {
    let own = keys();
    let loud = list(&[&HASH.to_uppercase().replace("SHA256", "sha256")]);
    for (setting, first, second, what) in [
        ("keys", own.as_str(), own.as_str(), HASH),
        ("keys", &own, &loud, HASH),
        ("certificates", "\"dns:erp.example\"", "\"DNS:ERP.example\"", "dns:erp.example"),
        ("certificates", "\"ip:::1\"", "\"ip:0:0:0:0:0:0:0:1\"", "ip:::1"),
        ("uids", "5", "[4, 5]", "user 5"),
        ("gids", "[5]", "\"5\"", "group 5"),
    ] {
        let problem = one(&[("clients.a", setting, first), ("clients.b", setting, second)], &[]);
        assert_eq!(problem.key, format!("clients.b.{setting}"));
        assert_eq!(problem.what, format!("{what} is already client a"));
    }
    works(&[("clients.a", "uids", "5"), ("clients.b", "gids", "5"), ("clients.c", "certificates", "\"cn:5\"")], &[]);
}

#[test]
fn names_of_clients() {
    let long = format!("clients.{}", "x".repeat(65));
    for section in ["clients.\"a b\"", "clients.\"\"", "clients.\"a/b\"", "clients.\"å\"", "clients.\"a\\n\"", &long] {
        let problem = one(&[(section, "keys", &keys())], &[]);
        assert_eq!(problem.what, "cannot be the name of a client", "{section}");
    }
    for section in ["clients.\"erp.test\"", "clients.ERP-2_x", &long[..long.len() - 1]] {
        works(&[(section, "keys", &keys())], &[]);
    }
    let problems = parse(&[("clients", "erp", "5")], &[]).unwrap_err();
    assert_eq!(problems[0].key, "clients.erp", "{problems:#?}");
    let problem = one(&[("clients.erp", "keys", &keys()), ("clients.erp", "tenant", "\"Cust1\"")], &[]);
    assert!(problem.what == "unknown key" && problem.hint.contains("clients.erp.tenants"), "{problem}");
}

#[test]
fn tenants_of_a_caller_are_configured_ones() {
    let (section, key, value) = client();
    for (terms, name) in [("clients.erp", "clients.erp.tenants"), ("anonymous", "anonymous.tenants")] {
        let problem = one(&[(section, key, &value), (terms, "tenants", "[\"Cust2\"]")], &[]);
        assert_eq!((problem.key.as_str(), problem.what.as_str()), (name, "\"Cust2\" is no configured tenant"));
        assert_eq!(problem.hint, "did you mean \"Cust1\"?");
    }
    let config = works(&[(section, key, &value), (section, "tenants", "\"CUST1\"")], &[]);
    let rules = &config.access.clients[0].terms.rules;
    assert!(rules.may_address("cust1") && !rules.may_address("Cust2"));
}

#[test]
fn who_only_reads_is_allowed_what_reads() {
    let (section, key, value) = client();
    let with = |allow: &str| parse(&[(section, key, &value), (section, "read_only", "true"), (section, "allow", allow)], &[]);
    for rule in ["POST /api/v1/**", "PUT,DELETE /api/**", "MERGE /x"] {
        let problems = with(&format!("[\"GET /api/**\", \"{rule}\"]")).unwrap_err();
        assert_eq!((problems.len(), problems[0].key.as_str()), (1, "clients.erp.allow"), "{problems:#?}");
        assert_eq!(problems[0].what, format!("\"{rule}\" allows nothing, because read_only is set"));
    }
    for rule in ["GET /api/**", "* /api/**", "POST,GET /api/**", "HEAD /x", "OPTIONS /x"] {
        assert!(with(&format!("[\"{rule}\"]")).is_ok(), "{rule}");
    }
}

#[test]
fn variables_name_clients_and_what_they_may() {
    let variables = [
        ("SOPROXY_CLIENTS__ERP__KEYS", HASH),
        ("SOPROXY_CLIENTS__ERP__READ_ONLY", "true"),
        ("SOPROXY_CLIENTS__ERP__TENANTS", "cust1"),
        ("SOPROXY_CLIENTS__ERP__ALLOW", "GET,HEAD /api/v1/**; OPTIONS /api/**"),
        ("SOPROXY_CLIENTS__ERP__RATE", "off"),
        ("SOPROXY_CLIENTS__CI__UIDS", "1000, 1001"),
        ("SOPROXY_CORS__ORIGINS", "https://a.example,http://localhost:3000"),
        ("SOPROXY_LISTEN__POLICY", "report"),
    ];
    let access = works(&[], &variables).access;
    let names: Vec<&str> = access.clients.iter().map(|client| client.name.as_str()).collect();
    assert_eq!(names, ["ci", "erp"]);
    assert_eq!((access.clients[0].uids.as_slice(), access.clients[1].keys[0].to_string().as_str()), (&[1000, 1001][..], HASH));
    assert!(access.clients[1].terms.rules.is_read_only() && access.clients[1].terms.rate.is_none());
    assert_eq!(access.origins, ["https://a.example", "http://localhost:3000"]);
    assert!(access.report && access.anonymous.is_none());
    // One that is in the file keeps its spelling.
    let access = works(&[("clients.Erp", "uids", "5")], &[("SOPROXY_CLIENTS__ERP__KEYS", HASH)]).access;
    assert_eq!((access.clients.len(), access.clients[0].name.as_str(), access.clients[0].keys.len()), (1, "Erp", 1));
}

#[test]
fn origins_are_kept_as_browsers_write_them() {
    let written =
        "[\"HTTPS://App.Example:443/\", \"http://localhost:80\", \"http://localhost:3000\", \"https://x.example:80\", \"http://[::1]:5\"]";
    let config = works(&[("cors", "origins", written)], &[]);
    let expected = ["https://app.example", "http://localhost", "http://localhost:3000", "https://x.example:80", "http://[::1]:5"];
    assert_eq!(config.access.origins, expected);
}

#[test]
fn callers_without_a_name_are_served_until_there_is_a_client() {
    let (section, key, value) = client();
    assert_eq!(works(&[], &[]).access.anonymous, Some(Terms::default()));
    assert_eq!(works(&[(section, key, &value)], &[]).access.anonymous, None);
    let empty = [(section, key, value.as_str()), ("anonymous", "x", "")];
    assert_eq!(works(&empty, &[]).access.anonymous, Some(Terms::default()), "[anonymous] with nothing in it");
    let ruled = works(&[("anonymous", "read_only", "true")], &[]).access.anonymous.unwrap();
    assert!(ruled.rules.is_read_only(), "without a client, too");
}

#[test]
fn a_listener_is_wide_where_every_caller_is_a_named_client() {
    let (section, key, value) = client();
    let known = (section, key, value.as_str());
    for address in ["\"0.0.0.0:8080\"", "\"[::]:8080\"", "[\"127.0.0.1:8080\", \"10.1.2.3:8080\"]", "\"[::ffff:10.0.0.1]:8080\""] {
        let wide = ("listen", "address", address);
        let warnings = works(&[known, wide], &[]).warnings;
        assert!(matches!(&warnings[..], [plain] if plain.what.contains("in plain text")), "{address}: {warnings:?}");
        for open in [&[wide][..], &[wide, known, ("anonymous", "x", "")], &[wide, known, ("listen", "policy", "\"report\"")]] {
            let problem = one(open, &[]);
            assert!(problem.key == "listen.address" && problem.what.contains("can be reached from other machines"), "{problem}");
            assert!(problem.hint.contains("[clients.NAME], no [anonymous], policy = \"enforce\""), "{problem}");
        }
        // What anonymous callers may does not matter: they are anybody.
        one(&[wide, known, ("anonymous", "read_only", "true")], &[]);
        let meant = works(&[wide, known, ("anonymous", "x", ""), ("listen", "insecure_allow_anonymous", "true")], &[]);
        assert_eq!(meant.warnings.len(), 2);
    }
    // Clients are no callers of the admin listener.
    assert_eq!(one(&[known, ("admin", "address", "\"0.0.0.0:8081\"")], &[]).key, "admin.address");
    // A client that is none opens nothing.
    let problems = parse(&[("listen", "address", "\"0.0.0.0:8080\""), ("clients.erp", "read_only", "true")], &[]).unwrap_err();
    assert!(problems.iter().any(|problem| problem.what == "can be known by nothing"), "{problems:#?}");
}

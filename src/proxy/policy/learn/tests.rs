//! From records to rules.

use http::{HeaderMap, Method};
use proptest::prelude::*;

use crate::proxy::policy::{Asked, Rule, Rules};

use super::*;

fn line(method: &str, path: &str, more: &str) -> String {
    format!("2026-11-23T18:41:22.123456Z  INFO access: {method} {path} id=\"x\"{more} bytes=0")
}

fn learned(lines: &[String]) -> Learned {
    let mut learned = Learned::default();
    lines.iter().for_each(|line| learned.line(line));
    learned
}

#[test]
fn each_caller_gets_a_section_of_its_own() {
    let learned = learned(&[
        line("GET", "/Cust1/api/v1/Contact/5", " tenant=\"Cust1\" client=\"billing\" status=200"),
        line("POST", "/Cust1/api/v1/Contact", " tenant=\"Cust1\" client=\"billing\" status=200"),
        line("GET", "/cust1/API/v1/contact", " tenant=\"Cust1\" client=\"billing\" status=404"),
        line("HEAD", "/Cust1/api/v1/Contact/6", " tenant=\"Cust1\" client=\"billing\" status=200"),
        line("GET", "/api/v1/List/Category/Items", " tenant=\"Cust2\" status=200 would_refuse=\"allow\""),
        line("OPTIONS", "/Cust1/Remote/", " tenant=\"Cust1\" status=200"),
        line("GET", "/Cust1/api/v1/x", " tenant=\"Cust1\" client=\"a.b \\\"c\\\"\" status=200"),
    ]);
    assert_eq!(
        learned.proposal(None),
        r#"# Rules learned from 7 access records.
# They go into the sections that these callers have in proxy.toml. Try them with listen.policy = "report" first.

[anonymous] # learned from 2 requests
tenants = ["Cust1", "Cust2"]
read_only = true
allow = [
    "OPTIONS /Remote/",
    "GET /api/v1/List/Category/Items",
]

[clients."a.b \"c\""] # learned from 1 request
tenants = ["Cust1"]
read_only = true
allow = [
    "GET /api/v1/x",
]

[clients.billing] # learned from 4 requests
tenants = ["Cust1"]
allow = [
    "GET,POST /api/v1/Contact",
    "GET /api/v1/Contact/*",
]
"#
    );
    let one = learned.proposal(Some("billing"));
    assert!(one.contains("[clients.billing]") && !one.contains("[anonymous]") && !one.contains("a.b"), "{one}");
    assert!(learned.proposal(Some("anonymous")).contains("[anonymous]"));
    assert_eq!(learned.callers().collect::<Vec<_>>(), [None, Some("a.b \"c\""), Some("billing")]);
}

#[test]
fn what_soproxy_answered_itself_teaches_nothing_and_what_it_refused_by_rule_is_listed() {
    let learned = learned(&[
        line("GET", "/Cust1/api/../x", " status=400 error=\"bad_target\""),
        line("GET", "/Nobody/api/v1/x", " status=404 error=\"unknown_tenant\""),
        line("GET", "/Cust1/api/v1/x", " tenant=\"Cust1\" status=504 error=\"upstream_timeout\""),
        line("GET", "/Cust1/api/v1/x", ""),
        line(
            "DELETE",
            "/Cust1/api/v1/Contact/5",
            " tenant=\"Cust1\" client=\"c\" status=403 error=\"not_allowed\" refused_by=\"read_only\"",
        ),
        line(
            "DELETE",
            "/Cust1/api/v1/Contact/6",
            " tenant=\"Cust1\" client=\"c\" status=403 error=\"not_allowed\" refused_by=\"read_only\"",
        ),
        line("GET", "/Cust9/api/v1/Contact/6", " client=\"c\" status=403 error=\"not_allowed\" refused_by=\"tenants\""),
        line("GET", "/Cust1/api/v1/x::$DATA", " tenant=\"Cust1\" client=\"c\" status=404 would_refuse=\"ambiguous (x)\""),
        "2026-11-23T18:41:22.123456Z  INFO soproxy::cli: serves".to_owned(),
        String::new(),
    ]);
    assert_eq!(
        learned.proposal(None),
        r#"# Rules learned from 8 access records; 4 that soproxy answered itself, and 1 other line, taught nothing.
# They go into the sections that these callers have in proxy.toml. Try them with listen.policy = "report" first.

# [clients.c]: nothing was let pass.
# 2 times refused by read_only: DELETE /api/v1/Contact/*
# 1 time allowed by no rule, for it is ambiguous: GET /api/v1/x::$DATA
# 1 time refused by tenants: GET /Cust9/api/v1/Contact/6
"#
    );
    assert_eq!(learned.records(), 8);
}

#[test]
fn patterns_that_others_cover_are_dropped() {
    let requests = [
        ("GET", "/api/v1/List/5"),
        ("POST", "/api/v1/List/5"),
        ("GET", "/api/v1/List/%41bc"),
        ("GET", "/api/v1/List/Abc"),
        ("HEAD", "/api/v1/List/Abc"),
        ("DELETE", "/api/v1/List/Abc"),
        ("HEAD", "/api/v1/Other"),
    ];
    let lines: Vec<String> = requests.iter().map(|(method, path)| line(method, path, " tenant=\"T\"")).collect();
    let learned = learned(&lines);
    let rules = learned.callers[&None].rules();
    assert_eq!(rules, ["GET,POST /api/v1/List/*", "DELETE /api/v1/List/Abc", "HEAD /api/v1/Other"]);
}

#[test]
fn what_stands_in_a_comment_stays_in_it() {
    let message = "GET /T/api/x\\n[anonymous]";
    let json = format!(r#"{{"message":"{message}","tenant":"T","error":"not_allowed","refused_by":"a\u0085\u202eb","target":"access"}}"#);
    let proposal = learned(&[json]).proposal(None);
    assert!(proposal.lines().all(|line| line.is_empty() || line.starts_with('#')), "{proposal}");
}

fn any_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        6 => "[A-Za-z]{1,3}",
        2 => "[0-9]{1,4}",
        1 => "Agents|List|Get[A-C]|get|Save[AB]",
        1 => "[a-z*$'\"(%]{0,3}|%41|%C3%85|[0-9a-f]{8}|\\{?[0-9a-f]{8}-1234-1234-1234-123456789abc\\}?",
    ];
    let path = proptest::collection::vec(segment, 0..4).prop_map(|segments| segments.join("/"));
    ("(/T|/t|)", "/(api/v1|API/v2|Remote|api|api/v1/Agents)", path, "/{0,2}").prop_map(|(t, a, path, end)| format!("{t}{a}/{path}{end}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With everything that was seen, whatever was made of it; and it can be read as TOML.
    #[test]
    fn every_record_is_allowed_by_what_is_proposed(
        seen in proptest::collection::vec((any_path(), "GET|HEAD|POST|get|X-Y", proptest::option::of("[a-c]|\\PC{1,3}")), 1..60)
    ) {
        let records = seen.iter().map(|(path, method, client)| {
            serde_json::json!({"message": format!("{method} {path}"), "tenant": "T", "client": client, "target": "access"}).to_string()
        });
        let learned = learned(&records.collect::<Vec<_>>());
        let proposal = learned.proposal(None);
        let read: figment::value::Dict = figment::Figment::from(<figment::providers::Toml as figment::providers::Format>::string(&proposal))
            .extract().map_err(|error| TestCaseError::fail(format!("{error}\n{proposal}")))?;
        for (path, method, client) in &seen {
            let behind = path.strip_prefix("/T").or(path.strip_prefix("/t")).unwrap_or(path);
            if Normal::of(behind).is_err() {
                continue;
            }
            let section = match client {
                None => &read["anonymous"],
                Some(client) => &read["clients"].as_dict().unwrap()[client],
            };
            let section = section.as_dict().unwrap();
            let texts = |key: &str| section[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            let allow: Vec<Rule> = texts("allow").iter().map(|rule| rule.parse().unwrap()).collect();
            let read_only = section.contains_key("read_only");
            let rules = Rules::new(Some(texts("tenants")), read_only, Some(allow), Vec::new());
            let method: Method = method.parse().unwrap();
            let judged = rules.judge(&Asked { tenant: "T", method: &method, headers: &HeaderMap::new(), path: behind });
            prop_assert!(judged.is_ok(), "{method} {path}: {}\n{proposal}", judged.unwrap_err());
        }
    }
}

//! What callers may do, judged by whole sets of rules.

use http::{HeaderName, HeaderValue};

use super::*;

fn rules(allow: Option<&[&str]>, deny: &[&str], read_only: bool) -> Rules {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Rule>>();
    Rules::new(None, read_only, allow.map(parse), parse(deny))
}

fn judge_with(rules: &Rules, method: &str, path: &str, headers: &[(&'static str, &'static str)]) -> String {
    let pair = |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers: HeaderMap = headers.iter().map(pair).collect();
    let method = method.parse().unwrap();
    let asked = Asked { tenant: "Cust12345", method: &method, headers: &headers, path };
    rules.judge(&asked).map_or_else(|refusal| refusal.to_string(), |()| "passes".to_owned())
}

fn judge(rules: &Rules, method: &str, path: &str) -> String {
    judge_with(rules, method, path, &[])
}

#[test]
fn rules_that_restrict_nothing_let_everything_pass() {
    let open = Rules::default();
    assert!(open.is_open() && open.may_address("any"));
    // Not even a path that has no normal form: it is not looked at.
    assert_eq!(judge_with(&open, "DELETE", "/api/x::$DATA/%ff", &[("x-http-method", "")]), "passes");
    let closed = [rules(Some(&[]), &[], false), rules(None, &["* /x"], false), rules(None, &[], true)];
    assert!(!closed.iter().any(Rules::is_open));
    assert!(!Rules::new(Some(vec![]), false, None, vec![]).is_open());
}

#[test]
fn a_caller_has_its_tenants_and_no_other() {
    let own = Rules::new(Some(vec!["Cust1".into(), "cust12345".into()]), false, None, vec![]);
    assert_eq!(judge(&own, "DELETE", "/api/%ff"), "passes");
    assert!(own.may_address("CUST1") && !own.may_address("Cust2") && !own.may_address(""));
    let other = Rules::new(Some(vec!["Cust1".into()]), true, Some(vec![]), vec!["* /**".parse().unwrap()]);
    assert_eq!(judge(&other, "GET", "/api"), "tenants", "tenants come first");
    assert_eq!(judge(&Rules::new(Some(vec![]), false, None, vec![]), "GET", "/api"), "tenants");
}

#[test]
fn deny_comes_before_read_only_and_that_before_allow() {
    let all = rules(Some(&["* /api/v1/Contact/**"]), &["* /api/v1/Contact/Secret/**"], true);
    assert_eq!(judge(&all, "GET", "/api/v1/Contact/5"), "passes");
    assert_eq!(judge(&all, "POST", "/api/v1/Contact/Secret"), "deny \"* /api/v1/Contact/Secret/**\"");
    assert_eq!(judge(&all, "POST", "/api/v1/Contact/5"), "read_only", "allow does not lift it");
    assert_eq!(judge(&all, "POST", "/api/v1/Person"), "read_only");
    assert_eq!(judge(&all, "GET", "/api/v1/Person"), "allow");
}

#[test]
fn an_empty_list_allows_nothing() {
    assert_eq!(judge(&rules(Some(&[]), &[], false), "GET", "/api"), "allow");
}

#[test]
fn read_only_is_get_head_and_options() {
    let read_only = rules(None, &[], true);
    for method in ["GET", "HEAD", "OPTIONS", "get", "Head"] {
        assert_eq!(judge(&read_only, method, "/api/%ff"), "passes", "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "MERGE", "SEARCH", "post", "UNKNOWN"] {
        assert_eq!(judge(&read_only, method, "/api/v1/Agents/Person/GetPerson"), "read_only", "{method}");
    }
}

#[test]
fn a_method_is_judged_without_regard_to_case() {
    assert_eq!(judge(&rules(None, &["DELETE /**"], false), "dElete", "/api"), "deny \"DELETE /**\"");
    assert_eq!(judge(&rules(Some(&["GET /**"]), &[], false), "get", "/api"), "passes");
    assert_eq!(judge(&rules(None, &["GET /**"], false), "HEAD", "/api"), "deny \"GET /**\"");
}

#[test]
fn a_claimed_method_must_be_allowed_as_well_as_the_real_one() {
    let read_only = rules(None, &[], true);
    assert_eq!(judge_with(&read_only, "GET", "/api", &[("x-http-method-override", "DELETE")]), "read_only");
    assert_eq!(judge_with(&read_only, "GET", "/api", &[("x_http_method", "delete")]), "read_only");
    assert_eq!(judge_with(&read_only, "POST", "/api", &[("x-method-override", "GET")]), "read_only");
    assert_eq!(judge_with(&read_only, "GET", "/api", &[("x-method-override", "HEAD")]), "passes");
    let odd = judge_with(&read_only, "GET", "/api", &[("x-http-method", "GET"), ("x-http-method-override", "GET")]);
    assert!(odd.starts_with("ambiguous ("), "{odd}");
    let deny = rules(Some(&["GET,POST /api/**"]), &["DELETE /api/**"], false);
    assert_eq!(judge_with(&deny, "POST", "/api", &[("x-http-method", "DELETE")]), "deny \"DELETE /api/**\"");
    assert_eq!(judge_with(&deny, "POST", "/api", &[("x-http-method", "MERGE")]), "allow");
    let tenants = Rules::new(Some(vec!["Cust12345".into()]), false, None, vec![]);
    assert_eq!(judge_with(&tenants, "GET", "/api", &[("x-http-method", "")]), "passes", "no rule asks for the method");
}

#[test]
fn a_path_with_empty_segments_must_be_allowed_by_both_readings() {
    let allow = rules(Some(&["GET /api/v1/*/b"]), &[], false);
    assert_eq!(judge(&allow, "GET", "/api/v1/a/b"), "passes");
    assert_eq!(judge(&allow, "GET", "/api/v1//b"), "allow");
    assert_eq!(judge(&allow, "GET", "/api/v1//a/b"), "allow");
    let deny = rules(None, &["* /api/v1/Secret"], false);
    for path in ["/api/v1/Secret/", "/api//v1/secret", "//api/v1///SECRET//"] {
        assert_eq!(judge(&deny, "GET", path), "deny \"* /api/v1/Secret\"", "{path}");
    }
    assert_eq!(judge(&rules(None, &["* /api//x"], false), "GET", "/api//x"), "deny \"* /api//x\"");
    // Each reading may have a rule of its own.
    let two = rules(Some(&["GET /api//x", "GET /api/x"]), &[], false);
    assert_eq!(judge(&two, "GET", "/api//x"), "passes");
}

#[test]
fn a_path_without_a_normal_form_is_refused_where_paths_count() {
    for path in ["/api/x::$DATA", "/api/v1/Secret.", "/api/\u{17f}ecret", "/api/%ff", "/api/%2e%2e/x", "/api/a%2fb", "x", "*"] {
        for rules in [rules(Some(&["* /**"]), &[], false), rules(None, &["* /never"], false)] {
            let refusal = judge(&rules, "GET", path);
            assert!(refusal.starts_with("ambiguous ("), "{path}: {refusal}");
        }
        assert_eq!(judge(&rules(None, &[], true), "GET", path), "passes", "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_denied_stays_denied_however_it_is_spelled(
        slashes in proptest::collection::vec("/{1,3}", 4), end in "/{0,2}", escaped in proptest::bits::u32::ANY, capitals in proptest::bits::u32::ANY,
    ) {
        let rules = rules(None, &["* /api/v1/Secret/Thing"], false);
        let mut path = String::new();
        for (slash, name) in slashes.iter().zip(["api", "v1", "secret", "thing"]) {
            path.push_str(slash);
            for c in name.chars() {
                let at = path.len() % 32;
                let c = if capitals >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
                if escaped >> at & 1 == 1 { path.push_str(&format!("%{:02x}", c as u32)) } else { path.push(c) }
            }
        }
        path.push_str(&end);
        proptest::prop_assert_eq!(judge(&rules, "GET", &path), "deny \"* /api/v1/Secret/Thing\"", "{}", path);
    }
}

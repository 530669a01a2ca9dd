//! Rules as they are written, and what they cover.

use super::super::normal::Normal;
use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn covers(pattern: &str, path: &str) -> bool {
    let path = Normal::of(path).unwrap();
    let rule = rule(&format!("* {pattern}"));
    path.readings().all(|reading| rule.covers(reading))
}

#[test]
fn a_name_is_itself_without_regard_to_case_and_escapes() {
    assert!(covers("/api/v1/Contact", "/API/v1/contact"));
    assert!(covers("/api/v1/Contact", "/api/v1/%43on%74act"));
    assert!(covers("/api/v1/%43ontact", "/api/v1/Contact"));
    assert!(covers("/api/v1/Åse Ø", "/api/v1/%c3%a5se%20%c3%b8"));
    assert!(covers("/api/%2A", "/api/*"));
    assert!(!covers("/api/%2A", "/api/x"));
    for path in ["/api/v1", "/api/v1/Contac", "/api/v1/Contacts", "/api/v1/Contact/1", "/x/api/v1/Contact", ""] {
        assert!(!covers("/api/v1/Contact", path), "{path}");
    }
}

#[test]
fn a_star_is_any_characters_of_one_segment() {
    assert!(covers("/api/v1/*/5", "/api/v1/Contact/5"));
    assert!(!covers("/api/v1/*/5", "/api/v1/a/b/5"));
    assert!(!covers("/api/v1/*", "/api/v1"));
    assert!(!covers("/api/v1/*", "/api/v1/a/b"));
    assert!(covers("/api/v1/Agents/*/Get*", "/api/v1/agents/Person/GetPerson"));
    assert!(covers("/api/v1/Agents/*/Get*", "/api/v1/agents/Person/get"));
    assert!(!covers("/api/v1/Agents/*/Get*", "/api/v1/agents/Person/SaveGetPerson"));
    assert!(!covers("/api/v1/Agents/*/Get*", "/api/v1/agents/Person/Get/x"));
    assert!(covers("/a*b*c", "/abc") && covers("/a*b*c", "/aXbYbZc") && covers("/*b*b*", "/bb"));
    assert!(!covers("/a*a", "/a") && !covers("/a*b*c", "/acb") && !covers("/*b*b*", "/b"));
}

#[test]
fn two_stars_are_any_number_of_segments() {
    for path in ["/api", "/api/", "/api/v1", "/api/v1/Contact/5", "/api//v1", "/api/v1//"] {
        assert!(covers("/api/**", path), "{path}");
    }
    assert!(!covers("/api/**", "/apis") && !covers("/api/**", "/") && !covers("/api/**", ""));
    assert!(covers("/**", "") && covers("/**", "/") && covers("/**", "/a/b"));
    assert!(covers("/a/**/z", "/a/z") && covers("/a/**/z", "/a/b/z/z") && !covers("/a/**/z", "/a/z/b"));
    assert!(covers("/**/b/*/**/c", "/b/b/x/c/y/c") && !covers("/**/b/*/**/c", "/b/c"));
    assert!(covers("/**/**/a", "/a"));
}

#[test]
fn empty_segments_count_in_one_reading_and_not_in_the_other() {
    assert!(covers("/api/v1/Archive//$metadata", "/api/v1/Archive//$metadata"));
    assert!(!covers("/api/v1/Archive/$metadata", "/api/v1/Archive//$metadata"));
    assert!(!covers("/api/v1/Archive//$metadata", "/api/v1/Archive/$metadata"));
    assert!(covers("/api/v1/Archive/", "/api/v1/Archive/"));
    assert!(!covers("/api/v1/Archive", "/api/v1/Archive/"));
    assert!(!covers("/api/*/x", "/api//x") && !covers("/api/*", "/api/"));
}

#[test]
fn a_rule_for_get_is_one_for_head() {
    assert!(rule("GET /a").is_for("GET") && rule("GET /a").is_for("HEAD"));
    assert!(rule("HEAD /a").is_for("HEAD") && !rule("HEAD /a").is_for("GET"));
    assert!(rule("POST,GET /a").is_for("HEAD") && rule("POST,GET /a").is_for("POST") && !rule("POST,GET /a").is_for("PUT"));
    assert!(rule("* /a").is_for("WHATEVER"));
}

#[test]
fn a_rule_is_shown_as_it_was_written() {
    for text in ["GET /api/v1/**", "POST /api/v1/Agents/*/Get*", "GET,HEAD /api/%41", "* /Remote/**"] {
        assert_eq!(rule(text).to_string(), text);
        assert_eq!(rule(&format!("  {text} ")), rule(text));
    }
}

#[test]
fn what_is_no_rule_is_told_what_to_write() {
    for (text, says) in [
        ("", "such as \"GET,HEAD /api/v1/**\""),
        ("GET", "there is no path"),
        ("/api/v1/**", "there is no method"),
        ("get /api", "in capitals"),
        ("GET, POST /api", "no method"),
        ("GET,,POST /api", "no method"),
        ("G*T /api", "no method"),
        ("GET api/v1", "does not begin with a slash"),
        ("GET POST /api", "does not begin with a slash"),
        ("GET /api/***", "** is a segment of its own"),
        ("GET /api/v**", "** is a segment of its own"),
        ("GET /api?$top=1", "leave out the query"),
        ("GET /api%3fx", "ever allowed"),
        ("GET /api/../x", "ever allowed"),
        ("GET /api/x.", "ever allowed"),
        ("GET /api/*.", "ever allowed"),
        ("GET /api/a%2fb", "ever allowed"),
        ("GET /api/a;b", "ever allowed"),
        ("GET /api/a\\b", "ever allowed"),
        ("GET /api/%2", "ever allowed"),
        ("GET /api/%252e", "ever allowed"),
        ("GET /api/\u{ff0f}", "ever allowed"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// The same by recursion, which is slow and plain.
fn plainly(pattern: &[&str], path: &[&str]) -> bool {
    fn glob(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|taken| glob(rest, &name[taken..])),
            [byte, rest @ ..] => name.first() == Some(byte) && glob(rest, &name[1..]),
        }
    }
    match pattern {
        [] => path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|taken| plainly(rest, &path[taken..])),
        [one, rest @ ..] => path.split_first().is_some_and(|(name, path)| glob(one.as_bytes(), name.as_bytes()) && plainly(rest, path)),
    }
}

proptest::proptest! {
    #[test]
    fn matching_is_what_recursion_says(pattern in "(/([*][*]|[ab*]{1,3})){1,5}", path in "(/[ab]{1,3}){0,6}") {
        let pattern = pattern.replace("***", "b");
        proptest::prop_assume!(!pattern.split('/').any(|segment| segment != "**" && segment.contains("**")));
        let names = |text: &'_ str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let (patterns, paths) = (names(&pattern), names(&path));
        let plain = plainly(&patterns.iter().map(|s| &**s).collect::<Vec<_>>(), &paths.iter().map(|s| &**s).collect::<Vec<_>>());
        proptest::prop_assert_eq!(covers(&pattern, &path), plain);
    }

    #[test]
    fn no_text_makes_a_rule_panic(text in "\\PC{0,24}", path in "[ -~å]{0,12}") {
        for text in [text.clone(), format!("GET /{text}")] {
            if let (Ok(rule), Ok(path)) = (text.parse::<Rule>(), Normal::of(&path)) {
                path.readings().for_each(|reading| { rule.covers(reading); });
                proptest::prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
        }
    }
}

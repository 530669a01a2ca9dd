//! Every way to name a tenant, what comes first, and what is refused.

use proptest::prelude::*;

use super::*;

/// Who is asked, how it was said, which part (empty for the web API), and what follows.
type Seen<'a> = (u32, Way<'a>, &'a str, &'a str);

fn seen<'a>(found: Result<Found<'a, u32>, ProxyError>) -> Result<Seen<'a>, ProxyError> {
    found.map(|found| match found {
        Found::Carried(Matched { tenant, way, route: Route::Api, rest }) => (*tenant, way, "", rest),
        Found::Carried(Matched { tenant, way, route: Route::Further(route) | Route::Soap(route), rest }) => (*tenant, way, route, rest),
        Found::State { tenant, way } => (*tenant, way, "state", ""),
    })
}

/// `label` and `twin` are two applications of one customer's, Cust9.
fn routes() -> Routes<u32> {
    let names = ["Cust12345", "other", "label", "twin"];
    Routes::new(names.into_iter().map(str::to_owned).zip(1..))
        .known_as([("Cust12345", "Cust12345"), ("other", "OTHER"), ("label", "Cust9"), ("twin", "cust9")])
        .carrying(&["CS".to_owned()])
}

fn is_bad<T: std::fmt::Debug>(found: Result<T, ProxyError>) -> bool {
    matches!(found, Err(ProxyError::BadTarget(_)))
}

#[test]
fn by_path() {
    let routes = routes();
    let find = |path| seen(routes.find(path, None, None));
    assert_eq!(find("/Cust12345/api/v1/Contact/3"), Ok((1, Way::Path("Cust12345"), "", "/v1/Contact/3")));
    assert_eq!(find("/cust12345/API/v1//x"), Ok((1, Way::Path("cust12345"), "", "/v1//x")));
    assert_eq!(find("/OTHER/api"), Ok((2, Way::Path("OTHER"), "", "")));
    assert_eq!(find("/other/api/"), Ok((2, Way::Path("other"), "", "/")));
    assert_eq!(find("/other/cs/scripts/x.fcgi/"), Ok((2, Way::Path("other"), "cs", "/scripts/x.fcgi/")));
    for unknown in
        ["", "/", "*", "/favicon.ico", "/Cust1/api/v1", "//Cust12345/api", "/Cust12345%20/api", "/Cust9/api/v1", "/api/v1", "/CS/x"]
    {
        assert_eq!(find(unknown), Err(ProxyError::UnknownTenant), "{unknown}");
    }
    for bad in ["/Cust12345", "/Cust12345/", "/Cust12345/apis/v1", "/Cust12345//api", "/Cust12345/CSx/", "/Cust12345/other/api/v1"] {
        assert!(is_bad(find(bad)), "{bad}");
    }
}

#[test]
fn by_listener_and_by_host() {
    let routes = routes();
    for (door, host, way) in [
        (Some("Cust12345"), None, Way::Listener),
        (None, Some("cust12345"), Way::Host),
        (Some("Cust12345"), Some("CUST12345"), Way::Listener),
    ] {
        let find = |path| seen(routes.find(path, door, host));
        assert_eq!(find("/api/v1/Contact/3"), Ok((1, way, "", "/v1/Contact/3")));
        assert_eq!(find("/API"), Ok((1, way, "", "")));
        assert_eq!(find("/CS/x"), Ok((1, way, "CS", "/x")));
        assert_eq!(find("/cusT12345/api/v1/x"), Ok((1, Way::Path("cusT12345"), "", "/v1/x")));
        assert_eq!(find("/Cust12345/cs"), Ok((1, Way::Path("Cust12345"), "cs", "")));
        for unknown in ["/other/api/v1/x", "/nobody/api/v1/x", "/", "", "/v1/Contact/3", "/label/CS/x"] {
            assert_eq!(find(unknown), Err(ProxyError::UnknownTenant), "{unknown}");
        }
        assert!(is_bad(find("/Cust12345/v1/x")));
    }
}

#[test]
fn two_tenants_at_once_are_none() {
    let find = |path, door, host| seen(routes().find(path, door, host)).map(|seen| seen.0);
    for path in ["/api/v1/x", "/Cust12345/api/v1/x", "/other/api/v1/x"] {
        assert_eq!(find(path, Some("Cust12345"), Some("other")), Err(ProxyError::UnknownTenant), "{path}");
    }
    assert_eq!(find("/api/v1/x", Some("gone"), None), Err(ProxyError::UnknownTenant), "a reload took it away");
    assert_eq!(find("/Cust12345/api/v1/x", Some("gone"), None), Err(ProxyError::UnknownTenant));
}

#[test]
fn by_default() {
    let routes = routes().by_default(Some("Other"));
    let find = |path| seen(routes.find(path, None, None));
    assert_eq!(find("/api/v1/x"), Ok((2, Way::Default, "", "/v1/x")));
    assert_eq!(find("/CS/x"), Ok((2, Way::Default, "CS", "/x")));
    assert_eq!(find("/Cust12345/api/v1/x"), Ok((1, Way::Path("Cust12345"), "", "/v1/x")), "a path that names a tenant counts more");
    assert_eq!(find("/other/api/v1/x"), Ok((2, Way::Path("other"), "", "/v1/x")));
    for unknown in ["/nobody/api/v1/x", "/v1/x", "/", ""] {
        assert_eq!(find(unknown), Err(ProxyError::UnknownTenant), "{unknown}");
    }
    assert_eq!(seen(routes.find("/api/x", None, Some("label"))), Ok((3, Way::Host, "", "/x")), "a host that names a tenant, too");
    assert_eq!(seen(routes.find("/api/x", Some("label"), None)), Ok((3, Way::Listener, "", "/x")));
}

#[test]
fn marked_paths_lead_where_the_others_do() {
    let routes = routes().by_default(Some("label"));
    let find = |path, door| seen(routes.find(path, door, None));
    for authority in ["~sod3.superoffice.com", "~sod3.superoffice.com:443", "~[::1]:8090", "~"] {
        let found = routes
            .find(&format!("/other/{authority}/Other/api/v1/x"), None, None)
            .map(|found| matches!(found, Found::Carried(Matched { tenant: 2, rest: "/v1/x", .. })));
        assert_eq!(found, Ok(true), "{authority}");
    }
    assert_eq!(find("/Cust12345/~a/cust12345/api/v1/x", None), Ok((1, Way::Path("Cust12345"), "", "/v1/x")));
    assert_eq!(find("/label/~a/CUST9/CS", None), Ok((3, Way::Path("label"), "CS", "")), "by its context identifier");
    assert_eq!(find("/twin/~a/cust9/api", None).map(|seen| seen.0), Ok(4));
    assert_eq!(find("/~a/Cust12345/api/v1/x", Some("Cust12345")), Ok((1, Way::Listener, "", "/v1/x")));
    assert_eq!(find("/Cust12345/~a/Cust12345/api/v1/x", Some("Cust12345")), Ok((1, Way::Path("Cust12345"), "", "/v1/x")));
    assert_eq!(find("/~a/Cust9/api/v1/x", None), Ok((3, Way::Default, "", "/v1/x")));
    for (bad, door) in [
        ("/Cust12345/~a/other/api/v1/x", None),
        ("/Cust12345/~a/nobody/api/v1/x", None),
        ("/Cust12345/~a/Cust12345/apis/v1/x", None),
        ("/Cust12345/~a/Cust12345/~b/Cust12345/api/v1/x", None),
        ("/Cust12345/~a/api/v1/x", None),
        ("/Cust12345/~a", None),
        ("/~a/other/api/v1/x", Some("Cust12345")),
        ("/~a/other/api/v1/x", None),
    ] {
        assert!(is_bad(find(bad, door)), "{bad}");
    }
}

#[test]
fn states() {
    let routes = routes();
    let find = |path, door| seen(routes.find(path, door, None));
    assert_eq!(find("/api/state/Cust12345", None), Ok((1, Way::Path("Cust12345"), "state", "")));
    assert_eq!(find("/API/State/CUST12345/", None), Ok((1, Way::Path("Cust12345"), "state", "")), "spelled so that it can be followed");
    assert_eq!(find("/api/state/cust9", None), Ok((3, Way::Path("label"), "state", "")), "the first of them");
    assert_eq!(find("/api/state/Twin", None), Ok((4, Way::Path("twin"), "state", "")));
    assert_eq!(find("/api/state/Cust9", Some("twin")), Ok((4, Way::Listener, "state", "")));
    assert_eq!(seen(routes.find("/api/state/Cust9", None, Some("twin"))), Ok((4, Way::Host, "state", "")));
    for (unknown, door) in
        [("/api/state/nobody", None), ("/api/state/", None), ("/api/state/other", Some("Cust12345")), ("/api/states/x", None)]
    {
        assert_eq!(find(unknown, door), Err(ProxyError::UnknownTenant), "{unknown}");
    }
    assert_eq!(find("/other/api/state/Cust12345", None), Ok((2, Way::Path("other"), "", "/state/Cust12345")), "is SuperOffice's to answer");
    let routes = routes.by_default(Some("label"));
    assert_eq!(seen(routes.find("/api/state/Cust12345", None, None)).map(|seen| seen.0), Ok(1), "whoever is asked by default");
    assert_eq!(seen(routes.find("/api/state/nobody", None, None)), Err(ProxyError::UnknownTenant));
}

/// A name may be another tenant's identifier.
#[test]
fn names_count_more_than_context_identifiers() {
    let routes = Routes::new([("a".to_owned(), 1), ("b".to_owned(), 2)]).known_as([("a", "b"), ("b", "c")]);
    assert_eq!(seen(routes.find("/api/state/b", None, None)).map(|seen| seen.0), Ok(2));
    assert_eq!(seen(routes.find("/api/state/b", Some("a"), None)).map(|seen| seen.0), Ok(1));
    assert_eq!(seen(routes.find("/a/~x/b/api", None, None)).map(|seen| seen.0), Ok(1));
    assert!(is_bad(routes.find("/b/~x/a/api", None, None)));
}

#[test]
fn no_tenants_no_routes() {
    let routes = Routes::<u32>::new([]).by_default(Some("Cust12345"));
    for path in ["//api", "/Cust12345/api", "/api/v1", "/api/state/Cust12345"] {
        assert_eq!(routes.find(path, None, None), Err(ProxyError::UnknownTenant));
        assert_eq!(routes.find(path, Some("Cust12345"), None), Err(ProxyError::UnknownTenant));
    }
}

/// The same said slowly, segment by segment.
fn slowly(path: &str, door: Option<u32>, default: Option<u32>) -> Option<(u32, String)> {
    let number = |name: &str| ["cust12345", "other", "label", "twin"].iter().position(|have| *have == name).map(|at| at as u32 + 1);
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    let folded: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let named = folded.first().and_then(|first| number(first));
    let tenant = match (door, named) {
        (Some(door), Some(named)) => (door == named).then_some(door)?,
        (Some(door), None) => door,
        (None, Some(named)) => named,
        (None, None) => default?,
    };
    let mut at = usize::from(named.is_some());
    if folded.get(at)?.starts_with('~') {
        let context = folded.get(at + 1)?;
        if number(context) != Some(tenant) && !(context == "cust9" && tenant >= 3) {
            return None;
        }
        at += 2;
    }
    if !matches!(folded.get(at)?.as_str(), "api" | "cs") {
        return None;
    }
    let rest: String = segments.drain(at + 1..).map(|segment| format!("/{segment}")).collect();
    Some((tenant, rest))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_is_the_same_as_segment_by_segment(
        segments in proptest::collection::vec(
            prop_oneof![Just("api"), Just("Api"), Just("CS"), Just("other"), Just("OTHER"), Just("label"), Just("Cust9"), Just("~a"), Just("~a:1"), Just("v1"), Just("")], 0..6),
        door in proptest::option::of(prop_oneof![Just(2_u32), Just(3)]),
        by_host: bool,
        default in proptest::option::of(prop_oneof![Just(2_u32), Just(3)]),
    ) {
        const NAMES: [&str; 4] = ["Cust12345", "other", "label", "twin"];
        let name = |number: u32| NAMES[number as usize - 1];
        let routes = routes().by_default(default.map(name));
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        let own = door.map(name);
        let found = if by_host { routes.find(&path, None, own) } else { routes.find(&path, own, None) };
        let found = found.ok().map(|found| match found {
            Found::Carried(matched) => (*matched.tenant, matched.rest.to_owned()),
            Found::State { .. } => panic!("nobody asked"),
        });
        prop_assert_eq!(found, slowly(&path, door, default), "{}", path);
    }

    #[test]
    fn no_path_makes_it_panic_and_what_follows_is_its_end(path in "(/[~a-zA-Z0-9.:%]{0,6}|/api|/state|/other|/Cust9|é){0,6}", door in proptest::option::of("other|label")) {
        let routes = routes().by_default(Some("twin"));
        if let Ok(Found::Carried(matched)) = routes.find(&path, door.as_deref(), None) {
            prop_assert!(path.ends_with(matched.rest) && (matched.rest.is_empty() || matched.rest.starts_with('/')));
        }
    }
}

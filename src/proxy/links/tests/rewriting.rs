//! `all`: there, back, in pieces.

use proptest::prelude::*;

use super::naive::Naive;
use super::*;

/// Pieces of addresses, and what could be taken for them.
pub(in super::super) fn fragments() -> impl Strategy<Value = Vec<u8>> {
    const FRAGMENTS: &[&str] = &[
        "http",
        "https",
        "HTTPS",
        "https://",
        "http://",
        r"https:\/\/",
        r"https:\//",
        "://",
        ":",
        "/",
        r"\/",
        "\\",
        "~",
        "/~",
        r"\/~",
        "online2.superoffice.com",
        "Online2.SuperOffice.com",
        "online1.superoffice.com",
        "sod2.superoffice.com",
        "evil.example.org",
        ":443",
        ":4430",
        "/Cust12345",
        r"\/Cust12345",
        "/cust12345",
        "/Cust123456",
        "Cust12345",
        "\"",
        " ",
        ".",
        "?",
        "#",
        "localhost:8080",
        "é",
        "<",
        "https://online2.superoffice.com/Cust12345",
        r"https:\/\/online2.superoffice.com\/Cust12345",
        "https://online2.superoffice.com:443/Cust12345",
        "https://online1.superoffice.com/Cust12345",
        r"https:\/\/online1.superoffice.com:443\/CUST12345",
        "https://online2.superoffice.com/Cust12345/~online1.superoffice.com/Cust12345",
        "/~online2.superoffice.com:443/Cust12345",
        r"\/~online1.superoffice.com\/Cust12345",
        "/api/v1/Contact/3",
        "{\"a\":",
        ",",
        "[",
        "]",
    ];
    proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..14).prop_map(|parts| parts.concat().into_bytes())
}

pub(in super::super) fn cut(text: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| text[ends[0]..ends[1]].to_vec()).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
}

/// Through a rewriter, piece by piece.
pub(in super::super) fn through(world: &World, mode: Mode, format: Format, direction: Direction, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut rewriter = world.links(mode).rewriter(format, direction).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        let mut more = Vec::new();
        if rewriter.push(piece, &mut more) {
            assert!(more.is_empty());
            more.extend_from_slice(piece);
        }
        assert!(rewriter.held() < 400, "{}", rewriter.held());
        out.extend(more);
    }
    rewriter.finish(&mut out);
    out
}

fn all(world: &World, direction: Direction, text: &[u8]) -> Vec<u8> {
    through(world, Mode::All, Format::Json, direction, &[text.to_vec()])
}

fn show(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

const WORLDS: [(&str, &[&str]); 5] = [
    (OURS, &["http://127.0.0.1:8080/Cust12345"]),
    ("http://127.0.0.1:8081", &["http://127.0.0.1:8081/Cust12345", "http://localhost:8080/Cust12345"]),
    ("https://crm.example/so/Cust12345", &["https://crm.example/so", "https://crm.example"]),
    ("http://[::1]:8080/Cust12345", &[]),
    ("https://cust12345.localhost", &["https://cust12345.localhost/~", "https://cust12345.localhost/api"]),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn in_pieces_is_as_at_once_and_as_the_naive_way(text in fragments(), cuts in cuts()) {
        let world = World::new();
        let whole = all(&world, Direction::Answer, &text);
        prop_assert_eq!(show(&whole), show(&Naive::theirs().all(&text, OURS)));
        let pieces = through(&world, Mode::All, Format::Json, Direction::Answer, &cut(&text, &cuts));
        prop_assert_eq!(show(&pieces), show(&whole));
    }

    #[test]
    fn there_and_back_is_the_identity(text in fragments(), cuts in cuts(), world in 0..WORLDS.len(), shared in any::<bool>()) {
        let (ours, aliases) = WORLDS[world];
        let mut world = World::at(ours, aliases);
        world.caller.shared = shared;
        // "localhost:8080" with the right things around it is a proxy's address.
        prop_assume!(all(&world, Direction::Request, &text) == text);
        let there = all(&world, Direction::Answer, &text);
        let back = through(&world, Mode::All, Format::Json, Direction::Request, &cut(&there, &cuts));
        prop_assert_eq!(show(&back), show(&text), "by way of {}", show(&there));
        prop_assert_eq!(show(&all(&world, Direction::Request, &there)), show(&text));
    }

    #[test]
    fn byte_by_byte(text in fragments()) {
        let world = World::new();
        let bytes: Vec<Vec<u8>> = text.iter().map(|&byte| vec![byte]).collect();
        let there = through(&world, Mode::All, Format::Json, Direction::Answer, &bytes);
        prop_assert_eq!(show(&there), show(&all(&world, Direction::Answer, &text)));
        let bytes: Vec<Vec<u8>> = there.iter().map(|&byte| vec![byte]).collect();
        let back = through(&world, Mode::All, Format::Json, Direction::Request, &bytes);
        prop_assert_eq!(show(&back), show(&all(&world, Direction::Request, &there)));
    }
}

#[test]
fn spellings_of_theirs() {
    let there = |text: &str| show(&all(&World::new(), Direction::Answer, text.as_bytes()));
    for (theirs, ours) in [
        ("https://online2.superoffice.com/Cust12345", OURS),
        ("https://online2.superoffice.com/Cust12345/api/v1", "http://localhost:8080/Cust12345/api/v1"),
        (r"https:\/\/online2.superoffice.com\/Cust12345\/api", r"http:\/\/localhost:8080\/Cust12345\/api"),
        ("https://online2.superoffice.com:443/Cust12345/x", "http://localhost:8080/Cust12345/~online2.superoffice.com:443/Cust12345/x"),
        ("https://Online1.SuperOffice.com/CUST12345\"", "http://localhost:8080/Cust12345/~Online1.SuperOffice.com/CUST12345\""),
        ("https://online2.superoffice.com/Cust12345/~x", "http://localhost:8080/Cust12345/~online2.superoffice.com/Cust12345/~x"),
    ] {
        assert_eq!(there(theirs), ours);
        assert_eq!(show(&all(&World::new(), Direction::Request, ours.as_bytes())), theirs);
    }
    for same in [
        "https://online2.superoffice.com/Cust123456/api",
        "https://online2.superoffice.com/Cust1234",
        "https://online2.superoffice.com/Cust12345.old/",
        "https://online2.superoffice.com/Cust12345%20/",
        "https://online2.superoffice.com:4430/Cust12345/",
        "https://online2.superoffice.com.evil.org/Cust12345/",
        "https://online3.superoffice.com/Cust12345/",
        "http://online2.superoffice.com/Cust12345/",
        "HTTPS://online2.superoffice.com/Cust12345/",
        r"https:\/\/online2.superoffice.com/Cust12345",
        "//online2.superoffice.com/Cust12345",
    ] {
        assert_eq!(there(same), same);
    }
}

#[test]
fn what_comes_back_by_any_name_of_ours() {
    let back = |text: &str| show(&all(&World::new(), Direction::Request, text.as_bytes()));
    const THEIRS: &str = "https://online2.superoffice.com/Cust12345";
    for ours in [OURS, "http://127.0.0.1:8080/Cust12345", "http://LOCALHOST:8080/cust12345"] {
        assert_eq!(back(ours), THEIRS);
        assert_eq!(back(&format!("{ours}/~sod2.superoffice.com/Cust12345?x")), "https://sod2.superoffice.com/Cust12345?x");
        // No host of SuperOffice's: no address of it comes from us.
        assert_eq!(back(&format!("{ours}/~evil.example/Cust12345")), format!("{THEIRS}/~evil.example/Cust12345"));
        assert_eq!(back(&format!("{ours}/~sod2.superoffice.com/Other")), format!("{THEIRS}/~sod2.superoffice.com/Other"));
    }
    for same in [
        "http://localhost:80801/Cust12345",
        "http://localhost:8080/Cust123456",
        "https://localhost:8080/Cust12345",
        "localhost:8080/Cust12345",
    ] {
        assert_eq!(back(same), same);
    }
}

#[test]
fn a_previous_home_that_may_not_be_called_stays_as_it_is() {
    let previous = base("https://old.example.org/Cust12345");
    let mut world = World::new();
    world.homes = Arc::new(Homes::new(&base("https://online2.superoffice.com/Cust12345"), [&previous]));
    let text = b"https://old.example.org/Cust12345/api";
    assert_eq!(all(&world, Direction::Answer, text), text);
    let known = through(
        &world,
        Mode::Known,
        Format::Json,
        Direction::Answer,
        &[br#"{"odata.id":"https://old.example.org/Cust12345/api"}"#.to_vec()],
    );
    assert_eq!(show(&known), r#"{"odata.id":"http://localhost:8080/Cust12345/api"}"#);
}

#[test]
fn a_sandbox_without_tls_and_an_origin_alone() {
    let mut world = World::new();
    for (home, text, expected) in [
        ("http://127.0.0.1:8090/Cust12345", "http://127.0.0.1:8090/Cust12345/api", "http://localhost:8080/Cust12345/api"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090", OURS),
        ("http://127.0.0.1:8090", "http://127.0.0.1:80901", "http://127.0.0.1:80901"),
        ("http://127.0.0.1", "http://127.0.0.1:80/x", "http://localhost:8080/Cust12345/x"),
        ("http://127.0.0.1", "http://127.0.0.1:8090/x", "http://127.0.0.1:8090/x"),
    ] {
        world.homes = Arc::new(Homes::new(&base(home), []));
        let there = through(&world, Mode::Known, Format::Json, Direction::Answer, &[format!(r#"{{"_Links":"{text}"}}"#).into_bytes()]);
        assert_eq!(show(&there), format!(r#"{{"_Links":"{expected}"}}"#));
    }
}

#[test]
fn where_other_things_live_only_the_tenants_own_paths_are_its_address() {
    let mut world = World::at("http://localhost:8080", &["http://localhost:8080/cust12345"]);
    (world.caller.shared, world.caller.shared_aliases) = (true, vec!["https://intranet.example"]);
    let theirs = "https://online2.superoffice.com/Cust12345";
    for (ours, goes_back) in [
        ("https://intranet.example/api/v1/x", Some("/api/v1/x")),
        (r"https:\/\/intranet.example\/api\/v1", Some(r"\/api\/v1")),
        ("http://localhost:8080/api", Some("/api")),
        ("http://localhost:8080/cs/x", Some("/cs/x")),
        ("http://localhost:8080/Cust12345/api", Some("/api")),
        ("https://intranet.example/wiki/api", None),
        ("https://intranet.example/apis", None),
        ("https://intranet.example/", None),
        ("https://intranet.example", None),
        ("http://localhost:8080/Cust54321/api/v1", None),
    ] {
        let expected = goes_back.map_or(ours.to_owned(), |rest| super::naive::slashes(theirs, rest.contains('\\')) + rest);
        let text = |url: &str| format!(r#"{{"a":"{url}"}}"#).into_bytes();
        for pieces in [vec![text(ours)], text(ours).iter().map(|&byte| vec![byte]).collect()] {
            let back = through(&world, Mode::All, Format::Json, Direction::Request, &pieces);
            assert_eq!(show(&back), show(&text(&expected)), "{ours}");
        }
    }
    let to_callers = all(&world, Direction::Answer, format!("{theirs}/api/1 {theirs}/CS {theirs}/wiki {theirs}").as_bytes());
    assert_eq!(show(&to_callers), format!("http://localhost:8080/api/1 http://localhost:8080/CS {theirs}/wiki {theirs}"));
}

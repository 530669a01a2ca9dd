//! Heads, and which bodies are looked at.

use super::*;

const THEIRS: &str = "https://online2.superoffice.com/Cust12345";
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

fn link(url: &str) -> String {
    format!(r#"{{"odata.id":"{url}/api/v1/Contact/3","x":"{THEIRS}"}}"#)
}

async fn header(world: &World, name: &'static str, value: &str) -> String {
    let (headers, _) = get(&world.links(Mode::Known), &[(name, value)], Source::default()).await;
    headers[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn headers_that_point_home_are_rewritten() {
    let world = World::new();
    for name in ["location", "content-location", "odata-entityid"] {
        for (theirs, rest) in [
            ("https://online2.superoffice.com/Cust12345/api/v1/Contact/3", "/api/v1/Contact/3"),
            ("https://Online2.SuperOffice.com:443/cust12345", ""),
            ("HTTPS://online1.superoffice.com/Cust12345?x#y", "?x#y"),
            ("//online2.superoffice.com/Cust12345/x", "/x"),
        ] {
            assert_eq!(header(&world, name, theirs).await, format!("{OURS}{rest}"));
        }
        for same in [
            "https://online2.superoffice.com/Cust123456/api",
            "https://online2.superoffice.com/Cust12345,x",
            "https://online2.superoffice.com.evil.org/Cust12345",
            "https://evil.org/?https://online2.superoffice.com/Cust12345",
            "https://login.superoffice.com/Cust12345",
            "/Cust12345/api/v1/Contact/3",
            "Contact/3",
            "",
        ] {
            assert_eq!(header(&world, name, same).await, same);
        }
    }
    assert_eq!(header(&world, "refresh", THEIRS).await, THEIRS);
    let links = format!("<{THEIRS}/a>; rel=\"next\", <https://b.org/>; title=\"<\", <{THEIRS}?c>");
    assert_eq!(header(&world, "link", &links).await, links.replace(THEIRS, OURS));
}

#[tokio::test]
async fn a_relative_location_stays_on_the_proxy() {
    for (ours, theirs, expected) in [
        ("http://127.0.0.1:8081", "/Cust12345/api/v1/Contact/3", "/api/v1/Contact/3"),
        ("http://127.0.0.1:8081", "/cust12345", "/"),
        ("https://crm.example/so/Cust12345", "/Cust12345?x", "/so/Cust12345?x"),
        ("https://crm.example/so/Cust12345", "/Cust123456", "/Cust123456"),
        ("https://crm.example/so/Cust12345", "Contact/3", "Contact/3"),
    ] {
        assert_eq!(header(&World::at(ours, &[]), "location", theirs).await, expected);
    }
}

#[tokio::test]
async fn off_touches_nothing() {
    let world = World::new();
    let lines = [JSON, ("location", THEIRS)];
    let (headers, body) = get(&world.links(Mode::Off), &lines, Source::of([link(THEIRS)]).declared()).await;
    assert_eq!((headers["location"].to_str().unwrap(), body), (THEIRS, link(THEIRS).into_bytes()));
}

#[tokio::test]
async fn only_json_and_xml_are_looked_at() {
    let world = World::new();
    let rewritten = async |lines: &[(&'static str, &str)]| {
        let (_, body) = get(&world.links(Mode::All), lines, Source::of([link(THEIRS)]).declared()).await;
        assert!(body == link(THEIRS).into_bytes() || body == link(THEIRS).replace(THEIRS, OURS).into_bytes());
        body != link(THEIRS).into_bytes()
    };
    for good in [
        "application/json",
        "Application/JSON ; odata=verbose",
        "text/json;charset=\"UTF-8\"",
        "text/xml; charset=ISO-8859-1",
        "application/xml",
        "application/json-patch+json",
        "application/atom+xml; charset=us-ascii",
    ] {
        assert!(rewritten(&[("content-type", good)]).await, "{good}");
    }
    for bad in ["text/html", "application/octet-stream", "application/json; charset=utf-16", "image/json", "application/jsonx", "json", ""]
    {
        assert!(!rewritten(&[("content-type", bad)]).await, "{bad}");
    }
    assert!(!rewritten(&[]).await);
    assert!(!rewritten(&[JSON, ("content-type", "text/html")]).await);
    assert!(rewritten(&[JSON, ("content-encoding", "identity")]).await);
    assert!(rewritten(&[JSON, ("content-disposition", "inline; filename=attachment")]).await);
    for other in [
        ("content-encoding", "zstd"),
        ("content-encoding", "gzip, gzip"),
        ("content-range", "bytes 0-9/10"),
        ("content-disposition", "Attachment; filename=\"a.json\""),
    ] {
        assert!(!rewritten(&[JSON, other]).await, "{other:?}");
    }
    for status in [StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED] {
        let mut response = answer(&[JSON], Source::of([link(THEIRS)]).declared());
        *response.status_mut() = status;
        let body = world.links(Mode::All).answered(&Method::GET, response).await.into_body();
        assert_eq!(read(body).await.0, link(THEIRS).into_bytes());
    }
}

#[tokio::test]
async fn a_body_without_links_comes_out_as_it_came() {
    struct Nobody;
    impl Addresses for Nobody {
        fn ours(&self) -> String {
            panic!("not needed")
        }
        fn is_shared(&self) -> bool {
            panic!("not needed")
        }
        fn aliases(&self) -> Vec<String> {
            panic!("not needed")
        }
        fn shared_aliases(&self) -> Vec<String> {
            panic!("not needed")
        }
    }
    let world = World::new();
    for mode in [Mode::Known, Mode::All] {
        let links = Links { mode, homes: &world.homes, addresses: Nobody, hosts: &world.hosts, routes: &[], listing: false };
        let came = Bytes::from(r#"{"odata.id":"https://other.example/Cust12345","a":"https:\/\/b"}"#);
        let lines = [JSON, ("etag", "\"1\""), ("digest", "x"), ("accept-ranges", "bytes"), ("content-length", "64")];
        let response = answer(&lines, Source::of([came.clone()]).declared());
        let before = response.headers().clone();
        let (parts, mut body) = links.answered(&Method::GET, response).await.into_parts();
        assert_eq!(parts.headers, before);
        assert_eq!(body.size_hint().exact(), Some(came.len() as u64));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((data.as_ptr(), &data), (came.as_ptr(), &came), "not even copied");
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn heads_of_rewritten_bodies_are_honest() {
    let world = World::new();
    let lines = [
        JSON,
        ("content-length", "1"),
        ("etag", "\"strong\""),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("accept-ranges", "bytes"),
        ("last-modified", "x"),
    ];
    let (headers, body) = get(&world.links(Mode::Known), &lines, Source::of([link(THEIRS)]).declared()).await;
    assert_eq!(body, link(OURS).into_bytes());
    assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), body.len().to_string());
    assert_eq!(headers["etag"], "\"strong\"");
    assert_eq!(headers.len(), 4, "{headers:?}");

    let (headers, body) = get(&world.links(Mode::Known), &lines, Source::of([link(THEIRS)])).await;
    assert_eq!((headers.get(CONTENT_LENGTH), body), (None, link(OURS).into_bytes()), "streamed");

    let head = answer(&lines, Source::default());
    let head = world.links(Mode::Known).answered(&Method::HEAD, head).await;
    assert_eq!(head.headers().get(CONTENT_LENGTH), None);
    let head = answer(&[("content-type", "image/png"), ("content-length", "1")], Source::default());
    let head = world.links(Mode::Known).answered(&Method::HEAD, head).await;
    assert_eq!(head.headers()[CONTENT_LENGTH], "1");
}

#[tokio::test]
async fn request_bodies_go_back_in_all_mode_only() {
    let world = World::new();
    let entity = link(OURS);
    for (mode, kind, expected) in [
        (Mode::All, "application/json", link(THEIRS)),
        (Mode::Known, "application/json", entity.clone()),
        (Mode::All, "text/plain", entity.clone()),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(entity.len()));
        let body = world.links(mode).request(&mut headers, Source::of([entity.clone()]).declared()).await;
        let length = body.size_hint().exact().unwrap();
        assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), length.to_string());
        assert_eq!(read(body).await.0, expected.into_bytes());
    }
}

#[tokio::test]
async fn an_address_that_would_break_a_body_is_not_written() {
    for ours in ["http://a\"b/Cust12345", "javascript:x", "http://a/<", "http://a\\b", "http://a b"] {
        let world = World::at(ours, &[]);
        let (headers, body) = get(&world.links(Mode::Known), &[JSON, ("location", THEIRS)], Source::of([link(THEIRS)])).await;
        assert_eq!((headers["location"].to_str().unwrap(), body), (THEIRS, link(THEIRS).into_bytes()), "{ours}");
    }
}

#[test]
fn codings_that_cannot_be_rewritten_are_not_asked_for() {
    for (asked, kept) in [
        (&["gzip, deflate, br"][..], "gzip, deflate, br"),
        (&["gzip, deflate, br, zstd"], "gzip, deflate, br"),
        (&["zstd;q=1.0, GZIP;q=0.5 , *;q=0.1"], "GZIP;q=0.5"),
        (&["zstd", "br;q=0"], "br;q=0"),
        (&["x-gzip,identity;q=0.1,compress"], "x-gzip, identity;q=0.1"),
        (&["zstd"], "identity"),
        (&["*"], "identity"),
    ] {
        let mut headers = HeaderMap::new();
        for line in asked {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        accept_encoding(&mut headers);
        assert_eq!(headers.get_all(ACCEPT_ENCODING).iter().collect::<Vec<_>>(), [kept], "{asked:?}");
    }
    let mut none = HeaderMap::new();
    accept_encoding(&mut none);
    assert!(none.is_empty());
}

#[test]
fn nothing_ties_an_answer_to_a_thread() {
    fn sends<T: Send>(_: &T) {}
    let world = World::new();
    let links = world.links(Mode::All);
    let body = || Box::new(http_body_util::Full::new(Bytes::new()).map_err(|never| -> BoxError { match never {} }));
    sends(&links.answered(&Method::GET, Response::new(body())));
    sends(&Some(Rewritten::from(Ahead::nothing(body()))));
}

//! What is wrong with one of `[[listeners]]` or `[[cache]]`: which one it is, and where.

use std::path::Path;

use super::toml;
use crate::config::Config;

#[test]
fn problems_of_further_listeners_name_the_one_and_its_line() {
    // (text, key, line within it, what, hint)
    let good = "[[listeners]]\naddress = \"127.0.0.1:1\"\ntenant = \"Cust1\"\n";
    let cases = [
        ("[[listeners]]\ntenant = \"Cust1\"\n", "address", 1, "is missing", "set `address` in [[listeners]]"),
        ("[[listeners]]\naddress = \"127.0.0.1:2\"\ntenant = 5\n", "tenant", 3, "must be a string", "in quotes"),
        ("[[listeners]]\naddress = \"x\"\ntenant = \"Cust1\"\n", "address", 2, "\"x\" is no IP address", "127.0.0.1:8080"),
        ("[[listeners]]\naddress = \"127.0.0.1:2\"\ntenant = \"Cust9\"\n", "tenant", 3, "no configured tenant", "\"Cust1\"?"),
        ("[[listeners]]\naddress = \"127.0.0.1:1\"\ntenant = \"Cust1\"\n", "address", 2, "taken by listeners[0].address", "its own"),
        ("[[listeners]]\naddress = \"127.0.0.1:8081\"\ntenant = \"Cust1\"\n", "", 1, "taken by listeners[1].address", "its own"),
        ("[[listeners]]\naddress = \"0.0.0.0:2\"\ntenant = \"Cust1\"\n", "address", 2, "can be reached", "= true in [listen]"),
        (
            "[[listeners]]\naddress = \"127.0.0.1:2\"\ntenant = \"Cust1\"\ntennant = 1\n",
            "tennant",
            4,
            "unknown key",
            "did you mean `listeners[1].tenant`?",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:2\"\ntenant = \"Cust1\"\nx = 1\n",
            "x",
            4,
            "unknown key",
            "the keys of [[listeners]] are address, tenant, public_url",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:2\"\ntenant = \"Cust1\"\npublic_url = \"x\"\n",
            "public_url",
            4,
            "not an absolute URL",
            "https://crm.example.com",
        ),
    ];
    let before = toml(&[]) + good;
    for (text, key, line, what, hint) in cases {
        let problems = Config::parse(&(before.clone() + text), Path::new("proxy.toml"), []).unwrap_err().0;
        let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
        if !key.is_empty() {
            assert_eq!(problem.key, format!("listeners[1].{key}"), "{problem}");
            assert_eq!(problem.source, format!("proxy.toml:{}", before.lines().count() + line), "{problem}");
        }
        assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem}");
    }
}

#[test]
fn problems_of_the_cache_name_the_table_and_its_line() {
    // (paths and ttl, key, line within the table, what, hint)
    let cases = [
        ("ttl = \"10m\"\n", "paths", 1, "is missing", "set `paths` in [[cache]]"),
        ("paths = [\"/api/*\"]\n", "ttl", 1, "is missing", "set `ttl` in [[cache]]"),
        ("paths = []\nttl = \"10m\"\n", "paths", 2, "names no path", "/api/v1/List/*"),
        ("paths = [5]\nttl = \"10m\"\n", "paths", 2, "must be a list of strings", "[\"one\""),
        ("paths = [\"api/v1\"]\nttl = \"10m\"\n", "paths", 2, "\"api/v1\" is no pattern of paths", "begins with /"),
        ("paths = [\"/api/v1/Li*\"]\nttl = \"10m\"\n", "paths", 2, "\"/api/v1/Li*\" is no pattern", "a whole segment"),
        ("paths = [\"/*\"]\nttl = \"10m\"\n", "paths", 2, "\"/*\" is no pattern", "a name before its first *"),
        ("paths = \"/api/*\"\nttl = \"999ms\"\n", "ttl", 3, "must be at least 1s", "a unit"),
        ("paths = \"/api/*\"\nttl = 600\n", "ttl", 3, "600 has no unit", "\"600s\"?"),
        ("paths = \"/api/*\"\nttl = \"1h\"\npath = 1\n", "path", 4, "unknown key", "did you mean `cache[1].paths`?"),
    ];
    let before = toml(&[]) + "[[cache]]\npaths = \"/api/v1/List/*\"\nttl = \"1h\"\n";
    for (text, key, line, what, hint) in cases {
        let problems = Config::parse(&(before.clone() + "[[cache]]\n" + text), Path::new("proxy.toml"), []).unwrap_err().0;
        let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
        assert_eq!(problem.key, format!("cache[1].{key}"), "{problem}");
        assert_eq!(problem.source, format!("proxy.toml:{}", before.lines().count() + line), "{problem}");
        assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem}");
    }
}

#[test]
fn listeners_and_cache_are_lists_of_tables() {
    for (name, settings) in
        [("listeners", "address = \"127.0.0.1:1\"\ntenant = \"Cust1\"\n"), ("cache", "paths = \"/api/*\"\nttl = \"1h\"\n")]
    {
        let header = format!("[[{name}]]");
        for text in [format!("[{name}]\n{settings}"), format!("[{name}]\n")] {
            let problems = Config::parse(&(toml(&[]) + &text), Path::new("proxy.toml"), []).unwrap_err().0;
            let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
            assert_eq!((problem.key.as_str(), problem.what.as_str()), (name, "must be a list of tables"));
            assert!(problem.hint.contains(&header), "{problem}");
        }
        for (value, key) in [("5", name.to_owned()), ("[5]", format!("{name}[0]"))] {
            let text = format!("{name} = {value}\n") + &toml(&[]);
            let problems = Config::parse(&text, Path::new("proxy.toml"), []).unwrap_err().0;
            assert_eq!((problems[0].key.as_str(), problems[0].source.as_str()), (key.as_str(), "proxy.toml:1"));
            assert!(problems[0].hint.contains(&header), "{}", problems[0]);
        }
    }
}

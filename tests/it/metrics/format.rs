//! A strict reader of both text formats: what it reads is written as the formats' pages say, or the test fails.

use std::collections::{BTreeMap, BTreeSet};

use soproxy::metrics::table::{ALL, Family, Kind};

/// The samples of a page, by name and labels as they stand there.
#[derive(Debug)]
pub struct Samples {
    all: BTreeMap<String, f64>,
    families: BTreeSet<String>,
}

impl Samples {
    /// What Prometheus' text format (0.0.4) says.
    pub fn prometheus(text: &str) -> Samples {
        read(text, false)
    }

    /// What OpenMetrics 1.0.0 says.
    pub fn openmetrics(text: &str) -> Samples {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        assert!(!body.contains("# EOF"));
        read(body, true)
    }

    /// `get("soproxy_tunnels")`, `get(r#"soproxy_errors_total{tenant="",code="x"}"#)`; 0 for what is not there.
    pub fn get(&self, sample: &str) -> f64 {
        self.all.get(sample).copied().unwrap_or_default()
    }

    pub fn has(&self, sample: &str) -> bool {
        self.all.contains_key(sample)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// Families that are there.
    pub fn families(&self) -> &BTreeSet<String> {
        &self.families
    }
}

fn read(text: &str, open: bool) -> Samples {
    let mut samples = Samples { all: BTreeMap::new(), families: BTreeSet::new() };
    let mut now: Option<(&Family, String)> = None;
    let mut told = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            if what == "HELP" {
                let family = ALL.iter().find(|family| stem(family, open) == name).unwrap_or_else(|| panic!("{line}: in no table"));
                assert!(samples.families.insert(family.name.to_owned()), "{line}: twice");
                assert!(!rest.is_empty());
                (now, told) = (Some((family, name.to_owned())), Vec::new());
            }
            let (family, stem) = now.as_ref().unwrap_or_else(|| panic!("{line}: without HELP"));
            assert_eq!(name, stem, "{line}");
            match what {
                "HELP" => {}
                "TYPE" => assert_eq!(rest, kind(family, open)),
                "UNIT" => assert!(open && name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            assert!(!told.contains(&what), "{line}: twice");
            told.push(what);
            continue;
        }
        let (family, stem) = now.as_ref().unwrap_or_else(|| panic!("{line}: of no family"));
        assert!(told.contains(&"TYPE"), "{line}: before its TYPE");
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
        let (name, labels) = sample.split_once('{').map_or((sample, Vec::new()), |(name, labels)| (name, pairs(labels)));
        let suffixes: &[&str] = match family.kind {
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Counter if open => &["_total"],
            Kind::Info if open => &["_info"],
            _ => &[""],
        };
        assert!(name.strip_prefix(stem.as_str()).is_some_and(|suffix| suffixes.contains(&suffix)), "{line}: not of {stem}");
        let mut names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        if name.ends_with("_bucket") {
            assert_eq!(names.pop(), Some("le"), "{line}");
        }
        assert_eq!(names, family.labels, "{line}");
        assert!(family.kind == Kind::Gauge || value >= 0.0, "{line}");
        assert!(samples.all.insert(sample.to_owned(), value).is_none(), "{line}: twice");
    }
    buckets_grow(text, &samples);
    samples
}

/// Counters end with `_total`, and with nothing else; in OpenMetrics' headlines without it.
fn stem(family: &Family, open: bool) -> &'static str {
    assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
    match family.kind {
        Kind::Counter if open => family.name.strip_suffix("_total").unwrap(),
        Kind::Info if open => family.name.strip_suffix("_info").unwrap(),
        _ => family.name,
    }
}

fn kind(family: &Family, open: bool) -> &'static str {
    match family.kind {
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
        Kind::Info if open => "info",
        Kind::Gauge | Kind::Info => "gauge",
    }
}

/// `a="b",c="d"}`
fn pairs(mut text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    c => panic!("\\{c} is no escape"),
                }),
                (at, '"') => break at + 1,
                (_, c) => value.push(c),
            }
        };
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        pairs.push((name.to_owned(), value));
        match &rest[end..] {
            "}" => return pairs,
            more => text = more.strip_prefix(',').unwrap_or_else(|| panic!("{more}")),
        }
    }
}

/// Of each histogram: no bucket has fewer than the one before it, and the last has all.
fn buckets_grow(text: &str, samples: &Samples) {
    let mut before = (String::new(), 0.0);
    for line in text.lines().filter(|line| line.contains("_bucket{")) {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (series, bound) = sample.rsplit_once("le=").unwrap();
        assert!(before.0 != series || value >= before.1, "{line}");
        before = (series.to_owned(), value);
        if bound == "\"+Inf\"}" {
            let count = series.replacen("_bucket{", "_count{", 1);
            let count = count.trim_end_matches([',', '{']).to_owned() + if count.ends_with(',') { "}" } else { "" };
            assert_eq!(samples.get(&count), value, "{line}");
        }
    }
}

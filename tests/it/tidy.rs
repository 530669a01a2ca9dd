//! Holds the house against its own description: imports, module docs, README's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use soproxy::cli::Cli;
use soproxy::metrics::table::{ALL, Family, Kind};
use soproxy::proxy::error::ProxyError;
use soproxy::superoffice::state::TenantState;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// `src/proxy/route.rs` → `proxy::route`.
fn module(path: &Path) -> String {
    let path = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::")
}

/// Each room's place: its level, and its order within the table.
fn table() -> BTreeMap<String, (u32, usize)> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = text.split("//! ```text").nth(1).unwrap().split("//! ```").next().unwrap();
    let mut places = BTreeMap::new();
    for row in rows.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let (level, rooms) = row.split_once("  ").unwrap();
        // What follows two or more blanks is a remark.
        for room in rooms.split("   ").next().unwrap().split(' ') {
            let order = places.len();
            places.insert(room.to_owned(), (level.parse().unwrap(), order));
        }
    }
    assert!(places.len() > 25, "the table is there: {places:?}");
    places
}

/// The room a module belongs to: itself, or the nearest one above it in the table.
fn room<'a>(table: &'a BTreeMap<String, (u32, usize)>, module: &str) -> Option<&'a str> {
    let mut name = module;
    loop {
        if let Some((room, _)) = table.get_key_value(name) {
            return Some(room);
        }
        name = name.rsplit_once("::")?.0;
    }
}

/// Expands `a::{b, c::{d}}` to `a::b`, `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let rest = rest.trim().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&rest[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&rest[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(expand).map(|part| format!("{}{part}", prefix.trim())).collect()
}

/// Everything of this crate that a module names, in `use` and in the text, tests left out.
fn imports(module: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for statement in code.split("\nuse ").skip(1).map(|rest| rest.split(';').next().unwrap().replace('\n', " ")) {
        found.extend(expand(&statement));
    }
    for path in code.split("crate::").skip(1) {
        found.push(format!("crate::{}", path.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap()));
    }
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let absolute = |path: String| match path.split_once("::") {
        Some(("crate", rest)) => Some(rest.to_owned()),
        Some(("self", rest)) => Some(format!("{module}::{rest}")),
        Some(("super", rest)) => Some(format!("{parent}::{rest}").trim_start_matches("::").to_owned()),
        _ => None,
    };
    found.into_iter().filter_map(absolute).collect()
}

#[test]
fn imports_point_down() {
    let table = table();
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for path in sources(&root().join("src")) {
        let module = module(&path);
        // Test files of a room see what they like.
        if module.ends_with("::tests") || module == "lib" || module == "main" {
            continue;
        }
        let from = room(&table, &module).unwrap_or_else(|| panic!("{module} stands in no row of the table in src/lib.rs"));
        for import in imports(&module, &fs::read_to_string(&path).unwrap()) {
            let Some(to) = room(&table, &import) else { continue };
            looked_at += 1;
            let down = table[to].0 < table[from].0 || (table[to].0 == table[from].0 && table[to].1 < table[from].1);
            let sandbox = to == "sandbox" && !matches!(from, "cli" | "sandbox");
            if sandbox || !(from == to || down) {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} imports found");
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn expansion_of_use_trees() {
    assert_eq!(expand("crate::a::{self, b::{c, d}, e}"), ["crate::a::self", "crate::a::b::c", "crate::a::b::d", "crate::a::e"]);
    assert_eq!(
        imports("x::y", "\nuse super::z;\nuse crate::q::{R};\n#[cfg(test)]\nmod tests { use crate::never; }"),
        ["x::z", "q::R", "q::"]
    );
}

/// What makes the item or the module below it one that is not built everywhere.
const GATES: [&str; 5] =
    ["#[cfg(unix)]", "#[cfg(not(unix))]", "#[cfg(windows)]", "#[cfg(target_os = \"linux\")]", "#[cfg(not(target_os = \"linux\"))]"];

/// The lines of a text that are built everywhere, tests left out.
fn built_everywhere(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let (mut lines, mut kept) = (code.lines(), Vec::new());
    while let Some(line) = lines.next() {
        if !GATES.contains(&line.trim()) {
            kept.push(line);
            continue;
        }
        let indent = |line: &str| line.len() - line.trim_start().len();
        let beginning = |line: &str| ["#[", "//"].iter().any(|start| line.trim_start().starts_with(start));
        // rustfmt ends an item where it began.
        let _ = lines.find(|next| indent(next) == indent(line) && !beginning(next) && next.ends_with([';', '}']));
    }
    kept
}

/// Whether a module, or one that it is in, is built on some systems only.
fn is_gated(module: &str) -> bool {
    let (parent, name) = module.rsplit_once("::").unwrap_or(("lib", module));
    let file = root().join("src").join(parent.replace("::", "/")).with_extension("rs");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let declares = |line: &&str| line.trim_start_matches("pub ").trim_start_matches("pub(crate) ") == format!("mod {name};");
    let gate = lines.iter().position(declares).and_then(|at| lines.get(at.checked_sub(1)?));
    let gated = gate.is_some_and(|gate| GATES.contains(gate) || gate.starts_with("#[cfg_attr(not("));
    gated || (parent != "lib" && is_gated(parent))
}

#[test]
fn what_only_unix_has_stands_where_only_unix_builds_it() {
    const UNIX: [&str; 8] =
        ["std::os::unix", "std::os::linux", "std::os::fd", "rustix::", "signal::unix", "libc::", "landlock::", "seccompiler::"];
    let (mut wrong, mut gated) = (Vec::new(), 0);
    for path in sources(&root().join("src")) {
        let module = module(&path);
        if module == "main" || module.ends_with("::tests") {
            continue;
        }
        if module != "lib" && is_gated(&module) {
            gated += 1;
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = built_everywhere(&text).into_iter().filter(|line| !line.trim_start().starts_with("//"));
        let unix = lines.filter(|line| UNIX.iter().any(|name| line.contains(name)) || (line.contains("net::") && line.contains("Unix")));
        wrong.extend(unix.map(|line| format!("{module}: {}", line.trim())));
    }
    assert!(gated > 8, "only {gated} modules are gated");
    assert!(wrong.is_empty(), "not behind #[cfg(unix)], and no Windows build knows it:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_built_everywhere_is_told_from_what_is_not() {
    let text = "use a;\n#[cfg(unix)]\nuse b;\nfn c() {\n    #[cfg(unix)]\n    d();\n    e();\n}\n#[cfg(unix)]\n/// f\npub fn f() {\n    g();\n}\nh;\n";
    assert_eq!(built_everywhere(text), ["use a;", "fn c() {", "    e();", "}", "h;"]);
    assert!(is_gated("confine::calls") && is_gated("server::unix") && is_gated("server::unix::elsewhere") && !is_gated("server::listener"));
}

#[test]
fn every_module_says_what_lives_there() {
    let mut files = sources(&root().join("src"));
    files.extend(sources(&root().join("tests/it")));
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not start with //!", path.display());
        assert!(path.file_name().unwrap() != "mod.rs", "{}: the style is foo.rs + foo/bar.rs", path.display());
    }
}

#[test]
fn main_decides_nothing() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() <= 60);
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn readme_lists_every_setting_with_its_default() {
    let readme = readme();
    for (key, default) in soproxy::config::known_keys() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("README's table of settings lacks {key}"));
        let shown = if default.is_empty() { "" } else { &format!("`{default}`") };
        assert_eq!(row.split('|').nth(2).unwrap().trim(), shown, "README's default of {key}");
    }
    let known: Vec<String> = soproxy::config::known_keys().into_iter().map(|(key, _)| key).collect();
    let section = readme.split("\n## Configuration\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let key = row.split('`').next().unwrap().to_owned();
        assert!(known.contains(&key), "README lists {key}, which is no setting");
    }
}

#[test]
fn readme_lists_every_command() {
    let readme = readme();
    for command in Cli::command().get_subcommands() {
        let name = format!("| `soproxy {}", command.get_name());
        assert!(readme.lines().any(|line| line.starts_with(&name)), "README's table of commands lacks {name}");
    }
}

#[test]
fn readme_lists_every_error_code() {
    let readme = readme();
    for (code, status) in ProxyError::TABLE {
        let row = format!("| `{code}` | {status} |");
        assert!(readme.lines().any(|line| line.starts_with(&row)), "README's table of errors lacks {row}");
    }
}

#[test]
fn readme_lists_every_metric() {
    let readme = readme();
    let rows = || readme.lines().filter(|line| line.starts_with("| `soproxy_") || line.starts_with("| `process_"));
    for Family { name, labels, help, .. } in ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        let row = format!("| `{name}` | {labels} | {help} |").replace("|  |", "| |");
        assert!(rows().any(|line| line == row), "README's table of metrics lacks {row}");
    }
    assert_eq!(rows().count(), ALL.len(), "README tells of metrics that there are none of");
}

/// Words that look like one of our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("soproxy_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let mut exist: BTreeSet<String> = BTreeSet::new();
    for Family { name, kind, .. } in ALL {
        match kind {
            Kind::Histogram => exist.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}"))),
            _ => _ = exist.insert((*name).to_owned()),
        }
    }
    for file in ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts.test.yml", "deploy/grafana/soproxy.json"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let named = metrics_in(&text);
        assert!(named.len() > 5, "{file}: {named:?}");
        for name in named {
            assert!(exist.contains(name), "{file} names {name}, which is no metric");
        }
    }
}

#[test]
fn readme_lists_every_code_of_exchanges_and_states() {
    let readme = readme();
    for file in ["src/superoffice/login.rs", "src/superoffice/tenant.rs", "src/superoffice/state.rs", "src/ticket/cache/renewing.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let tables = code.split("fn code(&self)").nth(1).map(|rest| rest.split("\n    }\n").next().unwrap()).unwrap_or_default();
        let told = tables.split("=> \"").skip(1).chain(code.split("code: \"").skip(1)).map(|rest| rest.split('"').next().unwrap());
        let told: Vec<&str> = told.filter(|code| !["late", "removed"].contains(code)).collect();
        assert!(!told.is_empty(), "{file} has codes");
        for code in told {
            assert!(readme.contains(&format!("`{code}`")), "README does not tell of {code} of {file}");
        }
    }
}

#[test]
fn readme_lists_every_page_of_the_admin_listener() {
    let readme = readme();
    let section = readme.split("\n## Admin listener\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> =
        soproxy::admin::ENDPOINTS.iter().map(|(method, path, what)| format!("| `{method} {path}` | {what} |")).collect();
    assert_eq!(rows, expected);
}

#[test]
fn readme_tells_what_each_state_is_answered_with() {
    let readme = readme();
    let section = readme.split("\n## Tenants that move and stop\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> =
        section.lines().filter(|line| line.starts_with("| ")).map(|row| row.split('|').map(str::trim).collect()).collect();
    let row = |name: &str| rows.iter().find(|row| row[1] == name).unwrap_or_else(|| panic!("README's table of states lacks {name}"));
    let mut documented = 0;
    for number in
        (0..100).filter(|number| TenantState::parse(format!(r#"{{"State":{number}}}"#).as_bytes()).unwrap().name != number.to_string())
    {
        let state = |running: bool| TenantState::parse(format!(r#"{{"State":{number},"IsRunning":{running}}}"#).as_bytes()).unwrap();
        assert_eq!(state(true).outage(), None);
        let name = state(false).name;
        let serves = matches!(&*name, "Unknown" | "Running" | "OnlineMaintenance");
        let expected = match state(false).outage().filter(|_| !serves) {
            None => ("SuperOffice's", String::new(), String::new()),
            Some(outage) if outage.deleted => ("410", "`tenant_deleted`".to_owned(), String::new()),
            Some(outage) => ("503", "`tenant_not_running`".to_owned(), outage.retry_after.as_secs().to_string()),
        };
        let row = row(&format!("`{name}`"));
        assert_eq!((row[2], row[3].to_owned(), row[4].to_owned()), expected, "{name}");
        documented += 1;
    }
    assert_eq!(documented, 11);
    let other = TenantState::parse(br#"{"State":"Frozen","IsRunning":false}"#).unwrap().outage().unwrap();
    assert_eq!(row("one that is not documented")[4], other.retry_after.as_secs().to_string());
}

#[test]
fn every_attack_in_the_security_policy_names_tests_that_exist() {
    let policy = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut files = sources(&root().join("src"));
    files.extend(sources(&root().join("tests/it")));
    let all: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let rows: Vec<&str> = policy.split("## Attacks").nth(1).unwrap().lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 20, "the table is there");
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit('|').next().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}: no test is named");
        for name in names {
            assert!(all.contains(&format!("fn {name}(")), "{row}: there is no test {name}");
        }
    }
}

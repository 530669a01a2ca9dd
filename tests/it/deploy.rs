//! What deploy/kubernetes says, held against the program: the configurations in it are good, and fit what stands around them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use soproxy::config::Config;
use soproxy::sandbox::demo;

/// Each manifest with a name and its text.
fn manifests() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())).collect()
}

/// The text of each `proxy.toml` in a manifest: a block of YAML, as far as it is indented.
fn configurations(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = manifest.lines().peekable();
    while let Some(line) = lines.next() {
        if line != "  proxy.toml: |" {
            continue;
        }
        let mut text = String::new();
        while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("    ")) {
            text += &format!("{}\n", line.get(4..).unwrap_or_default());
        }
        found.push(text);
    }
    found
}

/// What stands in quotes behind a word, each time.
fn quoted<'t>(text: &'t str, before: &str) -> BTreeSet<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_configurations_in_the_manifests_are_good_and_their_secrets_are_mounted() {
    let manifests = manifests();
    let mounted: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|(_, text)| text.split("path: secrets/").skip(1).filter_map(|rest| rest.split([' ', '}', '\n']).next()))
        .collect();
    let mut count = 0;
    for (name, manifest) in &manifests {
        for text in configurations(manifest) {
            count += 1;
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("secrets")).unwrap();
            let secrets = quoted(&text, "file = \"secrets/");
            assert!(secrets.len() >= 3, "{name}: {secrets:?}");
            for secret in secrets {
                assert!(mounted.contains(secret), "{name}: nothing mounts secrets/{secret}");
                let value = match secret {
                    "privatekey.xml" => demo::PRIVATE_KEY_XML,
                    "client_secret" => demo::CLIENT_SECRET,
                    "admin_token" => "0123456789abcdef0123456789abcdef",
                    _ => demo::SYSTEM_USER_TOKEN,
                };
                fs::write(dir.path().join("secrets").join(secret), value).unwrap();
            }
            let config = Config::parse(&text, &dir.path().join("proxy.toml"), []).unwrap_or_else(|problems| panic!("{name}:\n{problems}"));
            assert_eq!(config.listen.grace, Duration::from_secs(if name == "config.yaml" { 30 } else { 10 }));
        }
    }
    assert_eq!(count, 2, "config.yaml and sidecar.yaml have one each");
}

#[test]
fn kubernetes_gives_the_proxy_the_time_that_it_takes_to_stop() {
    let manifests = manifests();
    let text = |wanted: &str| &manifests.iter().find(|(name, _)| name == wanted).unwrap().1;
    let number = |text: &str, before: &str| {
        let digits = text.split(before).nth(1).unwrap_or("0").trim_start_matches('"').chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse::<u64>().unwrap()
    };
    let [config] = &configurations(text("config.yaml"))[..] else { panic!("one configuration") };
    let taken = number(config, "shutdown_delay = ") + number(config, "grace = ");
    let given = number(text("deployment.yaml"), "terminationGracePeriodSeconds: ");
    assert!(taken >= 35 && given > taken, "{given} s for {taken} s");
    // Without a word Kubernetes gives 30 s, for all of the Pod.
    let [sidecar] = &configurations(text("sidecar.yaml"))[..] else { panic!("one configuration") };
    assert!(number(sidecar, "grace = ") < 30 && !text("sidecar.yaml").contains("terminationGracePeriodSeconds"));
}

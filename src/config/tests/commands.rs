//! Commands for secrets: how they are written, in the file and in variables, and what is said of mistakes.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{Config, KEY_2048, Problem, one, toml};

/// Really runs them: only a file that the program itself was told to read does that.
fn load(changes: &[(&str, &str, &str)]) -> Result<(tempfile::TempDir, Config), Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("proxy.toml"), toml(changes)).unwrap();
    std::fs::write(dir.path().join("key.xml"), KEY_2048).unwrap();
    let config = Config::load(&dir.path().join("proxy.toml")).map_err(|problems| problems.0)?;
    Ok((dir, config))
}

#[test]
fn a_command_may_stand_wherever_a_secret_may_and_runs_once() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let say = |what: &str| format!("{{ command = [\"/bin/sh\", \"-c\", \"echo run >> {}; echo {what}\"] }}", log.path().display());
    let (secret, slow) = (say("secret"), say("App-token").replace(" }", ", timeout = \"20s\" }"));
    let certificate = format!("{:?}", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tls/localhost.pem"));
    let key = format!("{{ command = [\"cat\", {:?}] }}", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tls/localhost.key"));
    let (_dir, config) = load(&[
        ("application", "client_secret", &secret),
        // A path that is relative to the directory of the test, not of the configuration: only a program's own is.
        ("application", "private_key", "{ command = [\"/bin/sh\", \"-c\", \"cat src/sandbox/keys/application-2048.rsakeyvalue.xml\"] }"),
        ("upstream", "proxy", "\"http://127.0.0.1:9\""),
        ("upstream", "proxy_user", "\"me\""),
        ("upstream", "proxy_password", &secret),
        ("tenants.Cust1", "system_user_token", &slow),
        ("tenants.Cust2", "system_user_token", &slow),
        ("tenants.Cust2", "client_secret", &secret),
        ("listen", "tls_certificate", &certificate),
        ("listen", "tls_key", &key),
    ])
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    for tenant in &config.tenants {
        assert_eq!((tenant.client_secrets[0].expose_secret(), tenant.system_user_token.expose()), ("secret", "App-token"));
    }
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "run\nrun\n", "one for the secret, one for the token");
    assert!(config.listen.tls.is_some() && config.watched.secrets.is_empty(), "{:?}", config.watched);
}

#[test]
fn what_fails_is_said_once_with_its_program_alone() {
    let fails = "{ command = [\"/bin/sh\", \"-c\", \"echo hush; exit 7\"] }";
    let missing = "{ command = [\"no-such-program-1\", \"hush\"], timeout = \"1s\" }";
    let problems = load(&[
        ("application", "client_secret", fails),
        ("tenants.Cust1", "system_user_token", missing),
        ("tenants.Cust1", "private_key", "{ command = [\"echo\", \"hush\"] }"),
    ]);
    let problems = problems.err().unwrap();
    let told: Vec<(&str, &str)> = problems.iter().map(|problem| (problem.key.as_str(), problem.what.as_str())).collect();
    assert_eq!(told[0], ("application.client_secret", "the program /bin/sh ended with exit status 7"));
    assert_eq!(told[1], ("tenants.Cust1.system_user_token", "there is no program no-such-program-1"));
    assert!(told[2].0 == "tenants.Cust1.private_key" && told[2].1.starts_with("what the program printed: "), "{told:?}");
    assert!(!format!("{problems:?}").contains("hush"), "{problems:?}");
    assert_eq!(problems.len(), 3);
}

#[test]
fn mistakes_in_a_command_have_hints() {
    for (value, what, hint) in [
        ("{ command = \"vault get hush\" }", "`command` must be a list, not a string", "no shell is used"),
        ("{ command = \"vault get hush\", timeout = \"1s\" }", "`command` must be a list, not a string", "no shell is used"),
        ("{ command = [] }", "`command` names no program", "item of its own"),
        ("{ command = [\" \", \"hush\"] }", "`command` names no program", "item of its own"),
        ("{ command = [\"hush\", 1] }", "`command` must be a list of strings", "item of its own"),
        ("{ command = 5 }", "`command` must be a list, not a number", "item of its own"),
        ("{ command = [\"a\", \"hush\"], file = \"b\" }", "more than one place", "exactly one of"),
        ("{ command = [\"a\", \"hush\"], file = \"b\", timeout = \"1s\" }", "more than one place", "exactly one of"),
        ("{ file = \"a\", timeout = \"1s\" }", "`timeout` is for a `command`", "exactly one of"),
        ("{ timeout = \"1s\" }", "`timeout` is for a `command`", "exactly one of"),
        ("{ command = [\"a\", \"hush\"], timeout = 5 }", "`timeout` 5 has no unit", "\"5s\""),
        ("{ command = [\"a\", \"hush\"], timeout = \"1ms\" }", "`timeout` must be at least 100ms", "90s"),
        ("{ command = [\"a\", \"hush\"], timeout = \"2m\" }", "`timeout` must be at most 1m", "90s"),
        ("{ comand = [\"a\"] }", "`comand` must be a string", "exactly one of"),
        ("{ comand = \"a\" }", "unknown key `comand`", "did you mean `command`?"),
    ] {
        for (section, key) in [("application", "client_secret"), ("tenants.Cust1", "system_user_token"), ("upstream", "client_key")] {
            let changes =
                [(section, key, value), ("upstream", "client_certificate", if key == "client_key" { "\"Cargo.toml\"" } else { "" })];
            let problem = one(&changes, &[]);
            assert_eq!(problem.key, format!("{section}.{key}"));
            assert!(problem.what.contains(what) && problem.hint.contains(hint), "{value}: {problem}");
            assert!(!problem.to_string().contains("hush"), "{problem}");
        }
    }
}

#[test]
fn a_variable_holds_a_commands_words_with_commas_between() {
    const COMMAND: &str = "SOPROXY_APPLICATION__CLIENT_SECRET__COMMAND";
    let ran = |variables: &[(&str, &str)]| one(&[("application", "client_secret", "{ file = \"gone\" }")], variables);
    // Not run by whoever only parses; but understood.
    let problem = ran(&[(COMMAND, "vault, kv,get,hush")]);
    assert_eq!(problem.what, "the program vault is not run for this");
    assert_eq!((problem.key.as_str(), problem.source.as_str()), ("application.client_secret", COMMAND));
    let problem = ran(&[(COMMAND, "vault,hush"), ("SOPROXY_APPLICATION__CLIENT_SECRET__TIMEOUT", "soon")]);
    assert!(problem.what.contains("`timeout` \"soon\" is no duration"), "{problem}");
    assert!(ran(&[(COMMAND, " , ")]).what.contains("names no program"));
    assert!(ran(&[(COMMAND, "vault kv get hush")]).what.starts_with("the program vault… is not run"));
    assert!(ran(&[(COMMAND, "a"), ("SOPROXY_APPLICATION__CLIENT_SECRET__FILE", "b")]).what.contains("more than one place"));
    assert!(ran(&[("SOPROXY_APPLICATION__CLIENT_SECRET__TIMEOUT", "1s")]).what.contains("`timeout` is for a `command`"));
    let limit = Duration::from_secs(10);
    assert_eq!(limit, crate::config::secret::TIMEOUT, "as the example says");
}

#[test]
fn the_files_of_secrets_are_watched_and_those_of_listeners_are_not() {
    let vector = |name: &str| format!("{:?}", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name));
    let (key, certificate) = (format!("{{ file = {} }}", vector("tls/localhost.key")), vector("tls/localhost.pem"));
    let client = format!("{{ file = {} }}", vector("outbound/client.key"));
    let (dir, config) = load(&[
        ("application", "private_key", "{ file = \"key.xml\" }"),
        ("listen", "tls_certificate", &certificate),
        ("listen", "tls_key", &key),
        ("upstream", "client_certificate", &vector("outbound/client.pem")),
        ("upstream", "client_key", &client),
    ])
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let mut names: Vec<_> = config.watched.secrets.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["client.key", "client.pem", "key.xml"]);
    assert!(config.watched.secrets.iter().any(|(path, _)| *path == dir.path().join("key.xml")));
}

//! Tenants in files of their own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, KEY_2048, Problem};

const CERTIFICATE: &str = include_str!("../../sandbox/keys/login.crt");
const SHARED: &str =
    "[superoffice]\nenvironment = \"sod\"\n[application]\nclient_secret = { file = \"secret\" }\nprivate_key = { file = \"key.xml\" }\n";
const ONE: &str = "[tenants.Cust1]\nsystem_user_token = { file = \"token\" }\n";

/// A directory with a configuration without tenants.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        for (name, text) in [("proxy.toml", SHARED), ("key.xml", KEY_2048), ("secret", "s"), ("tenants.d/token", "App-token")] {
            home.put(name, text);
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self) -> Result<Config, Vec<Problem>> {
        Config::load(&self.path("proxy.toml")).map_err(|problems| problems.0)
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        self.load().unwrap_or_else(|problems| panic!("{problems:#?}")).tenants.into_iter().map(|tenant| tenant.name).collect()
    }

    /// Each problem's key, source, what and hint, on one line; without the directory.
    fn problems(&self) -> Vec<String> {
        let here = format!("{}/", self.0.path().display());
        let told = self.load().err().unwrap_or_default();
        told.iter().map(|problem| problem.to_string().replace(&here, "")).collect()
    }
}

#[test]
fn files_come_and_go() {
    let home = Home::new();
    let problems = home.problems();
    assert!(problems.len() == 1 && problems[0].contains("there is no tenant") && problems[0].contains("tenants.d"), "{problems:?}");
    home.put("tenants.d/b.toml", ONE);
    assert_eq!(home.names(), ["Cust1"]);
    home.put(
        "tenants.d/a.toml",
        "[tenants.Cust3]\nsystem_user_token = \"App-three\"\n[tenants.Cust2]\nsystem_user_token = { file = \"../secret\" }\n",
    );
    home.put("tenants.d/.hidden.toml", "nonsense");
    home.put("tenants.d/a.toml~", "nonsense");
    home.put("tenants.d/empty.toml", "# nobody yet\n");
    assert_eq!(home.names(), ["Cust1", "Cust2", "Cust3"]);
    home.put("proxy.toml", &format!("{SHARED}[tenants.Cust0]\nsystem_user_token = \"App-0\"\n"));
    fs::remove_file(home.path("tenants.d/b.toml")).unwrap();
    assert_eq!(home.names(), ["Cust0", "Cust2", "Cust3"]);
    fs::remove_dir_all(home.path("tenants.d")).unwrap();
    assert_eq!(home.names(), ["Cust0"]);
}

#[test]
fn paths_are_relative_to_the_file_that_they_stand_in() {
    let home = Home::new();
    home.put("tenants.d/own.xml", KEY_2048);
    home.put("tenants.d/own.crt", CERTIFICATE);
    let absolute = home.path("secret").display().to_string();
    home.put(
        "tenants.d/a.toml",
        &format!(
            "{ONE}private_key = [{{ file = \" own.xml \" }}]\nverification_keys = {{ file = \"own.crt\" }}\nclient_secret = {{ file = \"{absolute}\" }}\n"
        ),
    );
    let config = home.load().unwrap();
    assert!(config.tenants[0].verification_keys.is_some());
    for name in ["tenants.d", "tenants.d/a.toml", "tenants.d/token", "tenants.d/own.xml", "tenants.d/own.crt", "secret", "key.xml"] {
        assert!(config.files.contains(&home.path(name)), "{name} is not in {:?}", config.files);
    }
    home.put("tenants.d/a.toml", "[tenants.Cust1]\nsystem_user_token = { file = \"gone\" }\n");
    let problems = home.problems();
    assert!(problems.len() == 1 && problems[0].contains("tenants.Cust1.system_user_token (tenants.d/a.toml:2)"), "{problems:?}");
    assert!(problems[0].contains("tenants.d/gone"), "{problems:?}");
    // A program, too; one that is looked for in PATH stays what it is.
    home.put("tenants.d/print", "#!/bin/sh\necho App-printed\n");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(home.path("tenants.d/print"), fs::Permissions::from_mode(0o700)).unwrap();
    for program in ["[\"./print\"]", "[\"echo\", \"App-printed\"]"] {
        home.put("tenants.d/a.toml", &format!("[tenants.Cust1]\nsystem_user_token = {{ command = {program} }}\n"));
        assert_eq!(home.load().unwrap().tenants[0].system_user_token.expose(), "App-printed", "{program}");
    }
}

#[test]
fn every_mistake_names_its_file_and_line() {
    let home = Home::new();
    home.put("proxy.toml", &format!("{SHARED}[tenants.Cust1]\nsystem_user_token = \"App-0\"\n"));
    home.put("tenants.d/a.toml", &format!("\n{ONE}"));
    home.put("tenants.d/b.toml", "[tenants.Cust2]\nsystem_user_token = \"x\"\nsystem_user_tokne = \"x\"\n");
    home.put("tenants.d/c.toml", "system_user_token = \"x\"\n[tenants.Cust2]\nsystem_user_token = \"x\"\n[listen]\ngrace = \"5s\"\n");
    home.put("tenants.d/d.toml", "tenants = 5\n");
    home.put("tenants.d/e.toml", "[tenants.CUST2]\nsystem_user_token = \"x\"\n");
    let problems = home.problems();
    let expected = [
        "tenants.Cust1 (tenants.d/a.toml:2): is already in proxy.toml:6 (a tenant is one table",
        "tenants.Cust2.system_user_tokne (tenants.d/b.toml:3): unknown key (did you mean `tenants.Cust2.system_user_token`?)",
        "system_user_token (tenants.d/c.toml:1): stands outside of a tenant's table (put it below the line [tenants.NAME]",
        "listen (tenants.d/c.toml:4): stands outside of a tenant's table (move it to proxy.toml",
        "tenants.Cust2 (tenants.d/c.toml:2): is already in tenants.d/b.toml:1",
        "tenants (tenants.d/d.toml:1): must be a table of tenants",
        "tenants.Cust2 (tenants.d/b.toml:1): differs from CUST2 in upper and lower case only",
    ];
    for text in expected {
        assert!(problems.iter().any(|problem| problem.starts_with(text)), "{text:?} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    // All that is no TOML at once; and no secret is repeated.
    home.put("proxy.toml", "nonsense");
    home.put("tenants.d/f.toml", "[tenants.x]\ntoken = 's3cret\n");
    let problems = home.problems();
    assert!(
        problems.len() == 2 && problems[0].starts_with("proxy.toml:1:9: ") && problems[1].starts_with("tenants.d/f.toml:2:"),
        "{problems:?}"
    );
    assert!(!problems[1].contains("s3cret"));
}

#[test]
fn what_cannot_be_read_is_a_problem_of_its_own() {
    let home = Home::new();
    home.put("tenants.d/a.toml", ONE);
    fs::write(home.path("tenants.d/b.toml"), [0xff, 0xfe]).unwrap();
    std::os::unix::fs::symlink("nowhere", home.path("tenants.d/c.toml")).unwrap();
    fs::create_dir(home.path("tenants.d/d.toml")).unwrap();
    let problems = home.problems();
    let starts =
        ["tenants.d/b.toml: is not UTF-8 text", "tenants.d/c.toml: is a link that leads nowhere", "tenants.d/d.toml: cannot be read: "];
    assert!(problems.len() == 3 && starts.iter().zip(&problems).all(|(start, problem)| problem.starts_with(start)), "{problems:#?}");
    fs::remove_dir_all(home.path("tenants.d")).unwrap();
    home.put("tenants.d", "no directory");
    let problems = home.problems();
    assert!(problems[0].starts_with("tenants.d: cannot be read: ") && problems[0].contains("directory"), "{problems:?}");
}

#[test]
fn variables_override_their_tenants_too() {
    let home = Home::new();
    home.put("tenants.d/a.toml", ONE);
    let texts = |name: &str| {
        let label = name.to_owned();
        crate::config::texts::Text { label, text: fs::read_to_string(home.path(name)).unwrap(), public: false }
    };
    let env = super::env(&[("SOPROXY_TENANTS__CUST1__SYSTEM_USER_TOKEN", "App-other"), ("SOPROXY_TENANTS__CUST1__SERIAL", "7")]);
    let texts = [texts("proxy.toml"), texts("tenants.d/a.toml")];
    let config = Config::read(&texts, &home.path("proxy.toml"), &env.into_iter().collect(), false).unwrap();
    assert_eq!(config.tenants[0].system_user_token.expose(), "App-other");
    assert_eq!(config.tenants[0].serial.as_deref(), Some("7"));
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.put("tenants.d/a.toml", "[tenants.Cust1]\nsystem_user_token = \"App-one\"\n");
    home.put("tenants.d/b.toml", "[tenants.Cust2]\nsystem_user_token = { file = \"token\" }\n");
    let warnings = |config: &Config| config.warnings.iter().map(|warning| warning.source.clone()).collect::<Vec<_>>();
    assert_eq!(warnings(&home.load().unwrap()), Vec::<String>::new());
    for name in ["tenants.d/a.toml", "tenants.d/b.toml", "proxy.toml"] {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert_eq!(warnings(&home.load().unwrap()), [home.path("tenants.d/a.toml").display().to_string()]);
}

#[test]
fn what_is_followed() {
    let home = Home::new();
    home.put("tenants.d/a.toml", ONE);
    let followed = home.load().unwrap().watched.configuration.unwrap();
    assert_eq!((followed.file.0, followed.file.1.is_some()), (home.path("proxy.toml"), true));
    assert!(followed.tenants.iter().map(|(path, _)| path.as_path()).eq([home.path("tenants.d/a.toml")].iter().map(AsRef::<Path>::as_ref)));
    home.put("proxy.toml", &format!("{SHARED}[reload]\nwatch = false\n"));
    assert_eq!(home.load().unwrap().watched.configuration, None);
}

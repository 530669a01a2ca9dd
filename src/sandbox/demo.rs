//! The demo tenants and their applications, and the proxy configuration that fits them.
//!
//! All of it is published with the source; nothing here is a secret of anybody's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Tenant;
use super::jwt::CERTIFICATE_PEM;
use crate::config::schema;

/// The first tenant's context identifier.
pub const TENANT: &str = "Cust12345";
/// Its serial.
pub const SERIAL: &str = "1234567890";
/// The demo application.
pub const APPLICATION: &str = "Soproxy Demo App";
/// The demo application's client secret, the value of `SO-AppToken`.
pub const CLIENT_SECRET: &str = "f2398a3a7e3759d4b220e9a9c9432100";
/// Its system user token for [`TENANT`].
pub const SYSTEM_USER_TOKEN: &str = "Soproxy Demo App-pzqc70604i";
/// Its private key as the Developer Portal hands it out, `<RSAKeyValue>`, RSA-2048.
pub const PRIVATE_KEY_XML: &str = include_str!("keys/application-2048.rsakeyvalue.xml");
/// The public half of it, SPKI PEM.
pub const PUBLIC_KEY_PEM: &str = include_str!("keys/application-2048.pub.pem");

/// The second tenant's context identifier; it has approved another application.
pub const SECOND_TENANT: &str = "Cust54321";
/// Its serial.
pub const SECOND_SERIAL: &str = "1234554321";
/// The second application: a name with what must be escaped in XML, and with a dot.
pub const SECOND_APPLICATION: &str = "R&D Sync 2.0";
/// The second application's client secret.
pub const SECOND_CLIENT_SECRET: &str = "0c94a1d2b7f84e6c9d3a5b1e7f60248d";
/// Its system user token for [`SECOND_TENANT`].
pub const SECOND_SYSTEM_USER_TOKEN: &str = "R&D Sync 2.0-8k8Q7DmBgo";
/// Its private key, `<RSAKeyValue>`, RSA-1024 as in SuperOffice's own samples.
pub const SECOND_PRIVATE_KEY_XML: &str = include_str!("keys/application-1024.rsakeyvalue.xml");
/// The public half of it, SPKI PEM.
pub const SECOND_PUBLIC_KEY_PEM: &str = include_str!("keys/application-1024.pub.pem");

/// The certificate of the sandbox's login service, PEM: X.509 v1, as SuperOffice's are.
pub const LOGIN_CERTIFICATE_PEM: &str = CERTIFICATE_PEM;

/// Both tenants.
pub fn tenants() -> Vec<Tenant> {
    vec![
        Tenant {
            context: TENANT.into(),
            company: "Nordlys Demo AS".into(),
            serial: SERIAL.into(),
            application: APPLICATION.into(),
            system_user_token: SYSTEM_USER_TOKEN.into(),
            client_secret: CLIENT_SECRET.into(),
            public_key_pem: PUBLIC_KEY_PEM.into(),
        },
        Tenant {
            context: SECOND_TENANT.into(),
            company: "Fjord & Sønner AS".into(),
            serial: SECOND_SERIAL.into(),
            application: SECOND_APPLICATION.into(),
            system_user_token: SECOND_SYSTEM_USER_TOKEN.into(),
            client_secret: SECOND_CLIENT_SECRET.into(),
            public_key_pem: SECOND_PUBLIC_KEY_PEM.into(),
        },
    ]
}

/// A complete `proxy.toml` for the demo tenants with everything in it: the login service at `login_url`, the proxy on
/// `listen`, its admin endpoints on `admin`.
pub fn proxy_toml(login_url: &str, listen: &str, admin: &str) -> String {
    let literal = |text: &str| format!("'''\n{}\n'''", text.trim());
    let secrets = Secrets {
        client_secret: format!("\"{CLIENT_SECRET}\""),
        private_key: literal(PRIVATE_KEY_XML),
        token: format!("\"{SYSTEM_USER_TOKEN}\""),
        second_token: format!("\"{SECOND_SYSTEM_USER_TOKEN}\""),
        second_client_secret: format!("\"{SECOND_CLIENT_SECRET}\""),
        second_private_key: literal(SECOND_PRIVATE_KEY_XML),
    };
    let listeners = format!("\n[listen]\naddress = \"{listen}\"\n\n[admin]\naddress = \"{admin}\"\n");
    toml(login_url, &secrets, &listeners)
}

/// Writes a configuration for `soproxy run` against a sandbox at `login_url`: `proxy.toml`, its schema, keys and secrets.
/// What is there already is never overwritten; what is there and is the same may stay. On success, all the files.
pub fn write_config(dir: &Path, login_url: &str) -> io::Result<Vec<PathBuf>> {
    let file = |name: &str| format!("{{ file = \"{name}\" }}");
    let secrets = Secrets {
        client_secret: file("secrets/client_secret"),
        private_key: file("privatekey.xml"),
        token: file("secrets/Cust12345.token"),
        second_token: file("secrets/Cust54321.token"),
        second_client_secret: file("secrets/Cust54321.client_secret"),
        second_private_key: file("secrets/Cust54321.privatekey.xml"),
    };
    let configuration = format!("#:schema ./proxy.schema.json\n{}", toml(login_url, &secrets, ""));
    let schema = schema::text();
    let files = [
        ("proxy.toml", configuration.as_str(), 0o644),
        ("proxy.schema.json", schema.as_str(), 0o644),
        ("SuperOfficeFederatedLogin.crt", LOGIN_CERTIFICATE_PEM, 0o644),
        ("privatekey.xml", PRIVATE_KEY_XML, 0o600),
        ("secrets/client_secret", CLIENT_SECRET, 0o600),
        ("secrets/Cust12345.token", SYSTEM_USER_TOKEN, 0o600),
        ("secrets/Cust54321.token", SECOND_SYSTEM_USER_TOKEN, 0o600),
        ("secrets/Cust54321.client_secret", SECOND_CLIENT_SECRET, 0o600),
        ("secrets/Cust54321.privatekey.xml", SECOND_PRIVATE_KEY_XML, 0o600),
    ];
    // All of them before the first is written, so that a refusal leaves nothing behind.
    let content = |text: &str| format!("{}\n", text.trim_end());
    let same = |path: &Path, text: &str| std::fs::read(path).is_ok_and(|there| there == content(text).as_bytes());
    let other = |(name, text, _): &(&str, &str, u32)| {
        let path = dir.join(name);
        (path.symlink_metadata().is_ok() && !same(&path, text)).then_some(path)
    };
    if let Some(there) = files.iter().find_map(other) {
        let text = format!("{} exists already, and is not overwritten: choose another directory", there.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    std::fs::create_dir_all(dir.join("secrets")).map_err(named(&dir.join("secrets")))?;
    let mut written = Vec::new();
    for (name, text, mode) in files {
        let path = dir.join(name);
        if !same(&path, text) {
            create(&path, mode).and_then(|mut file| file.write_all(content(text).as_bytes())).map_err(named(&path))?;
        }
        written.push(path);
    }
    Ok(written)
}

fn create(path: &Path, mode: u32) -> io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// The values of the configuration as TOML: literal, or a reference.
struct Secrets {
    client_secret: String,
    private_key: String,
    token: String,
    second_token: String,
    second_client_secret: String,
    second_private_key: String,
}

fn toml(login_url: &str, secrets: &Secrets, listeners: &str) -> String {
    let Secrets { client_secret, private_key, token, second_token, second_client_secret, second_private_key } = secrets;
    format!(
        r#"# The demo tenants of the sandbox at {login_url}. Every secret here is published; none of it opens anything real.

[superoffice]
login_url = "{login_url}"
# exchange = "rest"
# verification_keys = {{ file = "SuperOfficeFederatedLogin.crt" }}     # instead of the JWKS
{listeners}
[application]
client_secret = {client_secret}
private_key = {private_key}

[tenants.{TENANT}]
system_user_token = {token}

# This tenant has approved another application, which has a secret and a key of its own.
[tenants.{SECOND_TENANT}]
system_user_token = {second_token}
client_secret = {second_client_secret}
private_key = {second_private_key}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};
    use serde_json::Value;

    fn parse(text: &str) -> Value {
        Figment::from(Toml::string(text)).extract().unwrap()
    }

    #[test]
    fn the_inline_configuration_is_whole() {
        let config = parse(&proxy_toml("http://127.0.0.1:8090", "127.0.0.1:8080", "127.0.0.1:8081"));
        assert_eq!(config["superoffice"]["login_url"], "http://127.0.0.1:8090");
        assert_eq!(config["listen"]["address"], "127.0.0.1:8080");
        assert_eq!(config["admin"]["address"], "127.0.0.1:8081");
        assert_eq!(config["application"]["client_secret"], CLIENT_SECRET);
        assert_eq!(config["application"]["private_key"].as_str().unwrap().trim(), PRIVATE_KEY_XML.trim());
        assert_eq!(config["tenants"][TENANT]["system_user_token"], SYSTEM_USER_TOKEN);
        assert_eq!(config["tenants"][SECOND_TENANT]["system_user_token"], SECOND_SYSTEM_USER_TOKEN);
        assert_eq!(config["tenants"][SECOND_TENANT]["client_secret"], SECOND_CLIENT_SECRET);
        assert_eq!(config["tenants"][SECOND_TENANT]["private_key"].as_str().unwrap().trim(), SECOND_PRIVATE_KEY_XML.trim());
    }

    #[test]
    fn the_written_configuration_names_files_that_are_there_and_secrets_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let written = write_config(&dir.path().join("new"), "http://127.0.0.1:8090").unwrap();
        assert!(written.iter().all(|path| path.exists()));
        let config = parse(&std::fs::read_to_string(&written[0]).unwrap());
        let read = |reference: &Value| std::fs::read_to_string(dir.path().join("new").join(reference["file"].as_str().unwrap())).unwrap();
        assert_eq!(read(&config["application"]["client_secret"]).trim(), CLIENT_SECRET);
        assert_eq!(read(&config["tenants"][SECOND_TENANT]["private_key"]).trim(), SECOND_PRIVATE_KEY_XML.trim());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert!(written[3..].iter().all(|path| mode(path) == 0o600));
        }
    }

    #[test]
    fn the_same_files_may_be_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let first = write_config(dir.path(), "http://127.0.0.1:8090").unwrap();
        std::fs::remove_file(dir.path().join("privatekey.xml")).unwrap();
        assert_eq!(write_config(dir.path(), "http://127.0.0.1:8090").unwrap(), first);
        assert!(dir.path().join("privatekey.xml").exists());
        assert!(write_config(dir.path(), "http://127.0.0.1:8091").is_err(), "another login service is another proxy.toml");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("privatekey.xml"), "mine").unwrap();
        let error = write_config(dir.path(), "http://127.0.0.1:8090").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("privatekey.xml"), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join("privatekey.xml")).unwrap(), "mine");
        assert!(!dir.path().join("proxy.toml").exists());
    }
}

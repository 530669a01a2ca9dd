//! How secrets are read, what is said when they cannot be, and who is told that others can read them.

#[cfg(unix)]
mod command;

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, SecretRef) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s"), bytes).unwrap();
    (dir, SecretRef::File("s".into()))
}

#[test]
fn a_file_is_trimmed_and_its_byte_order_mark_goes() {
    let none = env(&[]);
    for bytes in [&b"value"[..], b"  value \r\n", b"\xef\xbb\xbfvalue\n", b"\xff\xfev\0a\0l\0u\0e\0\r\0\n\0", b"\xfe\xff\0v\0a\0l\0u\0e"] {
        let (dir, reference) = file(bytes);
        let text = Secrets::new(dir.path(), &none).text(&reference).unwrap();
        assert_eq!(text.expose_secret(), "value", "{bytes:?}");
    }
}

#[test]
fn the_bytes_of_a_key_stay_as_they_are() {
    let (dir, reference) = file(b"\xff\xfe\0\xd8 binary \n");
    assert_eq!(&**Secrets::new(dir.path(), &env(&[])).bytes(&reference).unwrap(), b"\xff\xfe\0\xd8 binary \n");
}

#[test]
fn variables_and_credentials() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app"), "from systemd\n").unwrap();
    let env = env(&[("A", " from env\n"), ("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap())]);
    let secrets = Secrets::new(Path::new("/nowhere"), &env);
    assert_eq!(secrets.text(&SecretRef::Env("A".into())).unwrap().expose_secret(), "from env");
    assert_eq!(secrets.text(&SecretRef::Credential("app".into())).unwrap().expose_secret(), "from systemd");
    assert_eq!(secrets.text(&SecretRef::Credential("../app".into())).unwrap_err(), SecretError::CredentialName("../app".into()));
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("blank"), " \n\n").unwrap();
    std::fs::write(dir.path().join("latin1"), b"caf\xe9").unwrap();
    let env = env(&[("TWO", "hush\nhush"), ("BLANK", "")]);
    let secrets = Secrets::new(dir.path(), &env);
    let cases = [
        (SecretRef::File("gone".into()), "gone does not exist"),
        (SecretRef::File("blank".into()), "blank is empty"),
        (SecretRef::File("latin1".into()), "latin1 is not UTF-8 text"),
        (SecretRef::File(".".into()), "cannot be read"),
        (SecretRef::Env("NONE".into()), "variable NONE is not set"),
        (SecretRef::Env("BLANK".into()), "variable BLANK is empty"),
        (SecretRef::Env("TWO".into()), "variable TWO has a line break"),
        (SecretRef::Credential("app".into()), "no credential app"),
        (SecretRef::Literal("hush\n".into()), "the value has a line break"),
        (SecretRef::Literal(" ".into()), "the value is empty"),
    ];
    for (reference, expected) in cases {
        let error = secrets.text(&reference).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_noticed() {
    let (dir, reference) = file(b"value");
    let env = env(&[]);
    let secrets = Secrets::new(dir.path(), &env);
    for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true)] {
        std::fs::set_permissions(dir.path().join("s"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(secrets.exposed(&reference).is_some(), exposed, "{mode:o}");
    }
}

#[test]
fn a_reference_does_not_show_its_value() {
    assert!(!format!("{:?}", SecretRef::Literal("hush".into())).contains("hush"));
}

#[cfg(unix)]
#[test]
fn of_a_link_what_it_leads_to_is_judged() {
    let (dir, _) = file(b"value");
    let env = env(&[]);
    let secrets = Secrets::new(dir.path(), &env);
    // As Kubernetes mounts a secret: s → ..data/s, ..data → ..2026_01_01.
    std::fs::create_dir(dir.path().join("..2026_01_01")).unwrap();
    std::fs::rename(dir.path().join("s"), dir.path().join("..2026_01_01/s")).unwrap();
    std::os::unix::fs::symlink("..2026_01_01", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/s", dir.path().join("s")).unwrap();
    let reference = SecretRef::File("s".into());
    for (mode, exposed) in [(0o400, false), (0o440, true), (0o444, true)] {
        let target = dir.path().join("..2026_01_01/s");
        std::fs::set_permissions(target, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(secrets.exposed(&reference).is_some(), exposed, "{mode:o}");
    }
    assert!(how_to_close(&dir.path().join("s")).contains("defaultMode: 0400"));
    assert!(how_to_close(Path::new("/run/secrets/client_secret")).contains("mode: 0400"));
    assert!(how_to_close(Path::new("secrets/client_secret")).starts_with("chmod 600"));
}

#[test]
fn the_files_that_were_read_are_known() {
    let (dir, reference) = file(b"value");
    std::fs::write(dir.path().join("other"), "x").unwrap();
    std::fs::write(dir.path().join("app"), "x").unwrap();
    let env = env(&[("A", "x"), ("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap())]);
    let secrets = Secrets::new(dir.path(), &env);
    secrets.text(&SecretRef::Env("A".into())).unwrap();
    secrets.text(&SecretRef::Credential("app".into())).unwrap();
    secrets.bytes_followed_elsewhere(&SecretRef::File("other".into())).unwrap();
    secrets.bytes(&reference).unwrap();
    secrets.bytes(&reference).unwrap();
    let read = secrets.into_read();
    let paths: Vec<&Path> = read.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(paths, [dir.path().join("app"), dir.path().join("s")]);
    assert!(read.iter().all(|(path, look)| Look::at(path) == Some(*look)));
}

//! When files are read again, and what comes of it.

use std::cell::{Cell, RefCell};
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::Path;

use secrecy::ExposeSecret;

use super::watch::{AT_ONCE, PATIENCE};
use super::*;
use crate::look::Look;
use crate::sandbox::demo;

fn watch(dir: &Path, names: &[&str]) -> Watch {
    let seen = |name: &&str| (dir.join(name), Look::at(&dir.join(name)).unwrap());
    Watch::new(Watched { secrets: names.iter().map(seen).collect(), configuration: None })
}

#[test]
fn a_change_counts_once_it_rests() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), "1").unwrap();
    fs::write(at("b"), "1").unwrap();
    let mut watch = watch(dir.path(), &["a", "b"]);
    assert_eq!(watch.look(), None);
    fs::write(at("b"), "22").unwrap();
    assert_eq!(watch.look(), None, "it has changed a moment ago");
    fs::write(at("b"), "333").unwrap();
    assert_eq!(watch.look(), None, "and again");
    assert_eq!(watch.look(), Some(at("b")));
    let looks = watch.looks();
    watch.tried(looks);
    assert_eq!((watch.look(), watch.look()), (None, None), "no other change");
    // The other one belongs to it, and is not done.
    fs::write(at("b"), "4444").unwrap();
    assert_eq!(watch.look(), None);
    fs::write(at("a"), "4444").unwrap();
    assert_eq!(watch.look(), None);
    assert_eq!(watch.look(), Some(at("a")));
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_elsewhere_is_a_change_and_back_again_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for version in ["..1", "..2"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("token"), "same").unwrap();
    }
    let swap = |version: &str| {
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    swap("..1");
    symlink("..data/token", at("token")).unwrap();
    let mut watch = watch(dir.path(), &["token"]);
    swap("..2");
    assert_eq!(watch.look(), None);
    swap("..1");
    assert_eq!((watch.look(), watch.look()), (None, None));
    swap("..2");
    assert_eq!((watch.look(), watch.look()), (None, Some(at("token"))));
}

#[test]
fn a_file_that_is_missing_has_a_while_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "1").unwrap();
    let mut watch = watch(dir.path(), &["a"]);
    fs::remove_file(&path).unwrap();
    for _ in 0..PATIENCE {
        assert_eq!(watch.look(), None);
    }
    assert_eq!(watch.look(), Some(path.clone()), "whoever starts it again should know");
    let looks = watch.looks();
    watch.tried(looks);
    assert_eq!(watch.look(), None);
    fs::write(&path, "1").unwrap();
    assert_eq!((watch.look(), watch.look()), (None, Some(path)));
}

#[test]
fn of_many_files_each_has_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..3 * AT_ONCE).map(|number| number.to_string()).collect();
    names.iter().for_each(|name| fs::write(dir.path().join(name), "1").unwrap());
    let mut watch = watch(dir.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let last = dir.path().join(names.last().unwrap());
    fs::write(&last, "22").unwrap();
    let looks: Vec<_> = (0..4).map(|_| watch.look()).collect();
    assert_eq!(looks, [None, None, None, Some(last)], "found in the third, at rest in the fourth");
    // All of them at once: it does not take for ever.
    names.iter().for_each(|name| fs::write(dir.path().join(name), "333").unwrap());
    assert!((0..2 * PATIENCE).any(|_| watch.look().is_some()));
}

/// A directory with the demo's configuration, and what reads it.
fn demo_home() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    demo::write_config(dir.path(), "http://127.0.0.1:9").unwrap();
    dir
}

#[test]
fn what_fails_is_tried_again_less_and_less_often_and_heals() {
    let dir = demo_home();
    let file = dir.path().join("proxy.toml");
    let mut config = Config::load(&file).unwrap();
    let refuses = Cell::new(false);
    let applied = RefCell::new(Vec::new());
    let apply = |config: Config| {
        if refuses.get() {
            return Err("not now");
        }
        applied.borrow_mut().push(config.tenants[1].client_secrets[0].expose_secret().to_owned());
        Ok(Report::default())
    };
    let watch = Watch::new(std::mem::take(&mut config.watched));
    let mut reloader = Reloader { file, apply, watch, again: None, said: String::new(), reloads: Reloads::default() };
    let secret = dir.path().join("secrets/Cust54321.client_secret");
    let count = || applied.borrow().len();
    (0..30).for_each(|_| reloader.look());
    assert_eq!(count(), 0, "nothing has changed");

    fs::write(&secret, "two").unwrap();
    (0..3).for_each(|_| reloader.look());
    assert_eq!(*applied.borrow(), ["two"], "once");
    reloader.asked(Request { by: "a test", answer: None });
    assert_eq!(count(), 2);

    // Half written, then whole: healed by the change.
    fs::write(&secret, "").unwrap();
    (0..3).for_each(|_| reloader.look());
    assert!(reloader.said.contains("client_secret") && reloader.said.contains("is empty"), "{}", reloader.said);
    assert_eq!((count(), reloader.again), (2, Some((9, 10))));
    fs::write(&secret, "three").unwrap();
    (0..3).for_each(|_| reloader.look());
    assert_eq!((applied.borrow().last().map(String::as_str), reloader.again), (Some("three"), None));

    // What is not in a file: tried again after 10 looks, 20, 40 …, and never later than after five minutes.
    refuses.set(true);
    fs::write(&secret, "four").unwrap();
    (0..2).for_each(|_| reloader.look());
    for pause in [10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(reloader.again, Some((pause, pause)));
        (0..pause).for_each(|_| reloader.look());
    }
    refuses.set(false);
    (0..300).for_each(|_| reloader.look());
    assert_eq!((applied.borrow().last().map(String::as_str), reloader.again), (Some("four"), None));

    // Whoever asks is told, and nothing is tried behind their back.
    refuses.set(true);
    reloader.asked(Request { by: "a test", answer: None });
    assert_eq!((reloader.said.as_str(), reloader.again), ("not now", None));
}

/// What the files of the configuration do, and how often they are read for it.
#[test]
fn files_of_the_configuration_come_change_and_go() {
    let dir = demo_home();
    let at = |name: &str| dir.path().join(name);
    let file = at("proxy.toml");
    let mut config = Config::load(&file).unwrap();
    let applied = RefCell::new(Vec::new());
    let apply = |config: Config| {
        applied.borrow_mut().push(config.tenants.iter().map(|tenant| tenant.name.clone()).collect::<Vec<_>>().join(" "));
        Ok::<_, String>(Report::default())
    };
    let watch = Watch::new(std::mem::take(&mut config.watched));
    let mut reloader = Reloader { file: file.clone(), apply, watch, again: None, said: String::new(), reloads: Reloads::default() };
    let tenant = |name: &str| format!("[tenants.{name}]\nsystem_user_token = {{ file = \"../secrets/Cust12345.token\" }}\n");
    let count = || applied.borrow().len();
    let last = || applied.borrow().last().cloned().unwrap_or_default();
    let mut looks = |times: usize| {
        (0..times).for_each(|_| reloader.look());
        (count(), last(), std::mem::take(&mut reloader.said))
    };
    let good = |count: usize, names: &str| (count, names.to_owned(), String::new());
    assert_eq!(looks(3).0, 0);

    // The directory was missing; it comes as a whole, or as a link.
    fs::create_dir(at("v1")).unwrap();
    fs::write(at("v1/a.toml"), tenant("A")).unwrap();
    symlink("v1", at("tenants.d")).unwrap();
    assert_eq!(looks(1).0, 0, "it may not be whole yet");
    assert_eq!(looks(1), good(1, "A Cust12345 Cust54321"));
    fs::write(at("v1/b.toml"), tenant("B")).unwrap();
    assert_eq!(looks(2), good(2, "A B Cust12345 Cust54321"));
    fs::write(at("v1/b.toml"), tenant("Bee")).unwrap();
    assert_eq!(looks(2), good(3, "A Bee Cust12345 Cust54321"));

    // What editors leave behind is nothing.
    for name in ["v1/.b.toml.swp", "v1/b.toml~", ".proxy.toml.swp"] {
        fs::write(at(name), "x").unwrap();
    }
    assert_eq!(looks(4), good(3, "A Bee Cust12345 Cust54321"));

    // Half written: told once, by its name, and healed by the next change.
    fs::write(at("v1/c.toml"), "[tenants.C]\nsystem_user").unwrap();
    let (count, _, said) = looks(4);
    assert!(count == 3 && said.contains("tenants.d/c.toml:2:"), "{count} {said}");
    fs::write(at("v1/c.toml"), tenant("C")).unwrap();
    assert_eq!(looks(2), good(4, "A Bee C Cust12345 Cust54321"));

    // Another directory behind the link, with files of the same names.
    fs::create_dir(at("v2")).unwrap();
    for name in ["a", "b"] {
        fs::write(at(&format!("v2/{name}.toml")), tenant(&format!("{name}-two"))).unwrap();
    }
    symlink("v2", at("link")).unwrap();
    fs::rename(at("link"), at("tenants.d")).unwrap();
    assert_eq!(looks(2), good(5, "Cust12345 Cust54321 a-two b-two"));
    fs::remove_file(at("v2/a.toml")).unwrap();
    assert_eq!(looks(2), good(6, "Cust12345 Cust54321 b-two"));
    fs::remove_file(at("tenants.d")).unwrap();
    assert_eq!(looks(2), good(7, "Cust12345 Cust54321"));

    // proxy.toml, and whether it is followed.
    let text = fs::read_to_string(&file).unwrap();
    let put = |text: &str| {
        fs::write(at("new"), text).unwrap();
        fs::rename(at("new"), &file).unwrap();
    };
    let only = text.split("# This tenant has approved").next().unwrap();
    put(&format!("{only}[reload]\nwatch = false\n"));
    assert_eq!(looks(2), good(8, "Cust12345"));
    put(&text);
    assert_eq!(looks(4), good(8, "Cust12345"));
    reloader.asked(Request { by: "a test", answer: None });
    assert_eq!((applied.borrow().len(), reloader.said.as_str()), (9, ""));
    put(only);
    (0..2).for_each(|_| reloader.look());
    assert_eq!(applied.borrow().len(), 10, "it is followed again");
}

#[test]
fn the_log_tells_of_many_changes_how_many_they_are() {
    let told = |count: usize| Report::of((0..count).map(|number| format!("tenants.Cust{number}: added")));
    assert_eq!(told(0).to_string(), "nothing changed");
    assert_eq!(told(2).to_string(), "tenants.Cust0: added; tenants.Cust1: added");
    assert!(told(30).to_string().ends_with("tenants.Cust19: added; and 10 more"), "{}", told(30));
    let all = told(10_000);
    assert_eq!((all.changes.len(), all.changes.last().map(String::as_str)), (501, Some("and 9500 more")));
    assert!(Report::of(["x".repeat(3000)].into_iter()).to_string().len() < 100);
}

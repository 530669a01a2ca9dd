//! When files are read again, and what comes of it.

use std::cell::{Cell, RefCell};
use std::fs;
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

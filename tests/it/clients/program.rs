//! `soproxy client new`: what it prints works.

use http::Request;

use crate::bench::{collect, open};
use crate::binary::Home;

/// The key and the configuration lines.
fn parts(printed: &str) -> (String, String) {
    let word = |line: &str| line.trim_start_matches(['#', ' ']).trim().to_owned();
    let key = printed.lines().map(word).find(|line| line.starts_with("soproxy_")).unwrap();
    (key, printed.to_owned())
}

#[tokio::test]
async fn what_is_printed_lets_its_holder_in_and_nobody_else() {
    let home = Home::new().await;
    let mut tables = String::new();
    let mut keys = Vec::new();
    for name in ["erp", "erp.test", "CI-2_x"] {
        let printed = home.run(&["client", "new", name]).await;
        assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
        let (key, lines) = parts(&printed.stdout);
        assert!(lines.contains("sha256:"), "{lines}");
        tables += &lines;
        keys.push(key);
    }
    // As it was printed: comments and all.
    home.write("proxy.toml", home.read("proxy.toml") + "\n" + &tables);
    let checked = home.run(&["check"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let get = async |key: Option<&str>| {
        let mut request = Request::get("/Cust12345/api/v1/User/currentPrincipal").header("host", proxy.to_string());
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        collect(open(proxy, request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await).await.status
    };
    for (key, name) in keys.iter().zip(["erp", "erp.test", "CI-2_x"]) {
        assert_eq!(get(Some(key)).await, 200);
        program.logged(&format!("client=\"{name}\""), 1).await;
    }
    assert_eq!(get(None).await, 401);
    assert_eq!(get(Some(&keys[0].replace("soproxy_", "soproxy-"))).await, 401);
    program.logged("refused_by=\"client\"", 2).await;
    assert!(!keys.iter().any(|key| program.stderr().contains(key.as_str())), "a key stands in the log");
}

#[tokio::test]
async fn a_key_is_another_each_time_and_the_example_lines_are_rules() {
    let home = Home::new().await;
    let (first, second) = (home.run(&["client", "new", "erp"]).await, home.run(&["client", "new", "erp"]).await);
    let ((one, lines), (two, _)) = (parts(&first.stdout), parts(&second.stdout));
    assert_ne!(one, two);
    // The commented rules are right as they stand.
    let begin = lines.find("[clients.").unwrap();
    let uncommented = lines[begin..].replace("\n# ", "\n");
    home.write("proxy.toml", home.read("proxy.toml") + "\n" + &uncommented.replace("read_only = true\n", ""));
    let checked = home.run(&["check"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[tokio::test]
async fn what_cannot_be_a_name_is_a_mistake_of_the_command_line() {
    let home = Home::new().await;
    let long = "x".repeat(65);
    for name in ["", "a b", "a/b", "å", "x\n[anonymous]", "a\"b", "a]", long.as_str()] {
        let refused = home.run(&["client", "new", name]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{name:?}: {refused:?}");
        assert!(!refused.stderr.is_empty());
    }
    for arguments in [&["client"][..], &["client", "new"], &["client", "new", "a", "b"], &["client", "old", "a"]] {
        assert_eq!(home.run(arguments).await.code, 2, "{arguments:?}");
    }
}

//! Ten thousand tenants: the real program starts with them, serves them, and takes a new configuration.

use std::fmt::Write;

use soproxy::sandbox::demo;

use crate::binary::{Home, Program, get};

/// Bytes of memory that are the program's own, as Linux tells: without what it maps of its file.
fn memory(program: &Program) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// The demo's configuration with this many tenants, all of them labels of the first. Nothing is fetched at start.
async fn home(tenants: usize) -> Home {
    let home = Home::new().await.variable("SOPROXY_RENEWAL__PREFETCH", "false");
    let demo = home.read("proxy.toml");
    let mut text = demo.split("[tenants.").next().unwrap().to_owned();
    for n in 0..tenants {
        let (context, token) = (demo::TENANT, demo::SYSTEM_USER_TOKEN);
        writeln!(text, "[tenants.Label{n:05}]\ncontext = \"{context}\"\nsystem_user_token = \"{token}\"\n").unwrap();
    }
    home.write("proxy.toml", text);
    home
}

/// What is quadratic in the number of tenants (a search among all of them for each of them) takes minutes here in a build
/// without optimisation; what is linear, a second or two. The ten seconds that the helpers wait lie far from both.
#[tokio::test]
async fn ten_thousand_tenants_start_serve_and_are_reloaded() {
    const TENANTS: usize = 10_010;
    let (few, many) = (home(10).await, home(TENANTS).await);
    let (small, large) = (few.spawn(&["run"]), many.spawn(&["run"]));
    small.addresses().await;
    let (proxy, admin) = large.addresses().await;

    let each = (memory(&large) - memory(&small)) / (TENANTS - 10);
    assert!(each < 4096, "{each} bytes for each tenant");

    let exchanges = || many.sandbox.control().counters().exchanges_of(demo::TENANT);
    for path in ["/Label00000/api/v1/_sandbox/echo", "/LABEL10009/api/v1/_sandbox/echo"] {
        assert_eq!(get(proxy, path).await.status, 200, "{path}");
    }
    assert_eq!((get(proxy, "/Label10010/api/v1/x").await.status.as_u16(), exchanges()), (404, 2));
    assert_eq!(get(admin, "/readyz").await.json()["tenants"].as_object().unwrap().len(), TENANTS);

    many.edit("proxy.toml", "[tenants.Label10009]\ncontext = \"Cust12345\"", "[tenants.Label10009]\ncontext = \"CUST12345\"");
    large.signal("HUP");
    large.logged("tickets_kept=10009", 1).await;
    assert_eq!(get(proxy, "/Label00000/api/v1/_sandbox/echo").await.status, 200);
    assert_eq!(exchanges(), 2, "the first tenant keeps its ticket");
    assert_eq!(get(proxy, "/Label10009/api/v1/_sandbox/echo").await.status, 200);
    assert_eq!(exchanges(), 3, "the one that was changed gets another");
}

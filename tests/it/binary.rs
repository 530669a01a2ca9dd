//! The real program: in a directory of its own, with an environment of its own, and always ended with its test.

use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Request;
use soproxy::sandbox::{self, Options, Sandbox, demo};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{Answer, collect, open};

/// A directory to run the program in, with the demo's `proxy.toml`, keys and secrets in it, and the sandbox that fits.
pub struct Home {
    pub sandbox: Sandbox,
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
    /// What the program is run by, if not directly.
    wrapper: Vec<String>,
    _sandbox: DropGuard,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A program that is running; ended when dropped.
pub struct Program {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Home {
    pub async fn new() -> Home {
        Home::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Home {
        let stop = CancellationToken::new();
        let sandbox = sandbox::start(options, "127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        demo::write_config(dir.path(), sandbox.base()).unwrap();
        let home = Home { sandbox, dir, variables: Vec::new(), wrapper: Vec::new(), _sandbox: stop.drop_guard() };
        home.variable("SOPROXY_LISTEN__ADDRESS", "127.0.0.1:0").variable("SOPROXY_ADMIN__ADDRESS", "127.0.0.1:0")
    }

    /// The program's environment has this variable, too.
    pub fn variable(mut self, name: &str, value: &str) -> Home {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program's environment is empty.
    pub fn without_variables(mut self) -> Home {
        self.variables.clear();
        self
    }

    /// The first tenant's web API is a scripted peer.
    pub fn api_at(self, peer: SocketAddr) -> Home {
        self.variable("SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS", &peer.to_string())
            .variable("SOPROXY_TENANTS__CUST12345__API_URL", &format!("http://{peer}/Cust12345/api"))
    }

    /// The program finds both loopback addresses under the name `localhost`, whatever this machine's `/etc/hosts` says: it
    /// has a file of its own there. `None` where that cannot be had.
    pub fn with_two_localhosts(mut self) -> Option<Home> {
        self.write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
        let mount = "mount --bind hosts /etc/hosts";
        let unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"];
        let mut attempt = Command::new(unshare[0]);
        attempt.args(&unshare[1..]).arg(mount).current_dir(self.dir.path()).stderr(Stdio::null());
        let mounts = attempt.status().is_ok_and(|status| status.success());
        self.wrapper = unshare.map(str::to_owned).to_vec();
        self.wrapper.push(format!("{mount} && exec \"$0\" \"$@\""));
        mounts.then_some(self)
    }

    /// The program runs under limits that a shell sets: `limited("ulimit -n 64")`.
    pub fn limited(mut self, limit: &str) -> Home {
        self.wrapper = ["sh", "-c", &format!("{limit} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file as people and tools do: whole, under its name at once.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Replaces a piece of a file that must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{from:?} is not in {text}");
        self.write(name, text.replace(from, to));
    }

    pub fn spawn(&self, arguments: &[&str]) -> Program {
        self.spawn_with(arguments, &[])
    }

    pub fn spawn_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let wrapper: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        self.spawn_by(&wrapper, Stdio::null(), arguments, variables)
    }

    /// The program gets a socket as systemd hands it over: it is number 3, and the environment says so.
    pub fn spawn_on(&self, socket: impl Into<OwnedFd>, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        // A child inherits nothing but its first three; a shell puts what stands at the first where it belongs.
        let moved = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=soproxy.socket exec "$0" "$@""#;
        self.spawn_by(&["sh", "-c", moved], Stdio::from(socket.into()), arguments, variables)
    }

    fn spawn_by(&self, wrapper: &[&str], stdin: Stdio, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let mut words = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_soproxy")]).chain(arguments.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(self.dir.path()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).envs(variables.iter().copied());
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, first) = follow(child.stdout.take().unwrap());
        let (err, second) = follow(child.stderr.take().unwrap());
        Program { child, stdout: out, stderr: err, readers: vec![first, second] }
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    pub async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.spawn_with(arguments, variables).ended().await
    }
}

/// Reads a stream into a text as it grows.
fn follow(mut stream: impl Read + Send + 'static) -> (Arc<Mutex<String>>, std::thread::JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = text.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    });
    (text, reader)
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the log has said this `times` times.
    pub async fn logged(&self, text: &str, times: usize) {
        let started = Instant::now();
        while self.stderr().matches(text).count() < times {
            assert!(started.elapsed() < Duration::from_secs(10), "not logged: {text:?}\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until standard output has this.
    pub async fn printed(&self, text: &str) {
        let started = Instant::now();
        while !self.stdout().contains(text) {
            assert!(started.elapsed() < Duration::from_secs(10), "not printed: {text:?}\n{}\n{}", self.stdout(), self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where it serves, and where its admin listener is, as its log tells.
    pub async fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.logged(" serves", 1).await;
        let log = self.stderr();
        let line = log.lines().find(|line| line.contains(" serves")).unwrap();
        let mut found = line.match_indices("127.0.0.1:").map(|(at, _)| {
            let end = line[at..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').map_or(line.len(), |end| at + end);
            line[at..end].parse().unwrap()
        });
        (found.next().unwrap(), found.next().unwrap())
    }

    /// Waits for its end, for at most twenty seconds.
    pub async fn ended(mut self) -> Output {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "still running\n{}\n{}", self.stdout(), self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Output { code: status.code().unwrap_or(-1), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A GET on a connection of its own.
pub async fn get(to: SocketAddr, path: &str) -> Answer {
    let request = Request::get(path).header("host", to.to_string()).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    collect(open(to, request).await).await
}

//! What the tests of the command have in common.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The key of the book's examples, and its public half.
pub const PRIVATE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
pub const PUBLIC: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// The program under test.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_eds").into()
}

/// A directory to work in, and the program in it.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a command gave.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command in the directory, with nothing of this process's environment that it could mistake for its own.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(program());
        command.args(args).current_dir(self.dir.path());
        for name in ["DEVICE_PRIVATE_KEY_HEX", "STATE_DIRECTORY", "NOTIFY_SOCKET", "RUST_LOG"] {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SECURE_LOG_") {
                command.env_remove(name);
            }
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs what has to work, and gives its stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "eds {}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        ran.stdout
    }

    /// The same, read as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("eds {} --json: {e}: {text}", args.join(" ")))
    }

    /// Runs what has to fail with exit code 1, and gives what it says. Stdout stays clean.
    pub fn fails(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(1), "eds {}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
        ran.stderr
    }

    /// Starts a server and waits until it listens.
    pub fn serve(&self, args: &[&str]) -> Server {
        self.start(self.command(args))
    }

    /// The same for a command with more to it.
    pub fn start(&self, mut command: Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::fs::File::create(self.path("server.log")).unwrap()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let mut addr = None;
        let mut line = String::new();
        while addr.is_none() {
            line.clear();
            if stderr.read_line(&mut line).unwrap() == 0 {
                let status = child.wait().unwrap();
                panic!("the server ended ({status}):\n{said}");
            }
            said.push_str(&line);
            // Without records over HTTP (MQTT), the address for metrics.
            let at = ["listening on http://", "listening on https://", "health and metrics on http://"];
            addr = at.iter().find_map(|at| line.trim().strip_prefix(at)).map(|text| text.parse().unwrap());
        }
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest);
            said + &rest
        });
        Server { child: Some(child), addr: addr.unwrap(), stderr: Some(rest) }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running server; it is killed when dropped.
pub struct Server {
    child: Option<Child>,
    pub addr: SocketAddr,
    stderr: Option<std::thread::JoinHandle<String>>,
}

impl Server {
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop, waits for that, and gives its exit code and what it said on stderr.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut child = self.child.take().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status.code(), self.stderr.take().unwrap().join().unwrap());
            }
            if Instant::now() > until {
                let _ = child.kill();
                panic!("the server did not stop");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status and body of a request.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        request(self.addr, method, path, body)
    }

    /// Gives a record with its payload to the server.
    pub fn ingest(&self, record: &Value, payload: &[u8]) -> std::io::Result<(u16, String)> {
        let body = serde_json::json!({"record": record, "raw_payload_hex": hex::encode(payload)});
        self.request("POST", "/api/v1/ingest", body.to_string().as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn request(addr: SocketAddr, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || std::io::Error::other(format!("no answer of HTTP: {answer:?}"));
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// Files below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

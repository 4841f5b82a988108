//! SoftHSM2 with its tokens in a directory of the test's own.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::Value;

use crate::support::{Place, Ran};

pub const PIN: &str = "pin-that-nobody-should-see";
pub const SO_PIN: &str = "officer-pin-that-nobody-should-see";
/// The key of most tests.
pub const URI: &str = "pkcs11:token=prod;object=audit";

/// The library.
pub fn module() -> PathBuf {
    let named = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let module = named.unwrap_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into());
    assert!(module.is_file(), "{} is not there: apt-get install softhsm2 opensc", module.display());
    module
}

/// OpenSC's library that writes down what another is asked.
pub fn spy() -> PathBuf {
    let spy = PathBuf::from(format!("/usr/lib/{}-linux-gnu/pkcs11-spy.so", std::env::consts::ARCH));
    assert!(spy.is_file(), "{} is not there: apt-get install opensc-pkcs11", spy.display());
    spy
}

pub fn stdout(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: apt-get install opensc openssl"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A place to work in with an HSM: commands have its library by SECURE_LOG_PKCS11_MODULE.
pub struct Hsm {
    pub place: Place,
}

impl Hsm {
    pub fn new() -> Self {
        let hsm = Self { place: Place::new() };
        fs::create_dir(hsm.place.path("tokens")).unwrap();
        hsm.configure("");
        hsm.secret("pin", &format!("{PIN}\n"));
        hsm.secret("so-pin", SO_PIN);
        hsm.secret("wrong-pin", "another pin");
        hsm
    }

    /// The same with a token `prod`.
    pub fn with_token() -> Self {
        let hsm = Self::new();
        hsm.init("prod");
        hsm
    }

    /// A file of mode 0600.
    pub fn secret(&self, name: &str, text: &str) {
        let path = self.place.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes SoftHSM2's configuration, with a further line.
    pub fn configure(&self, line: &str) {
        let tokens = self.place.path("tokens");
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n{line}\n",
            tokens.display()
        );
        fs::write(self.place.path("softhsm2.conf"), conf).unwrap();
    }

    pub fn init(&self, label: &str) {
        self.ok(&["keys", "init-token", label, "--pin-file", "pin", "--so-pin-file", "so-pin"]);
    }

    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = self.place.command(args);
        command.env("SOFTHSM2_CONF", self.place.path("softhsm2.conf"));
        command.env("SECURE_LOG_PKCS11_MODULE", module()).stdin(Stdio::null());
        command
    }

    /// The same, run by another program: `wrapper` is that and its first arguments.
    pub fn under(&self, wrapper: &[&str], args: &[&str]) -> Command {
        let command = self.command(args);
        let mut outer = Command::new(wrapper[0]);
        outer.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
        outer.current_dir(self.place.path("")).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer
    }

    /// Runs a command. No PIN shows, whatever comes of it.
    pub fn output(&self, command: &mut Command) -> Ran {
        let ran = Ran::from(command.output().unwrap());
        for pin in [PIN, SO_PIN] {
            assert!(!ran.stdout.contains(pin) && !ran.stderr.contains(pin), "{}{}", ran.stdout, ran.stderr);
        }
        ran
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.output(&mut self.command(args))
    }

    pub fn ok(&self, args: &[&str]) -> String {
        worked(self.run(args), args)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    pub fn fails(&self, args: &[&str]) -> String {
        failed(self.run(args), args)
    }

    /// Runs what has nothing to do with the HSM.
    pub fn without_module(&self, args: &[&str]) -> String {
        worked(self.output(self.command(args).env_remove("SECURE_LOG_PKCS11_MODULE")), args)
    }

    pub fn without_module_fails(&self, args: &[&str]) -> String {
        failed(self.output(self.command(args).env_remove("SECURE_LOG_PKCS11_MODULE")), args)
    }

    /// Runs OpenSC's pkcs11-tool on the same library.
    pub fn tool(&self, args: &[&str]) -> String {
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(module()).args(args);
        stdout(tool.current_dir(self.place.path("")).env("SOFTHSM2_CONF", self.place.path("softhsm2.conf")))
    }

    /// Whether pkcs11-tool reads this public key.
    pub fn others_read(&self, label: &str, pem: &str) -> bool {
        let spki = spki(pem);
        if label == "ed25519" {
            // It writes no file of such a key that OpenSSL reads, and shows its point: 32 bytes in an OCTET STRING.
            let shown = self.tool(&["--token-label", "prod", "-O", "--type", "pubkey"]);
            return shown.contains(&format!("EC_POINT:   0420{}\n", hex::encode(&spki[spki.len() - 32..])));
        }
        let read = ["--read-object", "--type", "pubkey", "--output-file", "theirs.der"];
        self.tool(&[&["--token-label", "prod", "--label", label][..], &read].concat());
        fs::read(self.place.path("theirs.der")).unwrap() == spki
    }

    /// Signs a checkpoint with a key of the token, and has OpenSSL verify it with this public key.
    pub fn openssl_verifies(&self, key: &str, pem: &str) -> bool {
        self.ok(&["log", "append", "doors", key, "--origin", "example.com/audit"]);
        let identity = format!("pkcs11:token=prod;object={key}");
        let note = self.ok(&["log", "sign", "--identity", &identity, "--pin-file", "pin"]);
        let (text, signatures) = note.split_once("\n\n").unwrap();
        let signature = signatures.trim().rsplit(' ').next().unwrap();
        let signature = base64::engine::general_purpose::STANDARD.decode(signature).unwrap();
        fs::write(self.place.path("message"), format!("{text}\n")).unwrap();
        // The first four bytes say which key it is.
        fs::write(self.place.path("signature"), &signature[4..]).unwrap();
        fs::write(self.place.path("public.pem"), pem).unwrap();
        let mut verify = Command::new("openssl");
        verify.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public.pem", "-in", "message"]);
        verify.args(["-sigfile", "signature"]);
        if key != "ed25519" {
            verify.args(["-digest", "sha256"]);
        }
        if key.starts_with("rsa") {
            verify.args(["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32"]);
        }
        stdout(verify.current_dir(self.place.path(""))).contains("Verified Successfully")
    }
}

/// What is in a public key's PEM.
fn spki(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn worked(ran: Ran, args: &[&str]) -> String {
    assert_eq!(ran.code, Some(0), "eds {}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
    ran.stdout
}

fn failed(ran: Ran, args: &[&str]) -> String {
    assert_eq!(ran.code, Some(1), "eds {}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("error: ") && ran.stdout.is_empty(), "{}{}", ran.stdout, ran.stderr);
    ran.stderr
}

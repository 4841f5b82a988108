//! Tokens that are components: `--token-dir` and `--token-graph`.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::hsm::{Hsm, PIN};

/// A component of dist/, if it is built.
fn dist(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist").join(name);
    if path.is_file() {
        return Some(path.canonicalize().unwrap());
    }
    println!("NOT CHECKED: dist/{name} is not built (scripts/setup-tokens.sh says what it needs)");
    None
}

/// The whole life of a token in `graph`, and of a log that is signed in `stack`.
fn life(graph: &Path, stack: &Path) -> Hsm {
    let hsm = Hsm::new();
    let (graph, stack) = (graph.to_str().unwrap(), stack.to_str().unwrap());
    let at = |args: &[&str]| {
        let place = ["--token-dir", "token", "--token-graph", graph, "--pin-file", "pin"];
        [args, &place].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let ok = |args: &[&str]| {
        let args = at(args);
        hsm.without_module(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let fails = |args: &[&str]| {
        let args = at(args);
        hsm.without_module_fails(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let early = fails(&["keys", "create", "audit"]);
    assert!(early.contains("eds keys init-token"), "{early}");
    ok(&["keys", "init-token", "prod", "--so-pin-file", "so-pin"]);
    let mode = std::fs::metadata(hsm.place.path("token")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert!(ok(&["keys", "tokens"]).contains("prod\t"));
    for alg in ["ed25519", "ecdsa-p256", "rsa-pss-sha256"] {
        let made = ok(&["keys", "create", alg, "--alg", alg]);
        assert_eq!(ok(&["keys", "show", alg]), made, "{alg}");
    }
    let refused = fails(&["keys", "create", "ed25519"]);
    assert!(refused.contains("never overwritten"), "{refused}");
    assert_eq!(ok(&["keys", "list"]).lines().count(), 3);
    let none = fails(&["keys", "show", "none"]);
    assert!(none.contains("no key \"none\""), "{none}");
    hsm.without_module(&["keys", "create", "software", "--keys", "keys"]);
    let imported = ok(&["keys", "import", "software", "--from", "keys/software.pem"]);
    assert_eq!(imported, hsm.without_module(&["keys", "show", "software", "--keys", "keys"]));

    let sign = |key: &str| {
        hsm.without_module(&["log", "append", "doors", "x", "--origin", "example.com/audit"]);
        let identity = format!("pkcs11:token=prod;object={key}");
        let token = ["--token-dir", "token", "--pin-file", "pin", "--stack", stack];
        hsm.without_module(&[&["log", "sign", "--identity", &identity][..], &token].concat())
    };
    sign("ed25519");
    ok(&["keys", "rotate", "ed25519"]);
    sign("ed25519");
    sign("ecdsa-p256");
    sign("rsa-pss-sha256");
    let keys = ["ed25519", "ed25519.retired-1", "ecdsa-p256", "rsa-pss-sha256"].map(|key| {
        let shown = ok(&["keys", "show", key, "--origin", "example.com/audit"]);
        shown.lines().last().unwrap().to_owned()
    });
    let trust: Vec<_> = keys.iter().flat_map(|key| ["--trust", key]).collect();
    let verified = hsm.without_module(&[&["log", "verify"][..], &trust].concat());
    assert!(verified.contains("checkpoints: 4 verified, 4 signatures; not checked: 0"), "{verified}");

    let wrong = hsm.without_module_fails(&[
        "keys",
        "list",
        "--token-dir",
        "token",
        "--token-graph",
        graph,
        "--pin-file",
        "wrong-pin",
    ]);
    assert!(wrong.contains("refuses the PIN") && !wrong.contains("another pin"), "{wrong}");
    let wrong = hsm.without_module_fails(&[
        "log",
        "sign",
        "--identity",
        "ed25519",
        "--token-dir",
        "token",
        "--pin-file",
        "wrong-pin",
        "--stack",
        stack,
    ]);
    assert!(wrong.contains("refuses the PIN"), "{wrong}");
    read_only(&hsm, graph);
    let carried = hsm.without_module_fails(&[
        "log",
        "sign",
        "--identity",
        "ed25519",
        "--token-dir",
        "token",
        "--pin-file",
        "pin",
    ]);
    assert!(carried.contains("--stack PATH.wasm"), "{carried}");
    hsm
}

/// A directory on a file system that cannot be written to, which is so even for root.
fn read_only(hsm: &Hsm, graph: &str) {
    let mount = "mount --bind token token && mount -o remount,bind,ro token || exit 99; exec \"$0\" \"$@\"";
    let args = ["keys", "list", "--token-dir", "token", "--token-graph", graph, "--pin-file", "pin"];
    let mut command = hsm.under(&["unshare", "--mount", "sh", "-c", mount], &args);
    let ran = hsm.output(command.env_remove("SECURE_LOG_PKCS11_MODULE"));
    if ran.stderr.contains("unshare") || ran.code == Some(99) {
        println!("NOT CHECKED: a token directory that is read-only, for which nothing can be mounted here");
        return;
    }
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("cannot be written to"), "{}", ran.stderr);
}

#[test]
fn softhsm2_as_a_component() {
    let found = (dist("components/token-softhsm.wasm"), dist("secure-log-sqlite-pkcs11.wasm"));
    let (Some(graph), Some(stack)) = found else { return };
    let hsm = life(&graph, &stack);
    // The native library reads the same token.
    let conf = hsm.place.path("token/softhsm2.conf");
    let native = hsm.output(hsm.command(&["keys", "list", "--pin-file", "pin"]).env("SOFTHSM2_CONF", &conf));
    assert_eq!(native.stdout.lines().count(), 5, "{}{}", native.stdout, native.stderr);
    // And a token is found inside a whole stack as well.
    let stack = stack.to_str().unwrap();
    let inside = hsm.without_module(&[
        "keys",
        "list",
        "--token-dir",
        "token",
        "--token-graph",
        stack,
        "--pin-file",
        "pin",
    ]);
    assert_eq!(inside, native.stdout);
    assert!(!inside.contains(PIN));
}

#[test]
fn kryoptic_as_a_component() {
    let found = (dist("components/token-kryoptic.wasm"), dist("secure-log-sqlite-kryoptic.wasm"));
    let (Some(graph), Some(stack)) = found else { return };
    life(&graph, &stack);
}

//! The scripts in `cmd/`: what a user types, and what comes out.
//!
//! A line that begins with `$ ` is a command, `> ` goes on with it, and `? N` is its exit code where that is not 0. What
//! follows is what it writes, stdout and stderr. `[..]` stands for anything. `SNAPSHOTS=overwrite` writes what came out.

use std::path::Path;
use std::process::{Command, Stdio};

use snapbox::Data;

/// Runs a script and gives it back with what really came out.
fn run(script: &str) -> String {
    let place = crate::support::Place::new();
    let bin = crate::support::program();
    let path = std::env::join_paths(
        std::iter::once(bin.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else {
            // Text before the first command.
            out += line;
            out.push('\n');
            continue;
        };
        let mut command = first.to_owned();
        out += &format!("$ {first}\n");
        while let Some(more) = lines.next_if(|line| line.starts_with('>')) {
            let more = more.strip_prefix("> ").unwrap_or(&more[1..]);
            command += &format!("\n{more}");
            out += &if more.is_empty() { ">\n".to_owned() } else { format!("> {more}\n") };
        }
        // What was expected is replaced by what comes. Blank lines and comments before the next command stay.
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            block.push(line);
        }
        let kept =
            block.iter().rposition(|line| !line.is_empty() && !line.starts_with("# ")).map_or(0, |n| n + 1);
        let ran = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(place.path(""))
            .env("PATH", &path)
            .env_remove("DEVICE_PRIVATE_KEY_HEX")
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        match ran.status.code() {
            Some(0) => {}
            code => out += &format!("? {}\n", code.map_or("killed".into(), |code| code.to_string())),
        }
        out += &String::from_utf8_lossy(&ran.stdout);
        for line in &block[kept..] {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[test]
fn scripts_give_what_they_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut scripts: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        assert.eq(run(&text), Data::read_from(&script, None));
    }
}

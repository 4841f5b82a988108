//! `docs/cli.md` is what the program says. `EDS_BLESS=1` writes it.

use std::path::Path;

#[test]
fn the_reference_is_that_of_the_program() {
    let said = crate::support::Place::new().ok(&["docs"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("EDS_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&file, &said).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == said, "docs/cli.md is not what `eds docs` prints: run this test with EDS_BLESS=1");
}

#[test]
fn shells_get_completions() {
    let place = crate::support::Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("verify-chain"), "{shell}");
    }
}

#[test]
fn help_and_version_need_nothing() {
    let place = crate::support::Place::new();
    assert!(place.ok(&["--version"]).starts_with("eds "));
    assert!(place.ok(&["audit", "devices", "add", "--help"]).contains("Examples:"));
    assert_eq!(place.run(&["audit", "no-such-command"]).code, Some(2));
    assert_eq!(place.run(&["audit", "sign-record"]).code, Some(2));
}

//! Asking before something is destroyed.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result, bail};

use crate::output::note;

/// Lets the operator type the key's name, unless `yes` says that they mean it.
pub(super) fn destruction(name: &str, yes: bool) -> Result<()> {
    let what = format!(
        "What {name:?} has sealed cannot be read again, in no copy of the log. Type its name to destroy it:"
    );
    typed(name, &what, "was not destroyed", yes)
}

/// The same before payloads are erased from `name`, a stream or an erasure domain.
pub(crate) fn erasure(name: &str, what: &str, yes: bool) -> Result<()> {
    let what = format!("{what} will be gone for ever. Type {name:?} to erase them:");
    typed(name, &what, "was not erased", yes)
}

fn typed(name: &str, what: &str, not: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("{name:?} {not}: nobody is at a terminal to confirm it; --yes says that it is meant");
    }
    note(what);
    let mut typed = String::new();
    stdin.read_line(&mut typed).context("cannot read the answer")?;
    if typed.trim_end_matches(['\n', '\r']) != name {
        bail!("{name:?} {not}: that is not its name");
    }
    Ok(())
}

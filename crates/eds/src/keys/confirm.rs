//! Asking before a key is destroyed.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result, bail};

use crate::output::note;

/// Lets the operator type the key's name, unless `yes` says that they mean it.
pub(super) fn destruction(name: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "{name:?} was not destroyed: nobody is at a terminal to confirm it; --yes says that it is meant"
        );
    }
    note(format_args!(
        "What {name:?} has sealed cannot be read again, in no copy of the log. Type its name to destroy it:"
    ));
    let mut typed = String::new();
    stdin.read_line(&mut typed).context("cannot read the answer")?;
    if typed.trim_end_matches(['\n', '\r']) != name {
        bail!("{name:?} was not destroyed: that is not its name");
    }
    Ok(())
}

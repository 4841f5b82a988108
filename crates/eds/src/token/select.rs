//! Which token.

use anyhow::{Result, anyhow, bail};
use secure_log_pkcs11::KeyUri;
use secure_log_pkcs11::token::{Slot, TokenError, TokenInfo, Tokens};

use super::{Pins, said};

/// The slots whose token can hold keys, with what it says of itself.
fn initialized<T: Tokens>(tokens: &T, pins: &Pins) -> Result<Vec<(T::Slot, TokenInfo)>> {
    let mut found = Vec::new();
    for slot in tokens.slots().map_err(|error| said(error, "", pins))? {
        match slot.info() {
            Ok(info) if info.initialized => found.push((slot, info)),
            Ok(_) | Err(TokenError::TokenAbsent | TokenError::TokenUninitialized) => {}
            Err(error) => return Err(said(error, "", pins)),
        }
    }
    Ok(found)
}

/// The one token that a name or a `--token` means.
pub(crate) fn select<T: Tokens>(tokens: &T, wanted: &KeyUri, pins: &Pins) -> Result<(T::Slot, TokenInfo)> {
    let all = initialized(tokens, pins)?;
    let labels: Vec<_> = all.iter().map(|(_, info)| format!("{:?}", info.label)).collect();
    let labels = labels.join(", ");
    let fits = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let mut fitting = all.into_iter().filter(|(_, info)| {
        fits(&wanted.token, &info.label)
            && fits(&wanted.serial, &info.serial)
            && fits(&wanted.manufacturer, &info.manufacturer)
            && fits(&wanted.model, &info.model)
    });
    let found = fitting.next().ok_or_else(|| match (labels.is_empty(), &wanted.token) {
        (true, _) => anyhow!("there is no token yet: `eds keys init-token LABEL` makes one"),
        (false, Some(label)) => anyhow!("there is no token {label:?}; there are {labels}"),
        (false, None) => anyhow!("no token is the one that the name means; there are {labels}"),
    })?;
    if fitting.next().is_some() {
        bail!(
            "several tokens are meant; there are {labels}: name one with --token LABEL, or as pkcs11:token=…;object=…"
        );
    }
    Ok(found)
}

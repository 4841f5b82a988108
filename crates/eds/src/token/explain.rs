//! What a token said, and what to do about it.

use std::fmt;

use secure_log_pkcs11::token::TokenError;

use super::Pins;

/// A token's error with the words for it.
#[derive(Debug)]
pub(crate) struct Said {
    error: TokenError,
    text: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Said {}

/// What to do about a device that fails.
pub(super) const DEVICE: &str =
    "The module's own log may say why; SoftHSM2 fails so when it cannot write to its directory of tokens";

/// What the token of this label said. `pins` are those that it was given.
pub(crate) fn said(error: TokenError, token: &str, pins: &Pins) -> anyhow::Error {
    use TokenError as E;
    let what_to_do = match &error {
        E::PinIncorrect => {
            "It was tried once and is not tried again: tokens count wrong PINs and lock themselves. Correct --pin-file, or \
             the SECURE_LOG_TOKEN_PIN variables"
        }
        E::PinInvalid => {
            "The token's manual says how long a PIN of it is; kryoptic asks for 8 bytes, SoftHSM2 for 4"
        }
        E::PinLocked => {
            "`pkcs11-tool --module FILE --login --login-type so --init-pin` does that for most tokens; or take another token"
        }
        E::PinExpired => "`pkcs11-tool --module FILE --login --change-pin` does that for most tokens",
        E::PinNotInitialized => "`pkcs11-tool --module FILE --login --login-type so --init-pin` sets one",
        E::PinUnavailable => {
            let text = format!(
                "the token {token:?} asks for a PIN: {}. Use --pin-file FILE, SECURE_LOG_TOKEN_PIN_FILE or SECURE_LOG_TOKEN_PIN \
                 (SECURE_LOG_TOKEN_SO_PIN_FILE, SECURE_LOG_TOKEN_SO_PIN for the security officer)",
                pins.failure().unwrap_or_else(|| "none was given".into())
            );
            return Said { error, text }.into();
        }
        E::TokenUninitialized => "`eds keys init-token` makes a token of it",
        E::TokenAbsent => {
            "Put it in, or look at the module's configuration; `eds keys tokens` lists those there are"
        }
        E::ReadOnly => "Lift its write protection; a token directory must be one that this user may write to",
        E::Locked | E::Busy => "Try again when the other program is done",
        E::MechanismUnsupported => "Take another algorithm (--alg)",
        E::Unsupported => "The module's manual says how this is done with it",
        E::Device(_) => DEVICE,
        E::KeyGone => "`eds keys list` names those there are",
        _ => "",
    };
    let mut text = format!("the token {token:?}: {error}");
    if !what_to_do.is_empty() {
        text.push_str(". ");
        text.push_str(what_to_do);
    }
    Said { error, text }.into()
}

/// Whether a token refused or has locked a PIN: whoever starts this program again and again would have it locked.
pub(crate) fn refused_pin(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<Said>()).any(|said| {
        matches!(
            said.error,
            TokenError::PinIncorrect
                | TokenError::PinInvalid
                | TokenError::PinLocked
                | TokenError::PinExpired
        )
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::token::OfficerPin;

    #[test]
    fn a_refused_pin_is_known_below_any_context() {
        let pins = Pins::new(None, OfficerPin::None).unwrap();
        let refused = Err::<(), _>(said(TokenError::PinLocked, "t", &pins)).context("x").unwrap_err();
        assert!(refused_pin(&refused));
        assert!(format!("{refused:#}").contains("--init-pin"), "{refused:#}");
        let other = said(TokenError::ReadOnly, "t", &pins);
        assert!(!refused_pin(&other));
        assert!(
            other.to_string().starts_with("the token \"t\": the token cannot be written to. Lift"),
            "{other}"
        );
        assert!(!refused_pin(&anyhow::anyhow!("x")));
    }
}

//! What goes wrong on a token.

use std::fmt;

/// What went wrong, by what the caller must do: a CK_RV other than CKR_OK, or what was found out without one.
/// None of them tells a PIN or key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// No such slot.
    SlotInvalid,
    /// There is no token in the slot, or it is none that the module knows.
    TokenAbsent,
    /// The token was never initialized.
    TokenUninitialized,
    /// The token cannot be written to.
    ReadOnly,
    /// The token refuses the PIN. Do not try it again: tokens count, and lock themselves.
    PinIncorrect,
    /// The PIN can be none of this token's: its length or its characters.
    PinInvalid,
    /// The token has locked the PIN.
    PinLocked,
    /// The PIN has expired.
    PinExpired,
    /// No PIN was ever set for this user.
    PinNotInitialized,
    /// The PIN provider has no PIN for this token.
    PinUnavailable,
    /// This needs a login.
    NotLoggedIn,
    /// The session is over.
    SessionClosed,
    /// The key is not there any more.
    KeyGone,
    /// The key cannot do this.
    KeyUnsuitable,
    /// The token has not this mechanism.
    MechanismUnsupported,
    /// The token takes data, arguments or attributes for wrong.
    InvalidInput,
    /// A wrapped key does not open.
    WrappedKeyInvalid,
    /// The name is taken.
    Exists,
    /// This session is in the middle of something.
    Busy,
    /// Another instance is changing this token now.
    Locked,
    /// The token cannot do this.
    Unsupported,
    /// The token's own configuration or storage is not usable. The text says what, and never a secret.
    Unusable(String),
    /// The device failed: the CK_RV.
    Device(u32),
    /// Any other CK_RV.
    Other(u32),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlotInvalid => "there is no such slot",
            Self::TokenAbsent => "there is no token in the slot",
            Self::TokenUninitialized => "the token is not initialized",
            Self::ReadOnly => "the token cannot be written to",
            Self::PinIncorrect => "the token refuses the PIN",
            Self::PinInvalid => "the PIN has not the length or the characters that this token demands",
            Self::PinLocked => "the token has locked the PIN; the security officer can set a new one",
            Self::PinExpired => "the PIN has expired; set a new one",
            Self::PinNotInitialized => "no PIN was set for this user of the token",
            Self::PinUnavailable => "no PIN was given for this token",
            Self::NotLoggedIn => "this needs a login",
            Self::SessionClosed => "the session with the token is over",
            Self::KeyGone => "the key is not on the token any more",
            Self::KeyUnsuitable => "the key cannot do this",
            Self::MechanismUnsupported => "the token has not this mechanism",
            Self::InvalidInput => "the token takes an argument for wrong",
            Self::WrappedKeyInvalid => {
                "the wrapped key does not open: another key wrapped it, for another context, or it was changed"
            }
            Self::Exists => "the name is taken on the token",
            Self::Busy => "the session is in the middle of another operation",
            Self::Locked => "another instance is changing the token now",
            Self::Unsupported => "the token cannot do this",
            Self::Unusable(text) => return write!(f, "the token is not usable: {text}"),
            Self::Device(rv) => return write!(f, "the device failed (CK_RV 0x{rv:x})"),
            Self::Other(rv) => return write!(f, "the token failed (CK_RV 0x{rv:x})"),
        })
    }
}

impl std::error::Error for TokenError {}

impl TokenError {
    /// The error that a CK_RV other than CKR_OK (0) stands for.
    pub fn from_rv(rv: u32) -> Self {
        match rv {
            0x03 => Self::SlotInvalid,
            0x32 | 0xe0 | 0xe1 => Self::TokenAbsent,
            0x208 => Self::TokenUninitialized,
            0xb5 | 0xe2 => Self::ReadOnly,
            0xa0 => Self::PinIncorrect,
            0xa1 | 0xa2 => Self::PinInvalid,
            0xa3 => Self::PinExpired,
            0xa4 => Self::PinLocked,
            0x102 => Self::PinNotInitialized,
            0x101 => Self::NotLoggedIn,
            0xb0 | 0xb3 => Self::SessionClosed,
            0x60 | 0x82 => Self::KeyGone,
            0x62 | 0x63 | 0x68 => Self::KeyUnsuitable,
            0x70 | 0x71 | 0x140 => Self::MechanismUnsupported,
            0x07 | 0x10..=0x13 | 0x20 | 0x21 | 0xd0 | 0xd1 => Self::InvalidInput,
            0x40 | 0x41 | 0x110 | 0x112 => Self::WrappedKeyInvalid,
            0x90 => Self::Busy,
            0x54 => Self::Unsupported,
            0x02 | 0x05 | 0x06 | 0x30 | 0x31 => Self::Device(rv),
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_can_act_on_has_a_name() {
        for (rv, error) in [
            (0xa0, TokenError::PinIncorrect),
            (0xa4, TokenError::PinLocked),
            (0x101, TokenError::NotLoggedIn),
            (0xb3, TokenError::SessionClosed),
            (0x5, TokenError::Device(5)),
            (0x8000_0001, TokenError::Other(0x8000_0001)),
        ] {
            assert_eq!(TokenError::from_rv(rv), error);
        }
    }
}

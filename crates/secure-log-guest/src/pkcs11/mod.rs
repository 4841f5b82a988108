//! Tokens and PIN providers: the exports of `pkcs11:token`.

mod component;
mod convert;

pub use component::{ImportedPins, PinComponent, TokenComponent};
#[doc(hidden)]
pub use secure_log_pkcs11::token::TokenError;

use secure_log_pkcs11::token::{Admin, PinProvider, Wrapping};

/// Bindings of `world token-provider`; all types live here. Those of the import of `tokens` are in
/// `secure-log-guest-tokens`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod token_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "token-provider",
        pub_export_macro: true,
        export_macro_name: "export_token_world",
        default_bindings_module: "secure_log_guest::pkcs11::token_world",
        generate_all,
    });
}

/// Bindings of `world pin-provider`, over the types of [`token_world`].
#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod pin_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "pin-provider",
        pub_export_macro: true,
        export_macro_name: "export_pin_world",
        default_bindings_module: "secure_log_guest::pkcs11::pin_world",
        with: { "pkcs11:token/types@0.1.0": crate::pkcs11::token_world::pkcs11::token::types },
        generate_all,
    });
}

/// A component's one token, declared by [`export_token!`](crate::export_token).
#[doc(hidden)]
pub trait HasToken: 'static {
    /// What it is.
    type Token: Admin + Wrapping + 'static;
    /// The token, made on first use; the error is given for each call, and making it is tried again at the next.
    fn token() -> Result<&'static Self::Token, TokenError>;
}

/// A component's PINs, declared by [`export_pin_provider!`](crate::export_pin_provider).
#[doc(hidden)]
pub trait HasPins: 'static {
    /// Where they come from.
    fn pins() -> impl PinProvider;
}

/// Makes the component of `world token-provider` from any [`Admin`] and [`Wrapping`] and a function that makes it.
#[macro_export]
macro_rules! export_token {
    ($token:ty, $make:expr) => {
        ::std::thread_local! {
            static TOKEN: ::std::cell::OnceCell<&'static $token> = const { ::std::cell::OnceCell::new() };
        }
        struct Shell;
        impl $crate::pkcs11::HasToken for Shell {
            type Token = $token;
            fn token() -> ::std::result::Result<&'static $token, $crate::pkcs11::TokenError> {
                TOKEN.with(|cell| match cell.get() {
                    ::std::option::Option::Some(token) => ::std::result::Result::Ok(*token),
                    ::std::option::Option::None => {
                        // It lives as long as the instance.
                        let made: $token = $make()?;
                        let token: &'static $token = ::std::boxed::Box::leak(::std::boxed::Box::new(made));
                        ::std::result::Result::Ok(*cell.get_or_init(|| token))
                    }
                })
            }
        }
        type Token = $crate::pkcs11::TokenComponent<Shell>;
        $crate::pkcs11::token_world::export_token_world!(Token);
    };
}

/// Makes the component of `world pin-provider` from a function that gives a [`PinProvider`].
#[macro_export]
macro_rules! export_pin_provider {
    ($make:expr) => {
        struct Shell;
        impl $crate::pkcs11::HasPins for Shell {
            fn pins() -> impl $crate::pkcs11::PinSource {
                $make()
            }
        }
        type Pins = $crate::pkcs11::PinComponent<Shell>;
        $crate::pkcs11::pin_world::export_pin_world!(Pins);
    };
}

#[doc(hidden)]
pub use secure_log_pkcs11::token::PinProvider as PinSource;

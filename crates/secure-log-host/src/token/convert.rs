//! The types of `pkcs11:token` as this host's bindings and as [`secure_log_pkcs11::token`] have them.

use secure_log_pkcs11::token as own;

use super::bindings::graph::exports::pkcs11::token::admin;

secure_log_pkcs11::token_conversions!(super::bindings::types);

impl From<own::KeySpec> for admin::KeySpec {
    fn from(spec: own::KeySpec) -> Self {
        match spec {
            own::KeySpec::Ec(curve) => Self::Ec(curve.into()),
            own::KeySpec::Rsa(bits) => Self::Rsa(bits),
            own::KeySpec::Aes => Self::Aes,
        }
    }
}

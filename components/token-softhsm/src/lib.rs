//! A token of SoftHSM as a component.
#![cfg(target_family = "wasm")]

use secure_log_guest::pkcs11::ImportedPins;
use secure_log_token::ck::{CK_FUNCTION_LIST, CK_RV};
use secure_log_token::softhsm::{stored_tokens, token_directory};
use secure_log_token::{LeaseLock, Module, TokenError, config_file};

const CONFIGURATION: &str = "SOFTHSM2_CONF";

unsafe extern "C" {
    fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV;
}

fn module() -> Result<Module, TokenError> {
    let lock = LeaseLock::new(config_file(CONFIGURATION)?);
    // SAFETY: it is SoftHSM's, which is linked in.
    let module = unsafe { Module::new(C_GetFunctionList, ImportedPins, lock) };
    let directory = || token_directory(&config_file(CONFIGURATION)?);
    Ok(module
        .with_check(move || directory().map(drop))
        .with_stored(move || stored_tokens(&directory()?))
        .with_sole_use())
}

secure_log_guest::export_token!(Module, module);

//! A token of kryoptic as a component.
#![cfg(target_family = "wasm")]

mod lock;

use kryoptic_lib::fns::general::fn_get_function_list;
use secure_log_guest::pkcs11::ImportedPins;
use secure_log_token::ck::{CK_FUNCTION_LIST, CK_RV};
use secure_log_token::{LeaseLock, Module, TokenError, config_file};

const CONFIGURATION: &str = "KRYOPTIC_CONF";

/// kryoptic's own, whose types are other names of the same.
unsafe extern "C" fn get_function_list(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    fn_get_function_list(list.cast())
}

fn module() -> Result<Module, TokenError> {
    lock::install();
    let lock = LeaseLock::new(config_file(CONFIGURATION)?);
    // SAFETY: it is kryoptic's, which is linked in.
    let module = unsafe { Module::new(get_function_list, ImportedPins, lock) };
    Ok(module.with_check(|| config_file(CONFIGURATION).map(drop)).with_sole_use())
}

secure_log_guest::export_token!(Module, module);

//! SoftHSM2 with functions that fail or lie when told to.

#![allow(non_snake_case, reason = "the names of the standard")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use secure_log_token::ck::*;

use super::common::softhsm;

/// What becomes of a call.
#[derive(Clone, Copy)]
pub enum Fault {
    /// It returns this, and does nothing.
    Fails(CK_RV),
    /// It succeeds, and gives this as the count, length or value that it is asked for.
    Lies(CK_ULONG),
}

struct Planned {
    function: &'static str,
    /// Calls that go well before.
    after: usize,
    fault: Fault,
}

static PLAN: Mutex<Vec<Planned>> = Mutex::new(Vec::new());

fn plan() -> MutexGuard<'static, Vec<Planned>> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From its call number `after` on, a function has this fault.
pub fn fault(function: &'static str, after: usize, fault: Fault) {
    plan().push(Planned { function, after, fault });
}

/// Everything goes well again.
pub fn heal() {
    plan().clear();
}

fn now(function: &'static str) -> Option<Fault> {
    let mut plan = plan();
    let planned = plan.iter_mut().find(|planned| planned.function == function)?;
    if planned.after > 0 {
        planned.after -= 1;
        return None;
    }
    Some(planned.fault)
}

/// SoftHSM2's own functions.
pub fn real() -> &'static CK_FUNCTION_LIST {
    static REAL: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    REAL.get_or_init(|| {
        let mut list = std::ptr::null_mut();
        // SAFETY: room for one pointer; the list is SoftHSM2's own.
        unsafe {
            assert_eq!(softhsm(&raw mut list), CKR_OK);
            *list
        }
    })
}

/// `name(arguments)`, or `name(arguments) lies in out` where `out` points to what it can lie about.
macro_rules! faulty {
    ($($name:ident($($argument:ident: $of:ty),*) $(lies in $out:expr)?;)*) => {
        $(unsafe extern "C" fn $name($($argument: $of),*) -> CK_RV {
            let fault = now(stringify!($name));
            if let Some(Fault::Fails(rv)) = fault {
                return rv;
            }
            // SAFETY: the caller's.
            let rv = unsafe { real().$name.unwrap()($($argument),*) };
            $(if let Some(Fault::Lies(value)) = fault {
                // SAFETY: the caller's room for the true value.
                unsafe { *$out = value };
            })?
            rv
        })*

        /// The faulty module's C_GetFunctionList.
        ///
        /// # Safety
        ///
        /// As that of any module.
        pub unsafe extern "C" fn faulty(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
            static FAULTY: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
            let faulty = FAULTY.get_or_init(|| CK_FUNCTION_LIST { $($name: Some($name),)* ..*real() });
            // SAFETY: the caller's; nobody writes to the list.
            unsafe { *list = std::ptr::from_ref(faulty).cast_mut() };
            CKR_OK
        }
    };
}

faulty! {
    C_Initialize(args: *mut CK_VOID);
    C_GetSlotList(present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG) lies in count;
    C_InitPIN(session: CK_SESSION_HANDLE, pin: *mut CK_BYTE, len: CK_ULONG);
    C_OpenSession(
        slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut CK_VOID, notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE
    );
    C_CreateObject(
        session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE
    );
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_GetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    ) lies in &raw mut (*template).ulValueLen;
    C_SetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    C_FindObjects(
        session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, max: CK_ULONG, count: *mut CK_ULONG
    ) lies in count;
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Sign(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, out: *mut CK_BYTE, len: *mut CK_ULONG
    ) lies in len;
    C_SignUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, len: CK_ULONG);
    C_SignFinal(session: CK_SESSION_HANDLE, out: *mut CK_BYTE, len: *mut CK_ULONG) lies in len;
    C_Encrypt(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, out: *mut CK_BYTE, len: *mut CK_ULONG
    ) lies in len;
    C_Decrypt(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, out: *mut CK_BYTE, len: *mut CK_ULONG
    ) lies in len;
    C_Verify(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, len: CK_ULONG
    );
    C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, len: CK_ULONG);
}

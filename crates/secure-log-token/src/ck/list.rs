//! CK_FUNCTION_LIST: the functions that are called here with their arguments, the others as mere places.

use super::*;

/// A function that is never called here.
pub type CK_UNUSED = Option<unsafe extern "C" fn() -> CK_RV>;
/// How a module gives its functions away.
pub type CK_C_GetFunctionList = unsafe extern "C" fn(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV;
/// What a session would tell the application.
pub type CK_NOTIFY = Option<
    unsafe extern "C" fn(session: CK_SESSION_HANDLE, event: CK_ULONG, application: *mut CK_VOID) -> CK_RV,
>;

macro_rules! function {
    () => { CK_UNUSED };
    ($($argument:ident: $of:ty),+) => { Option<unsafe extern "C" fn($($argument: $of),+) -> CK_RV> };
}

macro_rules! function_list {
    ($($name:ident $(($($argument:ident: $of:ty),+))?;)*) => {
        /// The functions of a module.
        #[repr(C)]
        #[cfg_attr(windows, repr(packed))]
        #[derive(Debug, Clone, Copy)]
        pub struct CK_FUNCTION_LIST {
            pub version: CK_VERSION,
            $(pub $name: function!($($($argument: $of),+)?),)*
        }

        impl CK_FUNCTION_LIST {
            /// A list without functions.
            pub const EMPTY: Self = Self { version: CK_VERSION { major: 2, minor: 40 }, $($name: None,)* };
        }
    };
}

function_list! {
    C_Initialize(args: *mut CK_VOID);
    C_Finalize(reserved: *mut CK_VOID);
    C_GetInfo;
    C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST);
    C_GetSlotList(present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG);
    C_GetSlotInfo;
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO);
    C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
    C_GetMechanismInfo;
    C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_BYTE, pin_len: CK_ULONG, label: *mut CK_BYTE);
    C_InitPIN(session: CK_SESSION_HANDLE, pin: *mut CK_BYTE, pin_len: CK_ULONG);
    C_SetPIN;
    C_OpenSession(
        slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut CK_VOID, notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE
    );
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_CloseAllSessions;
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    C_GetOperationState;
    C_SetOperationState;
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_BYTE, pin_len: CK_ULONG);
    C_Logout(session: CK_SESSION_HANDLE);
    C_CreateObject(
        session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        object: *mut CK_OBJECT_HANDLE
    );
    C_CopyObject;
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_GetObjectSize;
    C_GetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    C_SetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjects(
        session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, max: CK_ULONG, count: *mut CK_ULONG
    );
    C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Encrypt(
        session: CK_SESSION_HANDLE, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE,
        output_len: *mut CK_ULONG
    );
    C_EncryptUpdate;
    C_EncryptFinal;
    C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Decrypt(
        session: CK_SESSION_HANDLE, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE,
        output_len: *mut CK_ULONG
    );
    C_DecryptUpdate;
    C_DecryptFinal;
    C_DigestInit;
    C_Digest;
    C_DigestUpdate;
    C_DigestKey;
    C_DigestFinal;
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Sign(
        session: CK_SESSION_HANDLE, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE,
        output_len: *mut CK_ULONG
    );
    C_SignUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_len: CK_ULONG);
    C_SignFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_len: *mut CK_ULONG);
    C_SignRecoverInit;
    C_SignRecover;
    C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Verify(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE,
        signature_len: CK_ULONG
    );
    C_VerifyUpdate;
    C_VerifyFinal;
    C_VerifyRecoverInit;
    C_VerifyRecover;
    C_DigestEncryptUpdate;
    C_DecryptDigestUpdate;
    C_SignEncryptUpdate;
    C_DecryptVerifyUpdate;
    C_GenerateKey(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, key: *mut CK_OBJECT_HANDLE
    );
    C_GenerateKeyPair(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE,
        public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
        public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE
    );
    C_WrapKey;
    C_UnwrapKey;
    C_DeriveKey;
    C_SeedRandom;
    C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, len: CK_ULONG);
    C_GetFunctionStatus;
    C_CancelFunction;
    C_WaitForSlotEvent;
}

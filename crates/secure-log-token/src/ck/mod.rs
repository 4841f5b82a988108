//! What is used of the C interface of PKCS #11 v2.40 (OASIS), with its names and numbers.
//!
//! `cryptoki-sys` has the same, and the tests compare; it loads libraries, so it does not build for WASI.

#![allow(
    non_camel_case_types,
    non_snake_case,
    missing_docs,
    reason = "the names of the standard, which describes them"
)]

mod list;

use std::ffi::{c_uchar, c_ulong, c_void};

pub use list::{CK_C_GetFunctionList, CK_FUNCTION_LIST, CK_NOTIFY, CK_UNUSED};

pub type CK_BYTE = c_uchar;
pub type CK_BBOOL = CK_BYTE;
/// 32 bits in wasm32 and on Windows, 64 on other 64-bit machines.
pub type CK_ULONG = c_ulong;
pub type CK_VOID = c_void;
pub type CK_FLAGS = CK_ULONG;
pub type CK_RV = CK_ULONG;
pub type CK_SLOT_ID = CK_ULONG;
pub type CK_SESSION_HANDLE = CK_ULONG;
pub type CK_OBJECT_HANDLE = CK_ULONG;
pub type CK_USER_TYPE = CK_ULONG;
pub type CK_STATE = CK_ULONG;
pub type CK_OBJECT_CLASS = CK_ULONG;
pub type CK_KEY_TYPE = CK_ULONG;
pub type CK_ATTRIBUTE_TYPE = CK_ULONG;
pub type CK_MECHANISM_TYPE = CK_ULONG;
pub type CK_RSA_PKCS_MGF_TYPE = CK_ULONG;

/// Of an attribute's length, or of a number in CK_TOKEN_INFO: there is none, or it is not told.
pub const CK_UNAVAILABLE_INFORMATION: CK_ULONG = CK_ULONG::MAX;

pub const CK_TRUE: CK_BBOOL = 1;
pub const CK_FALSE: CK_BBOOL = 0;

pub const CKU_SO: CK_USER_TYPE = 0;
pub const CKU_USER: CK_USER_TYPE = 1;

pub const CKS_RO_PUBLIC_SESSION: CK_STATE = 0;
pub const CKS_RO_USER_FUNCTIONS: CK_STATE = 1;
pub const CKS_RW_PUBLIC_SESSION: CK_STATE = 2;
pub const CKS_RW_USER_FUNCTIONS: CK_STATE = 3;
pub const CKS_RW_SO_FUNCTIONS: CK_STATE = 4;

pub const CKF_WRITE_PROTECTED: CK_FLAGS = 2;
pub const CKF_LOGIN_REQUIRED: CK_FLAGS = 4;
pub const CKF_USER_PIN_INITIALIZED: CK_FLAGS = 8;
pub const CKF_PROTECTED_AUTHENTICATION_PATH: CK_FLAGS = 0x100;
pub const CKF_TOKEN_INITIALIZED: CK_FLAGS = 0x400;
pub const CKF_USER_PIN_LOCKED: CK_FLAGS = 0x40000;
pub const CKF_SO_PIN_LOCKED: CK_FLAGS = 0x400000;
pub const CKF_RW_SESSION: CK_FLAGS = 2;
pub const CKF_SERIAL_SESSION: CK_FLAGS = 4;
pub const CKF_OS_LOCKING_OK: CK_FLAGS = 2;

pub const CKO_PUBLIC_KEY: CK_OBJECT_CLASS = 2;
pub const CKO_PRIVATE_KEY: CK_OBJECT_CLASS = 3;
pub const CKO_SECRET_KEY: CK_OBJECT_CLASS = 4;

pub const CKK_RSA: CK_KEY_TYPE = 0;
pub const CKK_EC: CK_KEY_TYPE = 3;
pub const CKK_EC_EDWARDS: CK_KEY_TYPE = 0x40;
pub const CKK_AES: CK_KEY_TYPE = 0x1f;

pub const CKA_CLASS: CK_ATTRIBUTE_TYPE = 0;
pub const CKA_TOKEN: CK_ATTRIBUTE_TYPE = 1;
pub const CKA_PRIVATE: CK_ATTRIBUTE_TYPE = 2;
pub const CKA_LABEL: CK_ATTRIBUTE_TYPE = 3;
pub const CKA_VALUE: CK_ATTRIBUTE_TYPE = 0x11;
pub const CKA_KEY_TYPE: CK_ATTRIBUTE_TYPE = 0x100;
pub const CKA_ID: CK_ATTRIBUTE_TYPE = 0x102;
pub const CKA_SENSITIVE: CK_ATTRIBUTE_TYPE = 0x103;
pub const CKA_ENCRYPT: CK_ATTRIBUTE_TYPE = 0x104;
pub const CKA_DECRYPT: CK_ATTRIBUTE_TYPE = 0x105;
pub const CKA_WRAP: CK_ATTRIBUTE_TYPE = 0x106;
pub const CKA_UNWRAP: CK_ATTRIBUTE_TYPE = 0x107;
pub const CKA_SIGN: CK_ATTRIBUTE_TYPE = 0x108;
pub const CKA_VERIFY: CK_ATTRIBUTE_TYPE = 0x10a;
pub const CKA_DERIVE: CK_ATTRIBUTE_TYPE = 0x10c;
pub const CKA_MODULUS: CK_ATTRIBUTE_TYPE = 0x120;
pub const CKA_MODULUS_BITS: CK_ATTRIBUTE_TYPE = 0x121;
pub const CKA_PUBLIC_EXPONENT: CK_ATTRIBUTE_TYPE = 0x122;
pub const CKA_PRIVATE_EXPONENT: CK_ATTRIBUTE_TYPE = 0x123;
pub const CKA_PRIME_1: CK_ATTRIBUTE_TYPE = 0x124;
pub const CKA_PRIME_2: CK_ATTRIBUTE_TYPE = 0x125;
pub const CKA_EXPONENT_1: CK_ATTRIBUTE_TYPE = 0x126;
pub const CKA_EXPONENT_2: CK_ATTRIBUTE_TYPE = 0x127;
pub const CKA_COEFFICIENT: CK_ATTRIBUTE_TYPE = 0x128;
pub const CKA_VALUE_LEN: CK_ATTRIBUTE_TYPE = 0x161;
pub const CKA_EXTRACTABLE: CK_ATTRIBUTE_TYPE = 0x162;
pub const CKA_DESTROYABLE: CK_ATTRIBUTE_TYPE = 0x172;
pub const CKA_EC_PARAMS: CK_ATTRIBUTE_TYPE = 0x180;
pub const CKA_EC_POINT: CK_ATTRIBUTE_TYPE = 0x181;

pub const CKM_RSA_PKCS_KEY_PAIR_GEN: CK_MECHANISM_TYPE = 0;
pub const CKM_RSA_PKCS_PSS: CK_MECHANISM_TYPE = 0xd;
pub const CKM_SHA256_RSA_PKCS: CK_MECHANISM_TYPE = 0x40;
pub const CKM_SHA384_RSA_PKCS: CK_MECHANISM_TYPE = 0x41;
pub const CKM_SHA512_RSA_PKCS: CK_MECHANISM_TYPE = 0x42;
pub const CKM_SHA256_RSA_PKCS_PSS: CK_MECHANISM_TYPE = 0x43;
pub const CKM_SHA384_RSA_PKCS_PSS: CK_MECHANISM_TYPE = 0x44;
pub const CKM_SHA512_RSA_PKCS_PSS: CK_MECHANISM_TYPE = 0x45;
pub const CKM_SHA256: CK_MECHANISM_TYPE = 0x250;
pub const CKM_SHA384: CK_MECHANISM_TYPE = 0x260;
pub const CKM_SHA512: CK_MECHANISM_TYPE = 0x270;
pub const CKM_EC_KEY_PAIR_GEN: CK_MECHANISM_TYPE = 0x1040;
pub const CKM_ECDSA: CK_MECHANISM_TYPE = 0x1041;
pub const CKM_ECDSA_SHA256: CK_MECHANISM_TYPE = 0x1044;
pub const CKM_ECDSA_SHA384: CK_MECHANISM_TYPE = 0x1045;
pub const CKM_ECDSA_SHA512: CK_MECHANISM_TYPE = 0x1046;
pub const CKM_EC_EDWARDS_KEY_PAIR_GEN: CK_MECHANISM_TYPE = 0x1055;
pub const CKM_EDDSA: CK_MECHANISM_TYPE = 0x1057;
pub const CKM_AES_KEY_GEN: CK_MECHANISM_TYPE = 0x1080;
pub const CKM_AES_GCM: CK_MECHANISM_TYPE = 0x1087;

pub const CKG_MGF1_SHA256: CK_RSA_PKCS_MGF_TYPE = 2;
pub const CKG_MGF1_SHA384: CK_RSA_PKCS_MGF_TYPE = 3;
pub const CKG_MGF1_SHA512: CK_RSA_PKCS_MGF_TYPE = 4;

pub const CKR_OK: CK_RV = 0;
pub const CKR_GENERAL_ERROR: CK_RV = 5;
pub const CKR_FUNCTION_FAILED: CK_RV = 6;
pub const CKR_ATTRIBUTE_SENSITIVE: CK_RV = 0x11;
pub const CKR_ATTRIBUTE_TYPE_INVALID: CK_RV = 0x12;
pub const CKR_DATA_INVALID: CK_RV = 0x20;
pub const CKR_DATA_LEN_RANGE: CK_RV = 0x21;
pub const CKR_DEVICE_ERROR: CK_RV = 0x30;
pub const CKR_ENCRYPTED_DATA_INVALID: CK_RV = 0x40;
pub const CKR_ENCRYPTED_DATA_LEN_RANGE: CK_RV = 0x41;
pub const CKR_FUNCTION_NOT_SUPPORTED: CK_RV = 0x54;
pub const CKR_OPERATION_ACTIVE: CK_RV = 0x90;
pub const CKR_OPERATION_NOT_INITIALIZED: CK_RV = 0x91;
pub const CKR_PIN_INCORRECT: CK_RV = 0xa0;
pub const CKR_SESSION_HANDLE_INVALID: CK_RV = 0xb3;
pub const CKR_SIGNATURE_INVALID: CK_RV = 0xc0;
pub const CKR_SIGNATURE_LEN_RANGE: CK_RV = 0xc1;
pub const CKR_TOKEN_NOT_PRESENT: CK_RV = 0xe0;
pub const CKR_TOKEN_NOT_INITIALIZED: CK_RV = 0x208;
pub const CKR_USER_ALREADY_LOGGED_IN: CK_RV = 0x100;
pub const CKR_BUFFER_TOO_SMALL: CK_RV = 0x150;
pub const CKR_CRYPTOKI_ALREADY_INITIALIZED: CK_RV = 0x191;

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_VERSION {
    pub major: CK_BYTE,
    pub minor: CK_BYTE,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_TOKEN_INFO {
    pub label: [CK_BYTE; 32],
    pub manufacturerID: [CK_BYTE; 32],
    pub model: [CK_BYTE; 16],
    pub serialNumber: [CK_BYTE; 16],
    pub flags: CK_FLAGS,
    pub ulMaxSessionCount: CK_ULONG,
    pub ulSessionCount: CK_ULONG,
    pub ulMaxRwSessionCount: CK_ULONG,
    pub ulRwSessionCount: CK_ULONG,
    pub ulMaxPinLen: CK_ULONG,
    pub ulMinPinLen: CK_ULONG,
    pub ulTotalPublicMemory: CK_ULONG,
    pub ulFreePublicMemory: CK_ULONG,
    pub ulTotalPrivateMemory: CK_ULONG,
    pub ulFreePrivateMemory: CK_ULONG,
    pub hardwareVersion: CK_VERSION,
    pub firmwareVersion: CK_VERSION,
    pub utcTime: [CK_BYTE; 16],
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_SESSION_INFO {
    pub slotID: CK_SLOT_ID,
    pub state: CK_STATE,
    pub flags: CK_FLAGS,
    pub ulDeviceError: CK_ULONG,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_ATTRIBUTE {
    pub type_: CK_ATTRIBUTE_TYPE,
    pub pValue: *mut CK_VOID,
    pub ulValueLen: CK_ULONG,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_MECHANISM {
    pub mechanism: CK_MECHANISM_TYPE,
    pub pParameter: *mut CK_VOID,
    pub ulParameterLen: CK_ULONG,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_RSA_PKCS_PSS_PARAMS {
    pub hashAlg: CK_MECHANISM_TYPE,
    pub mgf: CK_RSA_PKCS_MGF_TYPE,
    pub sLen: CK_ULONG,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_EDDSA_PARAMS {
    pub phFlag: CK_BBOOL,
    pub ulContextDataLen: CK_ULONG,
    pub pContextData: *mut CK_BYTE,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_GCM_PARAMS {
    pub pIv: *mut CK_BYTE,
    pub ulIvLen: CK_ULONG,
    pub ulIvBits: CK_ULONG,
    pub pAAD: *mut CK_BYTE,
    pub ulAADLen: CK_ULONG,
    pub ulTagBits: CK_ULONG,
}

#[repr(C)]
#[cfg_attr(windows, repr(packed))]
#[derive(Debug, Clone, Copy)]
pub struct CK_C_INITIALIZE_ARGS {
    pub CreateMutex: CK_UNUSED,
    pub DestroyMutex: CK_UNUSED,
    pub LockMutex: CK_UNUSED,
    pub UnlockMutex: CK_UNUSED,
    pub flags: CK_FLAGS,
    pub pReserved: *mut CK_VOID,
}

impl CK_TOKEN_INFO {
    /// Zeros, to be filled.
    pub const EMPTY: Self = Self {
        label: [0; 32],
        manufacturerID: [0; 32],
        model: [0; 16],
        serialNumber: [0; 16],
        flags: 0,
        ulMaxSessionCount: 0,
        ulSessionCount: 0,
        ulMaxRwSessionCount: 0,
        ulRwSessionCount: 0,
        ulMaxPinLen: 0,
        ulMinPinLen: 0,
        ulTotalPublicMemory: 0,
        ulFreePublicMemory: 0,
        ulTotalPrivateMemory: 0,
        ulFreePrivateMemory: 0,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: CK_VERSION { major: 0, minor: 0 },
        utcTime: [0; 16],
    };
}

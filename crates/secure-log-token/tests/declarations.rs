//! The declarations of `ck` against those that bindgen made for `cryptoki-sys`.

use std::mem::{offset_of, size_of};

use secure_log_token::ck;

macro_rules! same_constants {
    ($($name:ident)*) => {
        #[test]
        fn constants_have_the_standards_numbers() {
            $(assert_eq!(ck::$name, cryptoki_sys::$name, stringify!($name));)*
        }
    };
}

macro_rules! same_layout {
    ($($name:ident { $($field:ident)* })*) => {
        #[test]
        fn structures_have_the_standards_layout() {
            $(
                assert_eq!(size_of::<ck::$name>(), size_of::<cryptoki_sys::$name>(), stringify!($name));
                $(assert_eq!(
                    offset_of!(ck::$name, $field),
                    offset_of!(cryptoki_sys::$name, $field),
                    concat!(stringify!($name), ".", stringify!($field)),
                );)*
            )*
        }
    };
}

same_constants! {
    CK_UNAVAILABLE_INFORMATION
    CK_TRUE CK_FALSE CKU_SO CKU_USER CKS_RO_PUBLIC_SESSION CKS_RO_USER_FUNCTIONS
    CKS_RW_PUBLIC_SESSION CKS_RW_USER_FUNCTIONS CKS_RW_SO_FUNCTIONS CKF_WRITE_PROTECTED
    CKF_LOGIN_REQUIRED CKF_USER_PIN_INITIALIZED CKF_PROTECTED_AUTHENTICATION_PATH
    CKF_TOKEN_INITIALIZED CKF_USER_PIN_LOCKED CKF_SO_PIN_LOCKED CKF_RW_SESSION CKF_SERIAL_SESSION
    CKF_OS_LOCKING_OK CKO_PUBLIC_KEY CKO_PRIVATE_KEY CKO_SECRET_KEY CKK_RSA CKK_EC CKK_EC_EDWARDS
    CKK_AES CKA_CLASS CKA_TOKEN CKA_PRIVATE CKA_LABEL CKA_VALUE CKA_KEY_TYPE CKA_ID CKA_SENSITIVE
    CKA_ENCRYPT CKA_DECRYPT CKA_WRAP CKA_UNWRAP CKA_SIGN CKA_VERIFY CKA_DERIVE CKA_MODULUS
    CKA_MODULUS_BITS CKA_PUBLIC_EXPONENT CKA_PRIVATE_EXPONENT CKA_PRIME_1 CKA_PRIME_2 CKA_EXPONENT_1
    CKA_EXPONENT_2 CKA_COEFFICIENT CKA_VALUE_LEN CKA_EXTRACTABLE CKA_DESTROYABLE CKA_EC_PARAMS
    CKA_EC_POINT CKM_RSA_PKCS_KEY_PAIR_GEN CKM_RSA_PKCS_PSS CKM_SHA256_RSA_PKCS CKM_SHA384_RSA_PKCS
    CKM_SHA512_RSA_PKCS CKM_SHA256_RSA_PKCS_PSS CKM_SHA384_RSA_PKCS_PSS CKM_SHA512_RSA_PKCS_PSS
    CKM_SHA256 CKM_SHA384 CKM_SHA512 CKM_EC_KEY_PAIR_GEN CKM_ECDSA CKM_ECDSA_SHA256 CKM_ECDSA_SHA384
    CKM_ECDSA_SHA512 CKM_EC_EDWARDS_KEY_PAIR_GEN CKM_EDDSA CKM_AES_KEY_GEN CKM_AES_GCM
    CKG_MGF1_SHA256 CKG_MGF1_SHA384 CKG_MGF1_SHA512 CKR_OK CKR_GENERAL_ERROR CKR_FUNCTION_FAILED
    CKR_ATTRIBUTE_SENSITIVE CKR_ATTRIBUTE_TYPE_INVALID CKR_DATA_INVALID CKR_DATA_LEN_RANGE
    CKR_DEVICE_ERROR CKR_ENCRYPTED_DATA_INVALID CKR_ENCRYPTED_DATA_LEN_RANGE
    CKR_FUNCTION_NOT_SUPPORTED CKR_OPERATION_ACTIVE CKR_OPERATION_NOT_INITIALIZED CKR_PIN_INCORRECT
    CKR_SESSION_HANDLE_INVALID CKR_SIGNATURE_INVALID CKR_SIGNATURE_LEN_RANGE CKR_TOKEN_NOT_PRESENT
    CKR_TOKEN_NOT_INITIALIZED CKR_USER_ALREADY_LOGGED_IN CKR_BUFFER_TOO_SMALL
    CKR_CRYPTOKI_ALREADY_INITIALIZED
}

same_layout! {
    CK_VERSION { major minor }
    CK_TOKEN_INFO {
        label manufacturerID model serialNumber flags ulMaxSessionCount ulSessionCount
        ulMaxRwSessionCount ulRwSessionCount ulMaxPinLen ulMinPinLen ulTotalPublicMemory
        ulFreePublicMemory ulTotalPrivateMemory ulFreePrivateMemory hardwareVersion
        firmwareVersion utcTime
    }
    CK_SESSION_INFO { slotID state flags ulDeviceError }
    CK_ATTRIBUTE { type_ pValue ulValueLen }
    CK_MECHANISM { mechanism pParameter ulParameterLen }
    CK_RSA_PKCS_PSS_PARAMS { hashAlg mgf sLen }
    CK_EDDSA_PARAMS { phFlag ulContextDataLen pContextData }
    CK_GCM_PARAMS { pIv ulIvLen ulIvBits pAAD ulAADLen ulTagBits }
    CK_C_INITIALIZE_ARGS { CreateMutex DestroyMutex LockMutex UnlockMutex flags pReserved }
    CK_FUNCTION_LIST {
        version C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo
        C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN
        C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState
        C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject
        C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects
        C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit
        C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate
        C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit
        C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit
        C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate
        C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey
        C_SeedRandom C_GenerateRandom C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
    }
}

//! The number of a CK_RV, which cryptoki gives only a name.

use cryptoki::error::RvError;

/// The CK_RV (PKCS #11 v3.2).
pub(super) fn code(error: RvError) -> u32 {
    match error {
        RvError::Cancel => 0x1,
        RvError::HostMemory => 0x2,
        RvError::SlotIdInvalid => 0x3,
        RvError::GeneralError => 0x5,
        RvError::FunctionFailed => 0x6,
        RvError::ArgumentsBad => 0x7,
        RvError::NoEvent => 0x8,
        RvError::NeedToCreateThreads => 0x9,
        RvError::CantLock => 0xa,
        RvError::AttributeReadOnly => 0x10,
        RvError::AttributeSensitive => 0x11,
        RvError::AttributeTypeInvalid => 0x12,
        RvError::AttributeValueInvalid => 0x13,
        RvError::ActionProhibited => 0x1b,
        RvError::DataInvalid => 0x20,
        RvError::DataLenRange => 0x21,
        RvError::DeviceError => 0x30,
        RvError::DeviceMemory => 0x31,
        RvError::DeviceRemoved => 0x32,
        RvError::EncryptedDataInvalid => 0x40,
        RvError::EncryptedDataLenRange => 0x41,
        RvError::FunctionCanceled => 0x50,
        RvError::FunctionNotParallel => 0x51,
        RvError::FunctionNotSupported => 0x54,
        RvError::KeyHandleInvalid => 0x60,
        RvError::KeySizeRange => 0x62,
        RvError::KeyTypeInconsistent => 0x63,
        RvError::KeyNotNeeded => 0x64,
        RvError::KeyChanged => 0x65,
        RvError::KeyNeeded => 0x66,
        RvError::KeyIndigestible => 0x67,
        RvError::KeyFunctionNotPermitted => 0x68,
        RvError::KeyNotWrappable => 0x69,
        RvError::KeyUnextractable => 0x6a,
        RvError::MechanismInvalid => 0x70,
        RvError::MechanismParamInvalid => 0x71,
        RvError::ObjectHandleInvalid => 0x82,
        RvError::OperationActive => 0x90,
        RvError::OperationNotInitialized => 0x91,
        RvError::PinIncorrect => 0xa0,
        RvError::PinInvalid => 0xa1,
        RvError::PinLenRange => 0xa2,
        RvError::PinExpired => 0xa3,
        RvError::PinLocked => 0xa4,
        RvError::SessionClosed => 0xb0,
        RvError::SessionCount => 0xb1,
        RvError::SessionHandleInvalid => 0xb3,
        RvError::SessionParallelNotSupported => 0xb4,
        RvError::SessionReadOnly => 0xb5,
        RvError::SessionExists => 0xb6,
        RvError::SessionReadOnlyExists => 0xb7,
        RvError::SessionReadWriteSoExists => 0xb8,
        RvError::SignatureInvalid => 0xc0,
        RvError::SignatureLenRange => 0xc1,
        RvError::TemplateIncomplete => 0xd0,
        RvError::TemplateInconsistent => 0xd1,
        RvError::TokenNotPresent => 0xe0,
        RvError::TokenNotRecognized => 0xe1,
        RvError::TokenWriteProtected => 0xe2,
        RvError::UnwrappingKeyHandleInvalid => 0xf0,
        RvError::UnwrappingKeySizeRange => 0xf1,
        RvError::UserAlreadyLoggedIn => 0x100,
        RvError::UserNotLoggedIn => 0x101,
        RvError::UserPinNotInitialized => 0x102,
        RvError::UserTypeInvalid => 0x103,
        RvError::UserAnotherAlreadyLoggedIn => 0x104,
        RvError::UserTooManyTypes => 0x105,
        RvError::UnwrappingKeyTypeInconsistent => 0xf2,
        RvError::WrappedKeyInvalid => 0x110,
        RvError::WrappedKeyLenRange => 0x112,
        RvError::WrappingKeyHandleInvalid => 0x113,
        RvError::WrappingKeySizeRange => 0x114,
        RvError::WrappingKeyTypeInconsistent => 0x115,
        RvError::RandomSeedNotSupported => 0x120,
        RvError::RandomNoRng => 0x121,
        RvError::DomainParamsInvalid => 0x130,
        RvError::CurveNotSupported => 0x140,
        RvError::BufferTooSmall => 0x150,
        RvError::SavedStateInvalid => 0x160,
        RvError::InformationSensitive => 0x170,
        RvError::StateUnsaveable => 0x180,
        RvError::CryptokiNotInitialized => 0x190,
        RvError::CryptokiAlreadyInitialized => 0x191,
        RvError::MutexBad => 0x1a0,
        RvError::MutexNotLocked => 0x1a1,
        RvError::NewPinMode => 0x1b0,
        RvError::NextOtp => 0x1b1,
        RvError::ExceededMaxIterations => 0x1b5,
        RvError::FipsSelfTestFailed => 0x1b6,
        RvError::LibraryLoadFailed => 0x1b7,
        RvError::PinTooWeak => 0x1b8,
        RvError::PublicKeyInvalid => 0x1b9,
        RvError::FunctionRejected => 0x200,
        RvError::VendorDefined(rv) | RvError::UnknownErrorCode(rv) => u32::try_from(rv).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::error::Rv;

    use super::*;

    #[test]
    fn every_number_comes_back() {
        for rv in (1..0x300).chain([0x8000_0000, 0x8000_0001, 0xffff_ffff]) {
            let Rv::Error(error) = Rv::from(rv) else { panic!("{rv:#x} is an error") };
            assert_eq!(u64::from(code(error)), rv);
        }
    }
}

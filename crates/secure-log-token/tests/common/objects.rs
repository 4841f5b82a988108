//! Objects seen and destroyed by SoftHSM2's own functions.

use secure_log_pkcs11::token::Slot as _;
use secure_log_token::ck::*;

use super::common::Token;
use super::faulty::real;

/// All objects of this label, by SoftHSM2's own functions.
fn found(token: &Token, label: &str) -> Vec<(CK_OBJECT_HANDLE, CK_OBJECT_CLASS)> {
    let list = real();
    let (mut session, mut handles, mut count) = (0, [0; 16], 0);
    let attribute =
        |kind, value: *mut CK_VOID, len| CK_ATTRIBUTE { type_: kind, pValue: value, ulValueLen: len };
    let mut template = attribute(CKA_LABEL, label.as_ptr().cast_mut().cast(), label.len() as CK_ULONG);
    let null = std::ptr::null_mut();
    // SAFETY: pointers to as many values as their counts say.
    unsafe {
        let slot = token.slot.id() as CK_SLOT_ID;
        assert_eq!(
            list.C_OpenSession.unwrap()(slot, CKF_SERIAL_SESSION, null, None, &raw mut session),
            CKR_OK
        );
        assert_eq!(list.C_FindObjectsInit.unwrap()(session, &raw mut template, 1), CKR_OK);
        assert_eq!(list.C_FindObjects.unwrap()(session, handles.as_mut_ptr(), 16, &raw mut count), CKR_OK);
        assert_eq!(list.C_FindObjectsFinal.unwrap()(session), CKR_OK);
        let class = |object| {
            let mut class: CK_OBJECT_CLASS = 0;
            let size = size_of::<CK_OBJECT_CLASS>() as CK_ULONG;
            let mut template = attribute(CKA_CLASS, (&raw mut class).cast(), size);
            assert_eq!(list.C_GetAttributeValue.unwrap()(session, object, &raw mut template, 1), CKR_OK);
            class
        };
        let found = handles[..count as usize].iter().map(|object| (*object, class(*object))).collect();
        assert_eq!(list.C_CloseSession.unwrap()(session), CKR_OK);
        found
    }
}

/// How many there are.
pub fn objects(token: &Token, label: &str) -> usize {
    found(token, label).len()
}

/// Destroys one half of a key.
pub fn destroy(token: &Token, label: &str, class: CK_OBJECT_CLASS) {
    let (mut session, null) = (0, std::ptr::null_mut());
    let slot = token.slot.id() as CK_SLOT_ID;
    for (object, _) in found(token, label).into_iter().filter(|(_, of)| *of == class) {
        // SAFETY: room for one handle.
        unsafe {
            let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
            assert_eq!(real().C_OpenSession.unwrap()(slot, flags, null, None, &raw mut session), CKR_OK);
            assert_eq!(real().C_DestroyObject.unwrap()(session, object), CKR_OK);
            assert_eq!(real().C_CloseSession.unwrap()(session), CKR_OK);
        }
    }
}

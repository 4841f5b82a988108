//! Signing, verifying, encrypting.

use super::{Call, Functions, Rv, check, filled, function, input, ulong};
use crate::ck::*;
use crate::mechanism::Operation;

type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Once =
    unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

impl Functions {
    pub fn sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Call<()> {
        begin(function!(self.C_SignInit)?, session, mechanism, key)
    }

    /// The length of the signature in `signature`.
    pub fn sign(&self, session: CK_SESSION_HANDLE, data: &[u8], signature: &mut [u8]) -> Call<usize> {
        once(function!(self.C_Sign)?, session, data, signature)
    }

    pub fn sign_update(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Call<()> {
        let function = function!(self.C_SignUpdate)?;
        let len = ulong(data.len())?;
        // SAFETY: data with its length, which is only read.
        check(unsafe { function(session, input(data), len) })
    }

    /// The length of the signature in `signature`.
    pub fn sign_final(&self, session: CK_SESSION_HANDLE, signature: &mut [u8]) -> Call<usize> {
        let function = function!(self.C_SignFinal)?;
        let mut len = ulong(signature.len())?;
        // SAFETY: `signature` has room for `len` bytes.
        check(unsafe { function(session, signature.as_mut_ptr(), &raw mut len) })?;
        filled(len, signature.len())
    }

    /// Whether the signature is one of this key's.
    pub fn verify(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Call<bool> {
        begin(function!(self.C_VerifyInit)?, session, mechanism, key)?;
        let function = function!(self.C_Verify)?;
        let (data_len, len) = (ulong(data.len())?, ulong(signature.len())?);
        // SAFETY: data and a signature with their lengths, which are only read.
        match unsafe { function(session, input(data), data_len, input(signature), len) } {
            CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE => Ok(false),
            rv => check(rv).map(|()| true),
        }
    }

    pub fn encrypt_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Call<()> {
        begin(function!(self.C_EncryptInit)?, session, mechanism, key)
    }

    /// The length of the ciphertext in `out`.
    pub fn encrypt(&self, session: CK_SESSION_HANDLE, plain: &[u8], out: &mut [u8]) -> Call<usize> {
        once(function!(self.C_Encrypt)?, session, plain, out)
    }

    pub fn decrypt_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Call<()> {
        begin(function!(self.C_DecryptInit)?, session, mechanism, key)
    }

    /// The length of the plaintext in `out`.
    pub fn decrypt(&self, session: CK_SESSION_HANDLE, sealed: &[u8], out: &mut [u8]) -> Call<usize> {
        once(function!(self.C_Decrypt)?, session, sealed, out)
    }
}

fn begin(
    function: Init,
    session: CK_SESSION_HANDLE,
    mechanism: &Operation<'_>,
    key: CK_OBJECT_HANDLE,
) -> Call<()> {
    // SAFETY: a C_*Init of the module; the mechanism and its parameter outlive the call, in which the module copies them.
    check(mechanism.raw(|mechanism| unsafe { function(session, mechanism, key) })?)
}

fn once(function: Once, session: CK_SESSION_HANDLE, data: &[u8], out: &mut [u8]) -> Call<usize> {
    let (data_len, mut len) = (ulong(data.len())?, ulong(out.len())?);
    // SAFETY: a C_Sign, C_Encrypt or C_Decrypt of the module; data with its length, which is only read, and room for
    // `len` bytes.
    match unsafe { function(session, input(data), data_len, out.as_mut_ptr(), &raw mut len) } {
        CKR_OK => filled(len, out.len()),
        rv => Err(Rv(rv)),
    }
}

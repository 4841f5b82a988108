//! Objects and their attributes.

use std::ptr::null_mut;

use super::{Call, Functions, MAX_LIST, Rv, check, filled, function};
use crate::attributes::Attributes;
use crate::ck::*;
use crate::mechanism::Operation;

/// Most bytes of an attribute that is read.
const MAX_VALUE: usize = 65_536;
/// Handles that are fetched at once.
const BATCH: usize = 64;

impl Functions {
    /// All objects that match.
    pub fn find(&self, session: CK_SESSION_HANDLE, template: &Attributes) -> Call<Vec<CK_OBJECT_HANDLE>> {
        let (begin, end) = (function!(self.C_FindObjectsInit)?, function!(self.C_FindObjectsFinal)?);
        // SAFETY: `raw` gives as many attributes as it says, which are only read.
        check(template.raw(|attributes, count| unsafe { begin(session, attributes, count) })?)?;
        let found = self.found(session);
        // SAFETY: takes a number, which the module checks.
        let ended = check(unsafe { end(session) });
        let found = found?;
        ended.map(|()| found)
    }

    fn found(&self, session: CK_SESSION_HANDLE) -> Call<Vec<CK_OBJECT_HANDLE>> {
        let function = function!(self.C_FindObjects)?;
        let mut found = Vec::new();
        loop {
            let (mut batch, mut count) = ([0; BATCH], 0);
            // SAFETY: `batch` has room for BATCH handles, `count` for one number.
            let rv = unsafe { function(session, batch.as_mut_ptr(), BATCH as CK_ULONG, &raw mut count) };
            check(rv)?;
            let count = filled(count, BATCH)?;
            if count == 0 {
                return Ok(found);
            }
            found.extend_from_slice(&batch[..count]);
            if found.len() > MAX_LIST {
                return Err(Rv(CKR_DEVICE_ERROR));
            }
        }
    }

    /// An attribute's value; none if the object has it not, or does not tell.
    pub fn attribute(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Call<Option<Vec<u8>>> {
        let Some(len) = self.read(session, object, kind, null_mut(), 0)? else { return Ok(None) };
        let room = filled(len, MAX_VALUE)?;
        let mut value = vec![0u8; room];
        if room == 0 {
            return Ok(Some(value));
        }
        let Some(len) = self.read(session, object, kind, value.as_mut_ptr().cast(), len)? else {
            return Ok(None);
        };
        value.truncate(filled(len, room)?);
        Ok(Some(value))
    }

    /// An attribute that is a number.
    pub fn number(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Call<Option<CK_ULONG>> {
        let mut value: CK_ULONG = 0;
        let size = size_of::<CK_ULONG>() as CK_ULONG;
        match self.read(session, object, kind, (&raw mut value).cast(), size)? {
            Some(len) if len != size => Err(Rv(CKR_DEVICE_ERROR)),
            len => Ok(len.map(|_| value)),
        }
    }

    /// An attribute that is yes or no.
    pub fn flag(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Call<Option<bool>> {
        let mut value: CK_BBOOL = CK_FALSE;
        match self.read(session, object, kind, (&raw mut value).cast(), 1)? {
            Some(len) if len != 1 => Err(Rv(CKR_DEVICE_ERROR)),
            len => Ok(len.map(|_| value != CK_FALSE)),
        }
    }

    /// C_GetAttributeValue of one attribute into `room` bytes at `value`, or of its length if that is null.
    fn read(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
        value: *mut CK_VOID,
        room: CK_ULONG,
    ) -> Call<Option<CK_ULONG>> {
        let function = function!(self.C_GetAttributeValue)?;
        let mut attribute = CK_ATTRIBUTE { type_: kind, pValue: value, ulValueLen: room };
        // SAFETY: one attribute; all callers have `room` bytes at `value`, aligned for what they are, or null.
        match unsafe { function(session, object, &raw mut attribute, 1) } {
            CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID => Ok(None),
            CKR_OK if attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION => Ok(None),
            rv => check(rv).map(|()| Some(attribute.ulValueLen)),
        }
    }

    pub fn set_attributes(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        values: &Attributes,
    ) -> Call<()> {
        let function = function!(self.C_SetAttributeValue)?;
        // SAFETY: `raw` gives as many attributes as it says, which are only read.
        check(values.raw(|attributes, count| unsafe { function(session, object, attributes, count) })?)
    }

    pub fn create(&self, session: CK_SESSION_HANDLE, template: &Attributes) -> Call<CK_OBJECT_HANDLE> {
        let function = function!(self.C_CreateObject)?;
        let mut object = 0;
        let handle = &raw mut object;
        // SAFETY: `raw` gives as many attributes as it says, which are only read; `handle` has room for one.
        check(template.raw(|attributes, count| unsafe { function(session, attributes, count, handle) })?)?;
        Ok(object)
    }

    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Call<()> {
        let function = function!(self.C_DestroyObject)?;
        // SAFETY: takes numbers, which the module checks.
        check(unsafe { function(session, object) })
    }

    pub fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        template: &Attributes,
    ) -> Call<CK_OBJECT_HANDLE> {
        let function = function!(self.C_GenerateKey)?;
        let mut key = 0;
        let handle = &raw mut key;
        let rv = mechanism.raw(|mechanism| {
            // SAFETY: a mechanism with its parameter, as many attributes as `raw` says, room for one handle.
            template
                .raw(|attributes, count| unsafe { function(session, mechanism, attributes, count, handle) })
        })??;
        check(rv)?;
        Ok(key)
    }

    /// The public and the private key.
    pub fn generate_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Operation<'_>,
        public: &Attributes,
        private: &Attributes,
    ) -> Call<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let function = function!(self.C_GenerateKeyPair)?;
        let mut keys = (0, 0);
        let (first, second) = (&raw mut keys.0, &raw mut keys.1);
        let rv = mechanism.raw(|mechanism| {
            public.raw(|public, publics| {
                private.raw(|private, privates| {
                    // SAFETY: a mechanism with its parameter, as many attributes as `raw` says, room for two handles.
                    unsafe { function(session, mechanism, public, publics, private, privates, first, second) }
                })
            })
        })???;
        check(rv)?;
        Ok(keys)
    }
}

//! Templates.

use secure_log_pkcs11::token::Zeroizing;

use crate::ck::*;
use crate::functions::{Call, Rv};

/// A value as C has it: a number is aligned as one.
enum Value {
    Flag(CK_BBOOL),
    Number(CK_ULONG),
    Bytes(Zeroizing<Vec<u8>>),
}

/// Attributes with their values. They are overwritten when dropped: private keys are among them.
#[derive(Default)]
pub(crate) struct Attributes(Vec<(CK_ATTRIBUTE_TYPE, Value)>);

impl Attributes {
    pub fn of(class: CK_OBJECT_CLASS) -> Self {
        Self::default().number(CKA_CLASS, class).flag(CKA_TOKEN, true)
    }

    pub fn flag(mut self, kind: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.0.push((kind, Value::Flag(if value { CK_TRUE } else { CK_FALSE })));
        self
    }

    /// Several that are all yes or all no.
    pub fn flags(self, kinds: &[CK_ATTRIBUTE_TYPE], value: bool) -> Self {
        kinds.iter().fold(self, |this, kind| this.flag(*kind, value))
    }

    pub fn number(mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.0.push((kind, Value::Number(value)));
        self
    }

    pub fn bytes(mut self, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.0.push((kind, Value::Bytes(Zeroizing::new(value.to_vec()))));
        self
    }

    /// Calls `with` these attributes and their number.
    pub fn raw<R>(&self, with: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> R) -> Call<R> {
        let mut raw = Vec::with_capacity(self.0.len());
        for (kind, value) in &self.0 {
            let (value, len): (*const CK_VOID, usize) = match value {
                Value::Flag(flag) => ((&raw const *flag).cast(), 1),
                Value::Number(number) => ((&raw const *number).cast(), size_of::<CK_ULONG>()),
                Value::Bytes(bytes) => (bytes.as_ptr().cast(), bytes.len()),
            };
            let len = CK_ULONG::try_from(len).map_err(|_| Rv(CKR_DATA_LEN_RANGE))?;
            raw.push(CK_ATTRIBUTE { type_: *kind, pValue: value.cast_mut(), ulValueLen: len });
        }
        let count = CK_ULONG::try_from(raw.len()).map_err(|_| Rv(CKR_DATA_LEN_RANGE))?;
        Ok(with(raw.as_mut_ptr(), count))
    }
}

//! The C functions, made safe: the one place that calls them.
//!
//! Every function here is safe because whoever made the [`Entry`] vouched for the module: it keeps to the standard. What
//! it returns is checked nevertheless, so that a module that gives wrong numbers is an error and not a wild read.

mod objects;
mod operations;

use std::ptr::null_mut;

use secure_log_pkcs11::token::TokenError;

use crate::ck::*;

/// A CK_RV other than CKR_OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rv(pub CK_RV);

impl From<Rv> for TokenError {
    fn from(rv: Rv) -> Self {
        Self::from_rv(to_u32(rv.0))
    }
}

/// What a call gives.
pub(crate) type Call<T> = Result<T, Rv>;

/// Most slots, mechanisms or keys that a module is believed to have.
const MAX_LIST: usize = 65_536;

/// A CK_ULONG in 32 bits; one that has more becomes the largest.
pub(crate) fn to_u32(value: CK_ULONG) -> u32 {
    #[allow(clippy::unnecessary_cast, reason = "CK_ULONG has 64 bits elsewhere")]
    let value = value.min(u32::MAX as CK_ULONG) as u32;
    value
}

fn check(rv: CK_RV) -> Call<()> {
    if rv == CKR_OK { Ok(()) } else { Err(Rv(rv)) }
}

fn ulong(len: usize) -> Call<CK_ULONG> {
    CK_ULONG::try_from(len).map_err(|_| Rv(CKR_DATA_LEN_RANGE))
}

/// How much of `room` a module says that it filled.
fn filled(len: CK_ULONG, room: usize) -> Call<usize> {
    usize::try_from(len).ok().filter(|len| *len <= room).ok_or(Rv(CKR_DEVICE_ERROR))
}

/// Input, which C has no `const` for.
fn input(bytes: &[u8]) -> *mut CK_BYTE {
    bytes.as_ptr().cast_mut()
}

/// The function of this name.
macro_rules! function {
    ($functions:ident.$name:ident) => {
        $functions.0.$name.ok_or(Rv(CKR_FUNCTION_NOT_SUPPORTED))
    };
}
use function;

/// Where a module's functions are got from.
#[derive(Clone, Copy)]
pub(crate) struct Entry(CK_C_GetFunctionList);

impl Entry {
    /// # Safety
    ///
    /// `entry` is the C_GetFunctionList of a module that keeps to PKCS #11 v2.40 and stays loaded.
    pub unsafe fn new(entry: CK_C_GetFunctionList) -> Self {
        Self(entry)
    }

    pub fn load(self) -> Call<Functions> {
        let mut list = null_mut();
        // SAFETY: `new`'s contract; `list` takes one pointer.
        check(unsafe { (self.0)(&raw mut list) })?;
        if list.is_null() {
            return Err(Rv(CKR_GENERAL_ERROR));
        }
        // SAFETY: the module returned its list, which is not null.
        Ok(Functions(unsafe { list.read() }))
    }
}

/// A module's functions.
pub(crate) struct Functions(CK_FUNCTION_LIST);

impl Functions {
    pub fn initialize(&self) -> Call<()> {
        let function = function!(self.C_Initialize)?;
        let mut args = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: null_mut(),
        };
        // A component has one thread.
        let args = if cfg!(target_family = "wasm") { null_mut() } else { (&raw mut args).cast() };
        // SAFETY: null, or arguments that outlive the call.
        match unsafe { function(args) } {
            CKR_CRYPTOKI_ALREADY_INITIALIZED => Ok(()),
            rv => check(rv),
        }
    }

    pub fn finalize(&self) -> Call<()> {
        let function = function!(self.C_Finalize)?;
        // SAFETY: the argument is reserved and null.
        check(unsafe { function(null_mut()) })
    }

    /// The slots with a token in them.
    pub fn slots(&self) -> Call<Vec<CK_SLOT_ID>> {
        let function = function!(self.C_GetSlotList)?;
        // SAFETY: `list` gives null, or room for as many as it says.
        list(|slots, count| unsafe { function(CK_TRUE, slots, count) })
    }

    pub fn mechanisms(&self, slot: CK_SLOT_ID) -> Call<Vec<CK_MECHANISM_TYPE>> {
        let function = function!(self.C_GetMechanismList)?;
        // SAFETY: `list` gives null, or room for as many as it says.
        list(|mechanisms, count| unsafe { function(slot, mechanisms, count) })
    }

    pub fn token_info(&self, slot: CK_SLOT_ID) -> Call<CK_TOKEN_INFO> {
        let function = function!(self.C_GetTokenInfo)?;
        let mut info = CK_TOKEN_INFO::EMPTY;
        // SAFETY: `info` has room for one.
        check(unsafe { function(slot, &raw mut info) })?;
        Ok(info)
    }

    pub fn init_token(&self, slot: CK_SLOT_ID, pin: Option<&[u8]>, label: &[u8; 32]) -> Call<()> {
        let function = function!(self.C_InitToken)?;
        let (pin, len) = pin_argument(pin)?;
        // SAFETY: a PIN with its length, or null with 0; a label has 32 bytes. Both are only read.
        check(unsafe { function(slot, pin, len, input(label)) })
    }

    pub fn init_pin(&self, session: CK_SESSION_HANDLE, pin: Option<&[u8]>) -> Call<()> {
        let function = function!(self.C_InitPIN)?;
        let (pin, len) = pin_argument(pin)?;
        // SAFETY: a PIN with its length, or null with 0; it is only read.
        check(unsafe { function(session, pin, len) })
    }

    pub fn open_session(&self, slot: CK_SLOT_ID, read_write: bool) -> Call<CK_SESSION_HANDLE> {
        let function = function!(self.C_OpenSession)?;
        let flags = if read_write { CKF_SERIAL_SESSION | CKF_RW_SESSION } else { CKF_SERIAL_SESSION };
        let mut session = 0;
        // SAFETY: nobody is to be notified, and `session` has room for one handle.
        check(unsafe { function(slot, flags, null_mut(), None, &raw mut session) })?;
        Ok(session)
    }

    pub fn close_session(&self, session: CK_SESSION_HANDLE) -> Call<()> {
        let function = function!(self.C_CloseSession)?;
        // SAFETY: takes a number, which the module checks.
        check(unsafe { function(session) })
    }

    pub fn session_state(&self, session: CK_SESSION_HANDLE) -> Call<CK_STATE> {
        let function = function!(self.C_GetSessionInfo)?;
        let mut info = CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        // SAFETY: `info` has room for one.
        check(unsafe { function(session, &raw mut info) })?;
        Ok(info.state)
    }

    pub fn login(&self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: Option<&[u8]>) -> Call<()> {
        let function = function!(self.C_Login)?;
        let (pin, len) = pin_argument(pin)?;
        // SAFETY: a PIN with its length, or null with 0; it is only read.
        check(unsafe { function(session, user, pin, len) })
    }

    pub fn logout(&self, session: CK_SESSION_HANDLE) -> Call<()> {
        let function = function!(self.C_Logout)?;
        // SAFETY: takes a number, which the module checks.
        check(unsafe { function(session) })
    }

    pub fn random(&self, session: CK_SESSION_HANDLE, bytes: &mut [u8]) -> Call<()> {
        let function = function!(self.C_GenerateRandom)?;
        let len = ulong(bytes.len())?;
        // SAFETY: `bytes` has room for `len`.
        check(unsafe { function(session, bytes.as_mut_ptr(), len) })
    }
}

/// None: the token asks for it by itself.
fn pin_argument(pin: Option<&[u8]>) -> Call<(*mut CK_BYTE, CK_ULONG)> {
    pin.map_or(Ok((null_mut(), 0)), |pin| Ok((input(pin), ulong(pin.len())?)))
}

/// Calls for the number, then for the values; once more if there are more by then.
fn list(call: impl Fn(*mut CK_ULONG, *mut CK_ULONG) -> CK_RV) -> Call<Vec<CK_ULONG>> {
    for _ in 0..4 {
        let mut count = 0;
        check(call(null_mut(), &raw mut count))?;
        let room = filled(count, MAX_LIST)?;
        let mut values = vec![0; room];
        if room == 0 {
            return Ok(values);
        }
        match call(values.as_mut_ptr(), &raw mut count) {
            CKR_BUFFER_TOO_SMALL => continue,
            rv => check(rv)?,
        }
        values.truncate(filled(count, room)?);
        return Ok(values);
    }
    Err(Rv(CKR_BUFFER_TOO_SMALL))
}

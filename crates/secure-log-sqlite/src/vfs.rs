//! A thin SQLite VFS over the platform's lock-free one: every write, truncation, deletion and
//! sync is allowed by the lease first.
//!
//! One VFS is registered per connection, so that a file knows its lease without any registry of
//! our own; it is unregistered when the connection is gone.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi;
use secure_log::error::{Error, Result};
use secure_log_lease::Lease;

/// The lease, and why it last refused.
#[derive(Debug)]
pub struct Guard {
    lease: Lease,
    refused: Mutex<Option<Error>>,
}

impl Guard {
    fn allows(&self) -> bool {
        match self.lease.check() {
            Ok(()) => true,
            Err(e) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                false
            }
        }
    }
}

/// SQLite's lock-free VFS of this platform, by name; `None` is SQLite's default.
pub fn base_name() -> Option<&'static CStr> {
    // SAFETY: both names are NUL-terminated; the call only searches a list.
    [c"unix-none", c"win32-none"]
        .into_iter()
        .find(|name| unsafe { !ffi::sqlite3_vfs_find(name.as_ptr()).is_null() })
}

/// A registered VFS that asks `guard`. Must outlive the connections opened with it.
pub struct LeasedVfs {
    inner: Box<Inner>,
}

// SAFETY: `inner` is only reached through SQLite, which is as sendable as the one connection that
// uses it; `base` is a static of SQLite's.
unsafe impl Send for LeasedVfs {}

struct Inner {
    vfs: ffi::sqlite3_vfs,
    base: *mut ffi::sqlite3_vfs,
    name: CString,
    guard: Guard,
}

impl LeasedVfs {
    /// Registers a VFS for the store that `lease` is for.
    pub fn register(lease: Lease) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = CString::new(format!("secure-log-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
            .map_err(|e| Error::Storage(e.to_string()))?;
        // SAFETY: initialising is idempotent; the name is null (the default) or NUL-terminated.
        let base = unsafe {
            ffi::sqlite3_initialize();
            ffi::sqlite3_vfs_find(base_name().map_or(ptr::null(), CStr::as_ptr))
        };
        if base.is_null() {
            return Err(Error::Storage("SQLite has no file system here".into()));
        }
        // SAFETY: all-zero is a valid sqlite3_vfs: null pointers, no functions, zero numbers.
        let mut vfs: ffi::sqlite3_vfs = unsafe { std::mem::zeroed() };
        // SAFETY: `base` was found registered just now, and VFSs of SQLite itself are static.
        let (os_file, mx_pathname) = unsafe { ((*base).szOsFile, (*base).mxPathname) };
        vfs.iVersion = 2;
        vfs.szOsFile = size_of::<LeasedFile>() as c_int + os_file;
        vfs.mxPathname = mx_pathname;
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        vfs.xFullPathname = Some(full_pathname);
        vfs.xRandomness = Some(randomness);
        vfs.xSleep = Some(sleep);
        vfs.xCurrentTime = Some(current_time);
        vfs.xGetLastError = Some(get_last_error);
        vfs.xCurrentTimeInt64 = Some(current_time_int64);
        let mut inner =
            Box::new(Inner { vfs, base, name, guard: Guard { lease, refused: Mutex::new(None) } });
        inner.vfs.zName = inner.name.as_ptr();
        inner.vfs.pAppData = ptr::from_mut(&mut *inner).cast();
        // SAFETY: the box does not move and stays until `drop` has unregistered it.
        match unsafe { ffi::sqlite3_vfs_register(&mut inner.vfs, 0) } {
            ffi::SQLITE_OK => Ok(Self { inner }),
            code => Err(Error::Storage(format!("SQLite refused the file layer (code {code})"))),
        }
    }

    /// Name under which it is registered.
    pub fn name(&self) -> &CStr {
        &self.inner.name
    }

    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.inner.guard.lease
    }

    /// Why the lease refused since the last call, if it did.
    pub fn take_refusal(&self) -> Option<Error> {
        self.inner.guard.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Unregisters and gives the lease back. Only when no connection uses it any more.
    pub fn release(self) -> Result<()> {
        self.into_lease().release()
    }

    /// Unregisters. Only when no connection uses it any more.
    pub fn into_lease(self) -> Lease {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the box is read out exactly once.
        let mut inner = unsafe { ptr::read(&this.inner) };
        // SAFETY: registered in `register`, and unregistered only once.
        unsafe { ffi::sqlite3_vfs_unregister(&mut inner.vfs) };
        inner.guard.lease
    }
}

impl Drop for LeasedVfs {
    fn drop(&mut self) {
        // SAFETY: registered in `register`; whoever holds us has closed the connection first.
        unsafe { ffi::sqlite3_vfs_unregister(&mut self.inner.vfs) };
    }
}

/// An open file: this header, then the base VFS's own file right behind it.
#[repr(C, align(8))]
struct LeasedFile {
    file: ffi::sqlite3_file,
    guard: *const Guard,
}

impl LeasedFile {
    /// # Safety
    /// `file` was given to `open` below and has at least `szOsFile` bytes.
    unsafe fn base(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
        unsafe { file.cast::<u8>().add(size_of::<Self>()).cast() }
    }

    /// # Safety
    /// As for `base`; and the VFS is still registered.
    unsafe fn allows(file: *mut ffi::sqlite3_file) -> bool {
        unsafe { (*(*file.cast::<Self>()).guard).allows() }
    }
}

/// # Safety
/// `vfs` is one that `register` made.
unsafe fn inner<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Inner {
    unsafe { &*(*vfs).pAppData.cast::<Inner>() }
}

/// Calls a method of the base file, or gives `SQLITE_IOERR` where it has none.
macro_rules! base_file {
    ($file:expr, $method:ident $(, $arg:expr)*) => {{
        // SAFETY: SQLite calls methods only on files that `open` opened.
        unsafe {
            let base = LeasedFile::base($file);
            match (*(*base).pMethods).$method {
                Some(method) => method(base $(, $arg)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// Calls a function of the base VFS.
macro_rules! base_vfs {
    ($vfs:expr, $method:ident, $default:expr $(, $arg:expr)*) => {{
        // SAFETY: SQLite calls us with a VFS that `register` made; its base is static.
        unsafe {
            let base = inner($vfs).base;
            match (*base).$method {
                Some(method) => method(base $(, $arg)*),
                None => $default,
            }
        }
    }};
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 1: no shared memory and no memory map, so nothing gets past `write`.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes at `file`, and null methods mean "not opened".
    unsafe {
        (*file).pMethods = ptr::null();
        let inner = inner(vfs);
        if flags & ffi::SQLITE_OPEN_CREATE != 0 && !inner.guard.allows() {
            return ffi::SQLITE_CANTOPEN;
        }
        let Some(open) = (*inner.base).xOpen else { return ffi::SQLITE_CANTOPEN };
        // SQLite syncs the directory of a log that it may have created. One that has more than its header was synced
        // with its directory by whoever created it, so that is spared.
        let flags = if flags & ffi::SQLITE_OPEN_WAL != 0 && longer_than_its_header(name) {
            flags & !ffi::SQLITE_OPEN_CREATE
        } else {
            flags
        };
        let base = LeasedFile::base(file);
        let code = open(inner.base, name, base, flags, out_flags);
        if code == ffi::SQLITE_OK {
            (*file.cast::<LeasedFile>()).guard = &inner.guard;
            (*file).pMethods = &METHODS;
        } else if !(*base).pMethods.is_null() {
            // Having methods, it wants to be closed in spite of the error; SQLite only sees ours.
            if let Some(close) = (*(*base).pMethods).xClose {
                close(base);
            }
        }
        code
    }
}

/// Length of the header of a write-ahead log (SQLite file format §4.1), which is synced before anything follows it.
const WAL_HEADER: u64 = 32;

/// # Safety
///
/// `name` is null or NUL-terminated.
unsafe fn longer_than_its_header(name: *const c_char) -> bool {
    if name.is_null() {
        return false;
    }
    // SAFETY: the caller says so.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().is_ok_and(|path| std::fs::metadata(path).is_ok_and(|meta| meta.len() > WAL_HEADER))
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite calls us with a VFS that `register` made.
    if !unsafe { inner(vfs) }.guard.allows() {
        return ffi::SQLITE_IOERR_DELETE;
    }
    base_vfs!(vfs, xDelete, ffi::SQLITE_IOERR_DELETE, name, sync_dir)
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    base_vfs!(vfs, xAccess, ffi::SQLITE_IOERR_ACCESS, name, flags, out)
}

unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    base_vfs!(vfs, xFullPathname, ffi::SQLITE_CANTOPEN_FULLPATH, name, size, out)
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    base_vfs!(vfs, xRandomness, 0, size, out)
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    base_vfs!(vfs, xSleep, 0, microseconds)
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    base_vfs!(vfs, xCurrentTime, ffi::SQLITE_ERROR, out)
}

unsafe extern "C" fn current_time_int64(vfs: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    base_vfs!(vfs, xCurrentTimeInt64, ffi::SQLITE_ERROR, out)
}

unsafe extern "C" fn get_last_error(vfs: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    base_vfs!(vfs, xGetLastError, 0, size, out)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    base_file!(file, xClose)
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    size: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    base_file!(file, xRead, out, size, offset)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    size: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls methods only on files that `open` opened.
    if !unsafe { LeasedFile::allows(file) } {
        return ffi::SQLITE_IOERR_WRITE;
    }
    base_file!(file, xWrite, data, size, offset)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls methods only on files that `open` opened.
    if !unsafe { LeasedFile::allows(file) } {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    base_file!(file, xTruncate, size)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite calls methods only on files that `open` opened.
    if !unsafe { LeasedFile::allows(file) } {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    let code = base_file!(file, xSync, flags);
    // A sync can take long. Whoever took over meanwhile may have dropped what was synced.
    // SAFETY: as above.
    if code == ffi::SQLITE_OK && !unsafe { LeasedFile::allows(file) } {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    code
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    base_file!(file, xFileSize, out)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    base_file!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    base_file!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    base_file!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    base_file!(file, xFileControl, op, arg)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    base_file!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    base_file!(file, xDeviceCharacteristics)
}

//! SQLite's lock on the database of a token, without the one that a dead instance left.
//!
//! WASI has no file locks, so SQLite makes a folder beside the database for one (`unix-dotfile`): `token.sql.lock`. Whoever
//! is killed while it reads or writes leaves that folder, and nobody could use the token again. An access takes
//! milliseconds, so a lock of [`STALE`] is taken away, by one instance at a time. One that was only stopped for so long
//! finds out before it writes, and fails.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};
use std::{fs, ptr};

use rusqlite::ffi::{
    SQLITE_BUSY, SQLITE_IOERR_DELETE, SQLITE_IOERR_LOCK, SQLITE_LOCK_NONE, SQLITE_OK, SQLITE_OPEN_MAIN_DB,
    sqlite3_file, sqlite3_filename, sqlite3_initialize, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};
use secure_log_lease::{Lease, LeaseOptions};

/// A lock of this age has no living holder. Less than SQLite waits for one (5 s).
const STALE: Duration = Duration::from_secs(3);
/// A holder looks whether it still has its lock once it had it for so long.
const DOUBT: Duration = Duration::from_secs(2);

thread_local! {
    /// The states of all open databases. There is one thread.
    static OPEN: RefCell<Vec<*mut State>> = const { RefCell::new(Vec::new()) };
}

/// Makes SQLite open every database in this way. Once is enough.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: SQLite's own functions and what they give; the copy lives as long as the program, as does the name.
        unsafe {
            if sqlite3_initialize() != SQLITE_OK {
                return;
            }
            let base = sqlite3_vfs_find(c"unix-dotfile".as_ptr());
            if base.is_null() {
                return;
            }
            let mut ours = *base;
            ours.zName = c"token".as_ptr();
            ours.pNext = ptr::null_mut();
            ours.szOsFile = state_offset(base) + size_of::<*mut State>() as c_int;
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
        }
    });
}

/// What is known of an open database. A pointer to it follows SQLite's own part of the file.
struct State {
    base: *const sqlite3_io_methods,
    methods: sqlite3_io_methods,
    lock: PathBuf,
    journal: String,
    /// When this instance took the lock that it has.
    taken: Option<SystemTime>,
}

impl State {
    /// Takes away a lock without a living holder.
    fn release_stale(&self) -> bool {
        if !is_stale(&self.lock) {
            return false;
        }
        let options = LeaseOptions { duration: STALE, wait: STALE * 2, host_lock: false };
        let Ok(lease) = Lease::acquire(&self.lock, &options) else { return false };
        // Another instance may have taken it away, and a third have a lock of its own by now.
        let released = is_stale(&self.lock) && lease.check().is_ok() && fs::remove_dir(&self.lock).is_ok();
        // One that cannot be given back runs out.
        let _ = lease.release();
        released
    }

    /// Whether a write may still happen: nobody took the lock away.
    fn is_ours(&self) -> bool {
        let Some(taken) = self.taken else { return true };
        if taken.elapsed().is_ok_and(|held| held < DOUBT) {
            return true;
        }
        modified(&self.lock).is_some_and(|at| at <= taken + DOUBT)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

fn is_stale(lock: &Path) -> bool {
    modified(lock).and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= STALE)
}

/// Where the pointer lies.
unsafe fn state_offset(base: *const sqlite3_vfs) -> c_int {
    // SAFETY: the caller has it from SQLite.
    let size = unsafe { (*base).szOsFile };
    (size + 15) & !15
}

/// The base of our VFS: SQLite never takes it away.
fn base() -> *mut sqlite3_vfs {
    // SAFETY: a look-up by name.
    unsafe { sqlite3_vfs_find(c"unix-dotfile".as_ptr()) }
}

/// The pointer that follows SQLite's own part of `file`, which must be one of ours.
unsafe fn slot(file: *mut sqlite3_file) -> *mut *mut State {
    // SAFETY: SQLite gave the file the size that `install` asked for.
    unsafe { file.byte_add(state_offset(base()) as usize).cast() }
}

/// The state of `file`, a database that [`open`] opened.
unsafe fn state<'a>(file: *mut sqlite3_file) -> &'a mut State {
    // SAFETY: `open` has put it there, and only `close` takes it away. There is one thread.
    unsafe { &mut **slot(file) }
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: all arguments are SQLite's, for the VFS that this one is a copy of.
    unsafe {
        let Some(open) = (*base()).xOpen else { return SQLITE_IOERR_LOCK };
        let rc = open(base(), name, file, flags, out);
        if rc != SQLITE_OK || flags & SQLITE_OPEN_MAIN_DB == 0 || name.is_null() {
            return rc;
        }
        let Ok(path) = CStr::from_ptr(name).to_str() else { return rc };
        let methods = (*file).pMethods;
        let mut state = Box::new(State {
            base: methods,
            methods: *methods,
            lock: format!("{path}.lock").into(),
            journal: format!("{path}-journal"),
            taken: None,
        });
        state.methods.xClose = Some(close);
        state.methods.xWrite = Some(write);
        state.methods.xTruncate = Some(truncate);
        state.methods.xLock = Some(lock);
        state.methods.xUnlock = Some(unlock);
        (*file).pMethods = &raw const state.methods;
        let state = Box::into_raw(state);
        slot(file).write(state);
        OPEN.with_borrow_mut(|open| open.push(state));
        rc
    }
}

/// A transaction is over when its journal is deleted: whoever lost the lock has lost the transaction.
unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: all arguments are SQLite's; the states are those of open databases.
    unsafe {
        let path = CStr::from_ptr(name).to_str().unwrap_or_default();
        let lost = OPEN.with_borrow(|open| {
            open.iter().map(|state| &**state).any(|state| state.journal == path && !state.is_ours())
        });
        match (*base()).xDelete {
            Some(delete) if !lost => delete(base(), name, sync),
            _ => SQLITE_IOERR_DELETE,
        }
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: an open file of ours; SQLite does not use it afterwards.
    unsafe {
        let state = slot(file).read();
        OPEN.with_borrow_mut(|open| open.retain(|other| *other != state));
        let state = Box::from_raw(state);
        (*file).pMethods = ptr::null();
        if !state.is_ours() {
            // SQLite would give the lock back, and it is another's. The file stays open.
            return SQLITE_OK;
        }
        (*file).pMethods = state.base;
        (*state.base).xClose.map_or(SQLITE_OK, |close| close(file))
    }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file of ours.
    unsafe {
        let state = state(file);
        let Some(lock) = (*state.base).xLock else { return SQLITE_IOERR_LOCK };
        if !state.is_ours() {
            return SQLITE_IOERR_LOCK;
        }
        let mut rc = lock(file, level);
        if rc == SQLITE_BUSY && state.taken.is_none() && state.release_stale() {
            rc = lock(file, level);
        }
        if rc == SQLITE_OK {
            // A lock that is raised is a new one to others: SQLite sets its time.
            state.taken = Some(SystemTime::now());
        }
        rc
    }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file of ours.
    unsafe {
        let state = state(file);
        let Some(unlock) = (*state.base).xUnlock else { return SQLITE_IOERR_LOCK };
        if level == SQLITE_LOCK_NONE && !state.is_ours() {
            // What is there is another's.
            return SQLITE_IOERR_LOCK;
        }
        let rc = unlock(file, level);
        if level == SQLITE_LOCK_NONE {
            state.taken = None;
        }
        rc
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    data: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: an open file of ours, and SQLite's arguments.
    unsafe {
        let state = state(file);
        match (*state.base).xWrite {
            Some(write) if state.is_ours() => write(file, data, length, at),
            _ => SQLITE_IOERR_LOCK,
        }
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: an open file of ours, and SQLite's arguments.
    unsafe {
        let state = state(file);
        match (*state.base).xTruncate {
            Some(truncate) if state.is_ours() => truncate(file, size),
            _ => SQLITE_IOERR_LOCK,
        }
    }
}

//! The lease protocol.
//!
//! Beside the store lies a directory `<store>.lease/` of files named by numbers. The holder is
//! whoever created the highest number.
//!
//! * **Taking.** Create number n+1 exclusively, where n is the highest. That is allowed when
//!   `n.done` exists, when n has not changed for L on *my* clock, or when the host vouches that
//!   n's holder is gone. Then list again: with a higher number there, I lost. (Creating
//!   exclusively is a compare-and-set; renaming is not.)
//! * **Holding.** Every write and sync is preceded by a check that my age (time since I last
//!   showed a sign of life) is under L/2. As nobody takes over before L, a system call that
//!   follows has at least L/2 to finish. Every L/20 the check also lists the directory for a
//!   higher number and changes the content of my file: the sign of life. With an age of L/2 or
//!   more I may already be replaced, so I compete like anybody else for n+1: if I get it, nobody
//!   has been in between.
//! * **Giving back.** Create `n.done`.
//! * **Pruning.** A winner removes numbers that are far below its own, never the highest. That
//!   distance makes sure that whoever lists sees either the holder or one of its successors.
//!
//! A file never holds a time: monotonic clocks of different instances have nothing in common.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secure_log::error::{Error, Result};

use crate::config::LeaseOptions;

/// How many of the older numbers stay.
const KEEP: u64 = 4;
/// Shortest and longest pause between two looks at whether somebody else's lease was given back.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));
/// How often somebody else's sign of life is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The right to write to a store, for as long as [`check`](Self::check) says so.
///
/// Dropping it without [`release`](Self::release) leaves it to run out, as a crash does.
#[derive(Debug)]
pub struct Lease {
    store: PathBuf,
    dir: PathBuf,
    options: LeaseOptions,
    token: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    number: u64,
    beat: u64,
    /// Taken before the last sign of life was given, so that it is never too young.
    alive: Instant,
    lost: bool,
    /// Given back, and to be taken again.
    parked: bool,
    took_over: bool,
}

impl From<Taken> for State {
    fn from(Taken { number, alive, took_over }: Taken) -> Self {
        Self { number, beat: 0, alive, lost: false, parked: false, took_over }
    }
}

impl Lease {
    /// Takes the lease of the store at `store`, waiting for another holder as `options` say.
    ///
    /// `Busy` when another process holds it, `Invalid` when `store` is a symbolic link (the same
    /// store would then have two leases), `Storage` or `Denied` when the directory cannot be written.
    pub fn acquire(store: impl AsRef<Path>, options: &LeaseOptions) -> Result<Self> {
        let store = store.as_ref();
        if fs::symlink_metadata(store).is_ok_and(|m| m.file_type().is_symlink()) {
            return Err(Error::invalid(
                "config",
                format!("{} is a symbolic link: name the store itself", store.display()),
            ));
        }
        let dir = lease_dir(store);
        match fs::create_dir(&dir) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(store, "create", &dir, &e)),
            _ => {}
        }

        let token = RandomState::new().hash_one(0);
        let taken = take(store, &dir, options, token, 0)?;
        let (store, options) = (store.to_owned(), options.clone());
        Ok(Self { store, dir, options, token, state: Mutex::new(taken.into()) })
    }

    /// Gives the lease back for now; the next one need not wait. Until [`resume`](Self::resume) there is nothing that
    /// [`check`](Self::check) would allow, so files of the store may stay open.
    pub fn park(&self) -> Result<()> {
        let mut state = self.lock();
        self.give_back(&state)?;
        state.parked = true;
        Ok(())
    }

    /// Takes it again, waiting for others as [`acquire`](Self::acquire) does. True if nobody else had it in between:
    /// what was read from the store's files still holds.
    pub fn resume(&self) -> Result<bool> {
        let mine = self.lock().number;
        let taken = take(&self.store, &self.dir, &self.options, self.token, mine)?;
        let mut state = self.lock();
        let undisturbed = state.parked && !state.lost && state.number.checked_add(1) == Some(taken.number);
        *state = taken.into();
        Ok(undisturbed)
    }

    /// Whether the holder before neither gave the lease back nor was vouched for: it ran out, and
    /// that process may still be there, stopped in the middle of something.
    pub fn took_over(&self) -> bool {
        self.lock().took_over
    }

    /// Path of the store that this lease is for.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Whether the store may be written now. Call it right before every write, and before and
    /// after every sync; it mostly costs one look at the clock.
    ///
    /// `Busy` once somebody else has taken over, and ever after: close the store's files without
    /// writing and acquire a new lease. `Storage` when the lease cannot be renewed (a full disk):
    /// write nothing, try again later.
    pub fn check(&self) -> Result<()> {
        let mut state = self.lock();
        if state.lost {
            return Err(self.superseded());
        }
        if state.parked {
            return Err(Error::Busy(format!("{} was given back and not taken again", self.store.display())));
        }
        let age = state.alive.elapsed();
        if age < self.options.duration / 20 {
            return Ok(());
        }
        if age < self.options.duration / 2 {
            self.look(&mut state)?;
            // Writing the sign of life can itself have been held up.
            if state.alive.elapsed() < self.options.duration / 2 {
                return Ok(());
            }
        }
        self.step_up(&mut state)
    }

    /// Whether [`check`](Self::check) has found the lease lost.
    pub fn is_lost(&self) -> bool {
        self.lock().lost
    }

    /// Gives the lease back; the next one need not wait. Close the store's files before.
    pub fn release(self) -> Result<()> {
        let state = self.lock();
        if state.parked {
            return Ok(());
        }
        self.give_back(&state)
    }

    fn give_back(&self, state: &State) -> Result<()> {
        if state.lost {
            return Err(self.superseded());
        }
        let path = self.dir.join(format!("{}.done", state.number));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                Err(failed(&self.store, "write to", &self.dir, &e))
            }
            _ => Ok(()),
        }
    }

    /// Is there a higher number? If not, shows a sign of life.
    fn look(&self, state: &mut State) -> Result<()> {
        let now = Instant::now();
        let seen = list(&self.dir).map_err(|e| failed(&self.store, "list", &self.dir, &e))?;
        if seen.highest != state.number {
            return Err(self.lose(state));
        }
        state.beat += 1;
        match self.beat(state) {
            Ok(true) => {
                state.alive = now;
                Ok(())
            }
            // Somebody removed the directory, and somebody else began a new one.
            Ok(false) => Err(self.lose(state)),
            // A new number is a sign of life too, and may need no space on a full disk.
            Err(_) => self.step_up(state),
        }
    }

    /// Changes the content of my file; `false` if it is not mine.
    fn beat(&self, state: &State) -> io::Result<bool> {
        let path = self.dir.join(state.number.to_string());
        let found = fs::read(&path)?;
        // Empty when the disk was full as it was created.
        if !found.is_empty() && !found.starts_with(format!("{:016x} ", self.token).as_bytes()) {
            return Ok(false);
        }
        write_beat(&mut OpenOptions::new().write(true).open(&path)?, self.token, state.beat)?;
        Ok(true)
    }

    /// Competes for the next number.
    fn step_up(&self, state: &mut State) -> Result<()> {
        loop {
            let next = state.number.checked_add(1).ok_or_else(|| full(&self.dir))?;
            let alive = Instant::now();
            if !create(&self.dir, next, self.token)
                .map_err(|e| failed(&self.store, "renew the lease in", &self.dir, &e))?
            {
                return Err(self.lose(state));
            }
            // It is mine from here on, whatever fails below.
            state.number = next;
            let seen = list(&self.dir).map_err(|e| failed(&self.store, "list", &self.dir, &e))?;
            if seen.highest != next {
                return Err(self.lose(state));
            }
            prune(&self.dir, &seen);
            (state.alive, state.beat) = (alive, 0);
            if alive.elapsed() < self.options.duration / 2 {
                return Ok(());
            }
        }
    }

    fn lose(&self, state: &mut State) -> Error {
        state.lost = true;
        self.superseded()
    }

    fn superseded(&self) -> Error {
        Error::Busy(format!(
            "superseded: another process took over {} after this one was silent for {} ms or more",
            self.store.display(),
            self.options.duration.as_millis(),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that was just created, and is the highest.
struct Taken {
    number: u64,
    alive: Instant,
    took_over: bool,
}

/// Takes the next number. `last` is one that there was, or 0: where it still is, nothing needs to be listed to begin.
fn take(store: &Path, dir: &Path, options: &LeaseOptions, token: u64, mut last: u64) -> Result<Taken> {
    let started = Instant::now();
    let mut watch = Watch::default();
    let mut pause = POLL.0;
    let listed = || list(dir).map_err(|e| failed(store, "list", dir, &e));
    if last == 0 || !there(dir, &last.to_string()) {
        last = listed()?.highest;
    }
    loop {
        // A look at single names is cheaper than a listing, and there may be a crowd that waits.
        while there(dir, &last.saturating_add(1).to_string()) {
            last += 1;
        }
        let done = last == 0 || there(dir, &format!("{last}.done"));
        if done || options.host_lock || watch.silent_for(dir, last) >= options.duration {
            let number = last.checked_add(1).ok_or_else(|| full(dir))?;
            let alive = Instant::now();
            if create(dir, number, token).map_err(|e| failed(store, "write to", dir, &e))? {
                // Only a listing tells that nothing is above it: `last` may have been pruned and long gone.
                let now = listed()?;
                if now.highest == number {
                    prune(dir, &now);
                    return Ok(Taken { number, alive, took_over: !done && !options.host_lock });
                }
                last = now.highest;
            }
            pause = POLL.0;
        }
        let waited = started.elapsed();
        if waited >= options.wait {
            return Err(Error::Busy(format!(
                "{} is held by another process, or by one that died less than {} ms ago; waited {} ms",
                store.display(),
                options.duration.as_millis(),
                waited.as_millis(),
            )));
        }
        std::thread::sleep(pause.min(options.wait - waited));
        pause = (pause * 2).min(POLL.1);
        if !there(dir, &last.to_string()) {
            last = listed()?.highest;
        }
    }
}

/// What a listing showed.
struct Seen {
    /// Highest number; 0 if there is none.
    highest: u64,
    /// Our files that are far below the highest.
    old: Vec<OsString>,
}

/// What was last seen of somebody else's lease.
#[derive(Default)]
struct Watch {
    number: u64,
    content: Option<Vec<u8>>,
    since: Option<Instant>,
    looked: Option<Instant>,
}

impl Watch {
    /// For how long, at least, this number has not changed.
    fn silent_for(&mut self, dir: &Path, number: u64) -> Duration {
        if self.number == number && self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Duration::ZERO;
        }
        // An unreadable file counts as one constant content.
        let content = File::open(dir.join(number.to_string())).ok().and_then(|file| {
            let mut bytes = Vec::new();
            file.take(256).read_to_end(&mut bytes).ok().map(|_| bytes)
        });
        // Taken after reading: a change that came later restarts the wait, one that came earlier is seen.
        let now = Instant::now();
        self.looked = Some(now);
        if let (Some(since), true) = (self.since, self.number == number && self.content == content) {
            return now - since;
        }
        *self = Self { number, content, since: Some(now), looked: Some(now) };
        Duration::ZERO
    }
}

/// Whether there is a file of this name. One that cannot be looked at is not there: creating it tells.
fn there(dir: &Path, name: &str) -> bool {
    fs::symlink_metadata(dir.join(name)).is_ok()
}

fn lease_dir(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lease");
    name.into()
}

/// `7` or `7.done`, written as we write them.
fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".done").unwrap_or(name);
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// How often a listing is begun anew because numbers were pruned under it.
const LISTINGS: u32 = 100;

fn list(dir: &Path) -> io::Result<Seen> {
    // WASI hosts look at each name they list, and fail when another process has just pruned it. Only
    // old numbers are pruned, so a later listing tells as much.
    for _ in 1..LISTINGS {
        match list_once(dir) {
            Err(e) if e.kind() == ErrorKind::NotFound && dir.is_dir() => {}
            done => return done,
        }
    }
    list_once(dir)
}

fn list_once(dir: &Path) -> io::Result<Seen> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(number) = name.to_str().and_then(parse_name) {
            names.push((number, name));
        }
    }
    let highest = names.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let old =
        names.into_iter().filter(|(number, _)| highest - number >= KEEP).map(|(_, name)| name).collect();
    Ok(Seen { highest, old })
}

/// Creates a number; `false` if it is there already.
fn create(dir: &Path, number: u64, token: u64) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(dir.join(number.to_string())) {
        Ok(mut file) => {
            // The new number counts, its content is only for what comes: a full disk does not matter.
            let _ = write_beat(&mut file, token, 0);
            Ok(true)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn write_beat(file: &mut File, token: u64, beat: u64) -> io::Result<()> {
    file.write_all(format!("{token:016x} {beat:020}\n").as_bytes())
}

/// Whoever fails to remove leaves it to the next.
fn prune(dir: &Path, seen: &Seen) {
    for name in &seen.old {
        let _ = fs::remove_file(dir.join(name));
    }
}

fn failed(store: &Path, what: &str, dir: &Path, e: &io::Error) -> Error {
    let text = format!("lease of {}: cannot {what} {}: {e}", store.display(), dir.display());
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Storage(format!("disk full: {text}")),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::Denied(text),
        _ => Error::Storage(text),
    }
}

fn full(dir: &Path) -> Error {
    Error::Storage(format!("{} has used up its numbers: remove the file of the highest", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lease: u64, wait: u64) -> LeaseOptions {
        let ms = Duration::from_millis;
        LeaseOptions { duration: ms(lease), wait: ms(wait), host_lock: false }
    }

    fn store() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        (dir, path)
    }

    fn numbers(store: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(lease_dir(store))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (_dir, path) = store();
        let options = options(60_000, 0);
        for round in 1..=30 {
            let lease = Lease::acquire(&path, &options).unwrap();
            assert!(!lease.took_over());
            lease.check().unwrap();
            assert_eq!(lease.lock().number, round);
            lease.release().unwrap();
        }
        assert!(numbers(&path).len() <= 2 * KEEP as usize, "{:?}", numbers(&path));
    }

    #[test]
    fn a_parked_lease_allows_nothing_and_tells_whether_somebody_was_there() {
        let (_dir, path) = store();
        let options = options(60_000, 0);
        let lease = Lease::acquire(&path, &options).unwrap();
        for _ in 0..20 {
            lease.park().unwrap();
            assert!(matches!(lease.check(), Err(Error::Busy(_))));
            assert!(!lease.is_lost());
            assert!(lease.resume().unwrap());
            lease.check().unwrap();
        }
        lease.park().unwrap();
        Lease::acquire(&path, &options).unwrap().release().unwrap();
        assert!(!lease.resume().unwrap());
        lease.check().unwrap();
        // Somebody has it now.
        lease.park().unwrap();
        let other = Lease::acquire(&path, &options).unwrap();
        assert!(matches!(lease.resume(), Err(Error::Busy(_))));
        assert!(matches!(lease.check(), Err(Error::Busy(_))));
        other.release().unwrap();
        assert!(!lease.resume().unwrap());
        // What is given back already is not given back again.
        lease.park().unwrap();
        lease.release().unwrap();
        Lease::acquire(&path, &options).unwrap().release().unwrap();
    }

    #[test]
    fn a_held_lease_is_busy_and_untouched() {
        let (_dir, path) = store();
        let held = Lease::acquire(&path, &options(60_000, 0)).unwrap();
        match Lease::acquire(&path, &options(60_000, 30)) {
            Err(Error::Busy(text)) => assert!(text.contains("a.db") && text.contains("waited"), "{text}"),
            other => panic!("{other:?}"),
        }
        held.check().unwrap();
        assert_eq!(numbers(&path), ["1"]);
    }

    #[test]
    fn a_silent_holder_is_replaced_and_knows_it() {
        let (_dir, path) = store();
        let options = options(200, 5_000);
        let old = Lease::acquire(&path, &options).unwrap();
        let before = Instant::now();
        let new = Lease::acquire(&path, &options).unwrap();
        assert!(before.elapsed() >= Duration::from_millis(200));
        assert!(new.took_over());
        for _ in 0..3 {
            match old.check() {
                Err(Error::Busy(text)) => assert!(text.contains("superseded"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(old.is_lost());
        assert!(matches!(old.release(), Err(Error::Busy(_))));
        new.check().unwrap();
        new.release().unwrap();
    }

    #[test]
    fn a_holder_that_works_is_not_replaced() {
        let (_dir, path) = store();
        let held = Lease::acquire(&path, &options(300, 0)).unwrap();
        let other = {
            let path = path.clone();
            std::thread::spawn(move || Lease::acquire(path, &options(300, 1_500)))
        };
        while !other.is_finished() {
            held.check().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(other.join().unwrap(), Err(Error::Busy(_))));
        held.check().unwrap();
    }

    #[test]
    fn a_holder_that_rested_goes_on_when_nobody_came() {
        let (_dir, path) = store();
        let held = Lease::acquire(&path, &options(200, 0)).unwrap();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(250));
            held.check().unwrap();
        }
        assert_eq!(held.lock().number, 4);
    }

    #[test]
    fn the_hosts_lock_makes_waiting_needless() {
        let (_dir, path) = store();
        let crashed = Lease::acquire(&path, &options(600_000, 0)).unwrap();
        let next = Lease::acquire(&path, &LeaseOptions { host_lock: true, ..options(600_000, 0) }).unwrap();
        assert!(!next.took_over());
        next.check().unwrap();
        drop(crashed);
    }

    #[test]
    fn a_taker_that_slept_finds_that_it_lost() {
        let (_dir, path) = store();
        let options = options(60_000, 0);
        for _ in 0..20 {
            Lease::acquire(&path, &options).unwrap().release().unwrap();
        }
        // Number 3 has been pruned, so a taker that decided long ago can create it.
        let dir = lease_dir(&path);
        assert!(create(&dir, 3, 7).unwrap());
        assert_eq!(list(&dir).unwrap().highest, 20);
        let lease = Lease::acquire(&path, &options).unwrap();
        assert_eq!(lease.lock().number, 21);
        assert!(!numbers(&path).contains(&"3".to_owned()));
    }

    #[test]
    fn foreign_names_are_left_alone() {
        let (_dir, path) = store();
        let dir = lease_dir(&path);
        fs::create_dir(&dir).unwrap();
        let foreign = ["007", "12x", "README", ".done", "+5", "0", "99999999999999999999"];
        for name in foreign {
            fs::write(dir.join(name), b"").unwrap();
        }
        for _ in 0..12 {
            Lease::acquire(&path, &options(60_000, 0)).unwrap().release().unwrap();
        }
        for name in foreign {
            assert!(dir.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_directory_that_was_replaced_loses_the_lease() {
        let (_dir, path) = store();
        let options = options(400, 0);
        let old = Lease::acquire(&path, &options).unwrap();
        fs::remove_dir_all(lease_dir(&path)).unwrap();
        let new = Lease::acquire(&path, &options).unwrap();
        std::thread::sleep(Duration::from_millis(40));
        assert!(matches!(old.check(), Err(Error::Busy(_))));
        new.check().unwrap();
    }

    #[test]
    fn used_up_numbers_are_an_error() {
        let (_dir, path) = store();
        let dir = lease_dir(&path);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(format!("{}.done", u64::MAX)), b"").unwrap();
        assert!(matches!(Lease::acquire(&path, &options(200, 0)), Err(Error::Storage(_))));
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let (dir, _) = store();
        let missing = dir.path().join("no/such/a.db");
        match Lease::acquire(&missing, &options(200, 0)) {
            Err(Error::Storage(text)) => assert!(text.contains("a.db"), "{text}"),
            other => panic!("{other:?}"),
        }
        let file = dir.path().join("b.db");
        fs::write(dir.path().join("b.db.lease"), b"").unwrap();
        assert!(matches!(Lease::acquire(&file, &options(200, 0)), Err(Error::Storage(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_refused() {
        let (dir, path) = store();
        fs::write(&path, b"").unwrap();
        let link = dir.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Lease::acquire(&link, &options(200, 0)), Err(Error::Invalid(_))));
        assert!(!dir.path().join("link.db.lease").exists());
    }
}

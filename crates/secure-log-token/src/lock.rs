//! One instance at a time changes a token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log::error::Error;
use secure_log_lease::{Lease, LeaseOptions};
use secure_log_pkcs11::token::{Result, TokenError};

/// What keeps others from changing the token while this instance does.
pub trait ChangeLock {
    /// Takes the lock; [`TokenError::Locked`] if another instance has it.
    fn acquire(&self) -> Result<Box<dyn Held>>;
}

/// A lock that was taken. Dropped: it is given back.
pub trait Held {
    /// Whether it is still held, asked before each change; [`TokenError::Locked`] once another instance took it over.
    fn check(&self) -> Result<()>;
}

/// No lock: for a module that locks its storage itself, or has one user only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLock;

impl ChangeLock for NoLock {
    fn acquire(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Self))
    }
}

impl Held for NoLock {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A lease beside the token's storage, for all who change it through WASI, which has no file locks.
///
/// One who dies with it keeps others out for three seconds; whoever wants it waits five at most. A single call of the
/// module that takes longer than that (an RSA key of 4,096 bits can) may be overtaken: it then finds out, and undoes
/// what it did.
#[derive(Debug, Clone)]
pub struct LeaseLock {
    path: PathBuf,
    options: LeaseOptions,
}

impl LeaseLock {
    /// The lease in the directory `<path>.lease`; everyone who changes the token must name the same `path`. Nothing
    /// need be at `path` itself.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (duration, wait) = (Duration::from_secs(3), Duration::from_secs(5));
        Self { path: path.into(), options: LeaseOptions { duration, wait, host_lock: false } }
    }

    /// Waits for another holder for so long. A wait under three seconds never outlives a dead holder.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.options.wait = wait;
        self
    }

    /// What the lease is for.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ChangeLock for LeaseLock {
    fn acquire(&self) -> Result<Box<dyn Held>> {
        let lease = Lease::acquire(&self.path, &self.options).map_err(unusable)?;
        Ok(Box::new(HeldLease(Some(lease))))
    }
}

struct HeldLease(Option<Lease>);

impl Held for HeldLease {
    fn check(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |lease| lease.check().map_err(unusable))
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        // One that cannot be given back runs out.
        let _ = self.0.take().map(Lease::release);
    }
}

impl fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldLease")
    }
}

fn unusable(error: Error) -> TokenError {
    match error {
        Error::Busy(_) => TokenError::Locked,
        Error::Denied(_) => TokenError::ReadOnly,
        other => TokenError::Unusable(other.to_string()),
    }
}

//! The module: started by the first call.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;

use secure_log_pkcs11::token::{PinProvider, Result, Slot as _, TokenError, Tokens};

use crate::ck::CK_C_GetFunctionList;
use crate::functions::{Entry, Functions, Rv, to_u32};
use crate::lock::ChangeLock;
use crate::slot::TokenSlot;

type Check = Box<dyn Fn() -> Result<()>>;
type Stored = Box<dyn Fn() -> Result<usize>>;

/// A PKCS #11 module: its tokens.
pub struct Module {
    pub(crate) shared: Rc<Shared>,
}

impl Module {
    /// The module whose C_GetFunctionList this is. Nothing is called yet.
    ///
    /// # Safety
    ///
    /// `entry` must be the C_GetFunctionList of a module that keeps to PKCS #11 v2.40: what it is given pointers to it
    /// uses as the standard says, during the call only. It must stay loaded as long as the program runs.
    pub unsafe fn new(
        entry: CK_C_GetFunctionList,
        pins: impl PinProvider + 'static,
        lock: impl ChangeLock + 'static,
    ) -> Self {
        // SAFETY: the caller's promise is the one that is asked for.
        let entry = unsafe { Entry::new(entry) };
        Self {
            shared: Rc::new(Shared {
                entry,
                pins: Box::new(pins),
                lock: Box::new(lock),
                check: None,
                stored: None,
                sole_use: false,
                functions: OnceCell::new(),
                started: Cell::new(false),
                sessions: Cell::new(0),
            }),
        }
    }

    /// Asks `check` before the module is started: whether its configuration is there, so that the error names what is
    /// missing and not only a CK_RV. [`config_file`] is most of it.
    #[must_use]
    pub fn with_check(mut self, check: impl Fn() -> Result<()> + 'static) -> Self {
        // Nobody else has it yet.
        if let Some(shared) = Rc::get_mut(&mut self.shared) {
            shared.check = Some(Box::new(check));
        }
        self
    }

    /// Counts the tokens in the storage, for a module that skips what it cannot read. A label that no token has is then
    /// [`TokenError::Unusable`] if there are more tokens than the module sees: it may be that of a damaged one.
    #[must_use]
    pub fn with_stored(mut self, stored: impl Fn() -> Result<usize> + 'static) -> Self {
        if let Some(shared) = Rc::get_mut(&mut self.shared) {
            shared.stored = Some(Box::new(stored));
        }
        self
    }

    /// Nothing else in this process uses the module, as in a component. So it may be restarted (C_Finalize, C_Initialize)
    /// while no session is open, to see tokens that other instances made since: before a token is made, and when one
    /// is not found though there are more than are seen.
    #[must_use]
    pub fn with_sole_use(mut self) -> Self {
        if let Some(shared) = Rc::get_mut(&mut self.shared) {
            shared.sole_use = true;
        }
        self
    }
}

impl Tokens for Module {
    type Slot = TokenSlot;

    fn slots(&self) -> Result<Vec<TokenSlot>> {
        let slots = self.shared.functions()?.slots()?;
        Ok(slots.into_iter().map(|id| TokenSlot::new(self.shared.clone(), id)).collect())
    }

    fn find_token(&self, label: &str) -> Result<Option<TokenSlot>> {
        let (found, seen) = self.look_for(label)?;
        let Some(count) = self.shared.stored.as_ref().filter(|_| found.is_none()) else { return Ok(found) };
        if count()? <= seen {
            return Ok(None);
        }
        // Made since by another instance?
        self.shared.refresh()?;
        let (found, seen) = self.look_for(label)?;
        match count()? {
            stored if found.is_none() && stored > seen => Err(TokenError::Unusable(format!(
                "{}of {stored} tokens in the storage only {seen} can be read: restore or remove the others",
                if label.is_empty() { String::new() } else { format!("no token is called {label:?}, but ") }
            ))),
            _ => Ok(found),
        }
    }
}

impl Module {
    /// The slot of this label, and how many tokens there are.
    fn look_for(&self, label: &str) -> Result<(Option<TokenSlot>, usize)> {
        let (mut found, mut seen) = (None, 0);
        for slot in self.slots()? {
            let info = match slot.info() {
                // Taken out in between, or none that could have a label.
                Err(TokenError::TokenAbsent | TokenError::TokenUninitialized) => continue,
                info => info?,
            };
            if !info.initialized {
                continue;
            }
            seen += 1;
            if info.label == label && found.replace(slot).is_some() {
                return Err(TokenError::InvalidInput);
            }
        }
        Ok((found, seen))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("started", &self.shared.started.get()).finish_non_exhaustive()
    }
}

/// What slots, sessions and keys have in common.
pub(crate) struct Shared {
    entry: Entry,
    pub pins: Box<dyn PinProvider>,
    pub lock: Box<dyn ChangeLock>,
    check: Option<Check>,
    stored: Option<Stored>,
    sole_use: bool,
    functions: OnceCell<Functions>,
    started: Cell<bool>,
    /// Open sessions.
    pub sessions: Cell<usize>,
}

impl Shared {
    /// The functions of the module, which is started if it is not yet.
    pub fn functions(&self) -> Result<&Functions> {
        if let (Some(functions), true) = (self.functions.get(), self.started.get()) {
            return Ok(functions);
        }
        if let Some(check) = &self.check {
            check()?;
        }
        let loaded = match self.functions.get() {
            Some(functions) => functions,
            None => {
                let functions = self.entry.load().map_err(|rv| does_not_start("C_GetFunctionList", rv))?;
                self.functions.get_or_init(|| functions)
            }
        };
        loaded.initialize().map_err(|rv| does_not_start("C_Initialize", rv))?;
        self.started.set(true);
        Ok(loaded)
    }

    /// Makes the module look at its storage afresh, if that is ours to do.
    pub fn refresh(&self) -> Result<()> {
        if !self.sole_use || self.sessions.get() > 0 || !self.started.get() {
            return Ok(());
        }
        let stopped = self.functions()?.finalize();
        self.started.set(false);
        Ok(stopped?)
    }
}

fn does_not_start(function: &str, rv: Rv) -> TokenError {
    TokenError::Unusable(format!(
        "the module does not start ({function}: CK_RV 0x{:x}); look at its configuration, and whether the storage that it \
         names is there",
        to_u32(rv.0)
    ))
}

/// The configuration file that an environment variable names, for [`Module::with_check`].
///
/// # Errors
///
/// [`TokenError::Unusable`] naming the variable and the file if it is not set or cannot be read.
pub fn config_file(variable: &str) -> Result<PathBuf> {
    let path =
        std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| {
            TokenError::Unusable(format!("{variable} is not set: it names the configuration file"))
        })?;
    let file = File::open(&path).and_then(|file| file.metadata());
    match file {
        Ok(metadata) if metadata.is_dir() => {
            Err(TokenError::Unusable(format!("{variable}: {} is a directory", path.display())))
        }
        Ok(_) => Ok(path),
        Err(e) => Err(TokenError::Unusable(format!("{variable}: {}: {e}", path.display()))),
    }
}

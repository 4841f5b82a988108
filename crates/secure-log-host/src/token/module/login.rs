//! Who is logged in: PKCS #11 knows one login for a token and a process, and many instances share it here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::types::{AuthPin, RawAuthPin};
use secure_log_pkcs11::token::{Result, TokenError, User, Zeroizing};

use super::{SharedPins, error};

/// A token as this process sees it.
#[derive(Default)]
pub(super) struct Token(Mutex<Login>);

#[derive(Default)]
struct Login {
    /// Who is logged in, with which PIN (as a tag; none if it was not asked for one).
    current: Option<(User, Option<Tag>)>,
    /// Applications that are logged in.
    holders: usize,
    /// PINs that the token refused. They are not tried again.
    refused: Vec<(User, Tag)>,
}

/// Stands for a PIN, and for nobody outside this process.
type Tag = blake3::Hash;

fn tag(pin: &[u8]) -> Result<Tag> {
    static KEY: Mutex<Option<[u8; 32]>> = Mutex::new(None);
    let mut key = KEY.lock().unwrap_or_else(PoisonError::into_inner);
    if key.is_none() {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh)
            .map_err(|_| TokenError::Unusable("this host has no randomness".into()))?;
        *key = Some(fresh);
    }
    Ok(blake3::keyed_hash(&key.unwrap_or_default(), pin))
}

/// Sessions that share a login: those of one instance with one token.
pub(super) struct Application {
    token: Arc<Token>,
    login_required: bool,
    /// Open sessions; counted under the lock of the token.
    sessions: Mutex<usize>,
    user: AtomicU8,
}

const NOBODY: u8 = 0;
const NORMAL: u8 = 1;
const OFFICER: u8 = 2;

fn number(user: User) -> u8 {
    match user {
        User::Normal => NORMAL,
        User::SecurityOfficer => OFFICER,
    }
}

impl Application {
    pub fn new(token: Arc<Token>, login_required: bool) -> Self {
        Self { token, login_required, sessions: Mutex::new(0), user: AtomicU8::new(NOBODY) }
    }

    fn login(&self) -> MutexGuard<'_, Login> {
        self.token.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether private keys may be used.
    pub fn may_use_keys(&self) -> bool {
        !self.login_required || self.is(User::Normal)
    }

    /// Whether `user` is logged in.
    pub fn is(&self, user: User) -> bool {
        self.user.load(Ordering::Acquire) == number(user)
    }

    pub fn enter(&self) {
        let _login = self.login();
        *self.count() += 1;
    }

    /// A session is about to be closed. With the last one the login of an application ends.
    pub fn leave(&self, session: &Session) {
        let mut login = self.login();
        let mut sessions = self.count();
        *sessions = sessions.saturating_sub(1);
        if *sessions == 0 {
            // The session is closed next, which logs out just as well where this fails.
            let _ = self.end(&mut login, session);
        }
    }

    /// Logs out.
    pub fn log_out(&self, session: &Session) -> Result<()> {
        self.end(&mut self.login(), session)
    }

    /// The library is logged out only when this was the last application that is logged in.
    fn end(&self, login: &mut Login, session: &Session) -> Result<()> {
        if self.user.swap(NOBODY, Ordering::AcqRel) == NOBODY {
            return Err(TokenError::NotLoggedIn);
        }
        login.holders = login.holders.saturating_sub(1);
        if login.holders > 0 {
            return Ok(());
        }
        login.current = None;
        session.logout().map_err(error)
    }

    /// Logs in, or joins the login that is there.
    pub fn log_in(
        &self,
        session: &Session,
        user: User,
        info: &cryptoki::slot::TokenInfo,
        pins: &SharedPins,
    ) -> Result<()> {
        let mut login = self.login();
        match self.user.load(Ordering::Acquire) {
            NOBODY => {}
            already if already == number(user) => return Ok(()),
            // What a token answers to a second user.
            _ => return Err(TokenError::from_rv(0x104)),
        }
        let locked = match user {
            User::Normal => info.user_pin_locked(),
            User::SecurityOfficer => info.so_pin_locked(),
        };
        if locked {
            return Err(TokenError::PinLocked);
        }
        if login.holders > 0 && login.current.as_ref().is_some_and(|(other, _)| *other != user) {
            return Err(TokenError::Locked);
        }
        let pin = match info.protected_authentication_path() {
            true => None,
            false => pins.pin(info.label(), user),
        };
        let given = pin.as_ref().map(|pin| tag(pin)).transpose()?;
        if login.holders == 0 {
            if given.is_some_and(|given| login.refused.contains(&(user, given))) {
                return Err(TokenError::PinIncorrect);
            }
            let outcome = ask(session, user, info, pin.as_ref());
            if let (Err(TokenError::PinIncorrect), Some(given)) = (&outcome, given) {
                login.refused.push((user, given));
            }
            outcome?;
            login.current = Some((user, given));
        } else if let Some((_, Some(accepted))) = &login.current {
            match given {
                None => return Err(TokenError::PinUnavailable),
                Some(given) if given != *accepted => return Err(TokenError::PinIncorrect),
                Some(_) => {}
            }
        }
        login.holders += 1;
        self.user.store(number(user), Ordering::Release);
        Ok(())
    }
}

/// Asks the token, once.
fn ask(
    session: &Session,
    user: User,
    info: &cryptoki::slot::TokenInfo,
    pin: Option<&Zeroizing<Vec<u8>>>,
) -> Result<()> {
    let state = session.get_session_info().map_err(error)?.session_state();
    let already = match user {
        User::Normal => matches!(state, SessionState::RoUser | SessionState::RwUser),
        User::SecurityOfficer => matches!(state, SessionState::RwSecurityOfficer),
    };
    if already {
        return Ok(());
    }
    let kind = match user {
        User::Normal => UserType::User,
        User::SecurityOfficer => UserType::So,
    };
    let asked = match pin {
        Some(pin) => session.login_with_raw(kind, &RawAuthPin::new(Box::new(pin.to_vec()))),
        None if info.protected_authentication_path() => session.login(kind, None),
        None if !info.login_required() && user == User::Normal => return Ok(()),
        None => return Err(TokenError::PinUnavailable),
    };
    match asked {
        Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        outcome => outcome.map_err(error),
    }
}

/// The PIN as the calls take it that set one.
pub(super) fn new_pin(
    pins: &SharedPins,
    label: &str,
    user: User,
    info: &cryptoki::slot::TokenInfo,
) -> Result<AuthPin> {
    let pin = pins.pin(label, user).ok_or(TokenError::PinUnavailable)?;
    let fits = pin.len() >= info.min_pin_length() && pin.len() <= info.max_pin_length();
    match std::str::from_utf8(&pin) {
        Ok(text) if fits && !text.is_empty() => Ok(AuthPin::new(text.into())),
        _ => Err(TokenError::PinInvalid),
    }
}

//! The PKCS #11 token that a run signs with, when its artifact has one in it or wants one of its host.
//!
//! A token of the user's is taken when the environment names one: `SOFTHSM2_CONF` or `KRYOPTIC_CONF`, with a PIN. Else
//! a token is made for the run, and goes with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use secure_log::signer::Algorithm;
use secure_log_pkcs11::token::{Admin, Curve, KeySpec, Slot as _};

use crate::host::token::{Module, Pins, Throwaway, TokenArtifact, provision};
use crate::host::{Artifact, Guest};
use crate::report::duration;

/// Names the PKCS #11 module of a host.
pub const MODULE: &str = "SECURE_LOG_PKCS11_MODULE";
/// Begins the names of all variables with PINs.
const PINS: &str = "SECURE_LOG_TOKEN_";
const USER_PIN: &str = "SECURE_LOG_TOKEN_PIN";

/// A variable that names a token's configuration, the key in it that names its place, and a word in its module's name.
const TOKENS: [(&str, &str, &str); 2] =
    [("SOFTHSM2_CONF", "directories.tokendir", "softhsm"), ("KRYOPTIC_CONF", "dbargs", "kryoptic")];

/// A token, made ready for instances.
pub struct Token {
    /// What it is, in one line.
    pub description: String,
    /// Names of the keys to use on it; the first signs.
    pub identities: Vec<String>,
    /// Variables with which a process of its own finds it again, as one that the user gave.
    pub env: Vec<(String, String)>,
    throwaway: Option<Throwaway>,
}

impl Token {
    /// The token of `artifact`, ready in `guest`; none for an artifact that needs none.
    pub fn of(
        artifact: &Artifact,
        identity: Option<&str>,
        guest: &mut Guest,
    ) -> anyhow::Result<Option<Self>> {
        if artifact.imports_token() {
            return of_the_host(identity, guest).map(Some);
        }
        let wasm = std::fs::read(artifact.path())?;
        for (variable, place, _) in TOKENS {
            let conf = std::env::var_os(variable).filter(|conf| !conf.is_empty());
            if let Some(conf) = conf.filter(|_| mentions(&wasm, variable)) {
                return given(variable, Path::new(&conf), place, identity, guest).map(Some);
            }
        }
        match identity {
            Some(identity)
                if TokenArtifact::find_in(&artifact.path().to_string_lossy(), &wasm)?.is_some() =>
            {
                bail!(
                    "--identity {identity}: there is no token yet with such a key. Name yours with SOFTHSM2_CONF or \
                     KRYOPTIC_CONF and {USER_PIN}; without --identity a throw-away token is made"
                )
            }
            _ => Self::throw_away(artifact, guest),
        }
    }

    /// A throw-away token made by the token component in `artifact`; none if it has none.
    pub fn throw_away(artifact: &Artifact, guest: &mut Guest) -> anyhow::Result<Option<Self>> {
        let Some(token) = TokenArtifact::find(artifact.path())? else { return Ok(None) };
        let throwaway = Throwaway::new()?;
        throwaway.prepare(guest);
        provisioned(&throwaway.start(&token)?, throwaway, guest).map(Some)
    }

    /// A throw-away token behind a native module of SoftHSM2 or kryoptic. Call it once, while nothing else reads the
    /// environment: the module takes its configuration from there when it is loaded.
    pub fn throw_away_behind(module: &Path, guest: &mut Guest) -> anyhow::Result<Self> {
        let throwaway = Throwaway::new()?;
        let mut env = Guest::default();
        throwaway.dir().prepare(&mut env);
        for (name, value) in env.env {
            // SAFETY: nothing else reads the environment now: components are compiled, no instance runs, and the
            // module is loaded after this.
            unsafe { std::env::set_var(name, value) };
        }
        let loaded = Module::load(module, throwaway.shared_pins())?;
        guest.token = Some(loaded.clone());
        let mut token = provisioned(&loaded, throwaway, guest)?;
        token.description = format!("{}, behind {}", token.description, module.display());
        Ok(token)
    }

    /// Whether it goes with the run.
    pub fn is_thrown_away(&self) -> bool {
        self.throwaway.is_some()
    }

    /// Name of its key of this algorithm, if it is one that was made here.
    pub fn identity(&self, algorithm: Algorithm) -> Option<&str> {
        self.identities.iter().map(String::as_str).find(|name| name.ends_with(algorithm.name()))
    }
}

fn mentions(wasm: &[u8], text: &str) -> bool {
    wasm.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Lets `guest` use the token that the user's variable names.
fn given(
    variable: &str,
    conf: &Path,
    place: &str,
    identity: Option<&str>,
    guest: &mut Guest,
) -> anyhow::Result<Token> {
    let conf = conf.canonicalize().with_context(|| format!("{variable} is {}", conf.display()))?;
    let text = std::fs::read_to_string(&conf).with_context(|| format!("{variable} is {}", conf.display()))?;
    ensure!(
        guest.env.iter().any(|(name, pin)| name.starts_with(USER_PIN) && !pin.is_empty()),
        "{variable} names a token, but there is no PIN for it: set {USER_PIN} or {USER_PIN}_FILE; or unset \
         {variable}, and a throw-away token is made"
    );
    see(guest, conf.parent())?;
    for named in text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == place) {
        let named = Path::new(named.1.trim().trim_matches('"'));
        see(guest, if named.is_dir() { Some(named) } else { named.parent() })?;
    }
    let files: Vec<PathBuf> = guest.env.iter().filter_map(pin_file).collect();
    for file in files {
        see(guest, file.parent())?;
    }
    guest.set_env(variable, conf.to_str().context("a path in UTF-8")?);
    Ok(Token {
        description: format!("yours, {variable}={}", conf.display()),
        identities: vec![own_key(identity, guest)],
        env: Vec::new(),
        throwaway: None,
    })
}

fn pin_file((name, value): &(String, String)) -> Option<PathBuf> {
    (name.starts_with(PINS) && name.ends_with("_FILE") && !value.is_empty()).then(|| value.into())
}

/// Shows the guest a directory under its own name, if it is there: what is not, the token names in its own words.
fn see(guest: &mut Guest, dir: Option<&Path>) -> anyhow::Result<()> {
    if let Some(dir) = dir.filter(|dir| dir.is_dir()) {
        let name = dir.to_str().with_context(|| format!("{} is not UTF-8", dir.display()))?;
        guest.preopen(dir, name);
    }
    Ok(())
}

/// A key on a token of the user's: as software keys are named.
fn own_key(identity: Option<&str>, guest: &Guest) -> String {
    let algorithm = variable(guest, "SECURE_LOG_KEYSTORE_ALG");
    let default = || algorithm.map_or("audit".into(), |algorithm| format!("audit-{algorithm}"));
    identity.map_or_else(default, str::to_owned)
}

fn variable<'a>(guest: &'a Guest, name: &str) -> Option<&'a str> {
    let found = guest.env.iter().find(|(n, value)| n == name && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

/// The token behind the module that the environment names. Its PIN is for the host alone.
fn of_the_host(identity: Option<&str>, guest: &mut Guest) -> anyhow::Result<Token> {
    let path = variable(guest, MODULE).map(PathBuf::from).with_context(|| {
        format!(
            "this component signs with a token of its host: set {MODULE} to a PKCS #11 module, such as \
             {MODULE}=/usr/lib/softhsm/libsofthsm2.so"
        )
    })?;
    guest.env.retain(|(name, _)| !name.starts_with(PINS));
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let known = TOKENS.iter().find(|(_, _, word)| name.contains(word));
    let configured = known.is_none_or(|(conf, ..)| std::env::var_os(conf).is_some_and(|c| !c.is_empty()));
    if configured {
        ensure!(
            std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with(USER_PIN)),
            "{} keeps its tokens itself, and there is no PIN for them: set {USER_PIN} or {USER_PIN}_FILE{}",
            path.display(),
            known.map_or(String::new(), |(conf, ..)| format!(
                "; or unset {conf}, and a throw-away token is made"
            )),
        );
        guest.token = Some(Module::load(&path, Arc::new(Pins::from_env()?))?);
        return Ok(Token {
            description: format!("yours, behind {}", path.display()),
            identities: vec![own_key(identity, guest)],
            env: Vec::new(),
            throwaway: None,
        });
    }
    ensure!(
        identity.is_none(),
        "--identity: there is no token yet with such a key. Set SOFTHSM2_CONF or KRYOPTIC_CONF and {USER_PIN} for one"
    );
    Token::throw_away_behind(&path, guest)
}

fn provisioned(tokens: &impl Admin, throwaway: Throwaway, guest: &Guest) -> anyhow::Result<Token> {
    let wanted = variable(guest, "SECURE_LOG_KEYSTORE_ALG").unwrap_or("ed25519");
    let mut algorithms = Algorithm::ALL;
    let at = algorithms.iter().position(|algorithm| algorithm.name() == wanted).with_context(|| {
        let names = Algorithm::ALL.map(Algorithm::name).join(", ");
        format!("SECURE_LOG_KEYSTORE_ALG is {wanted:?}; there are {names}")
    })?;
    algorithms[..=at].rotate_right(1);
    let names = algorithms.map(|algorithm| format!("audit-{}", algorithm.name()));
    let keys: Vec<_> = names.iter().map(String::as_str).zip(algorithms.map(spec)).collect();
    let began = Instant::now();
    provision(tokens, throwaway.label(), &keys)?;
    let slot = tokens.find_token(throwaway.label())?.context("the token that was made is gone")?;
    let description = format!(
        "a throw-away token of {} in {}: one key of each algorithm, made in {}",
        slot.info()?.manufacturer,
        throwaway.dir().path().display(),
        duration(began.elapsed())
    );
    let mut env = Guest::default();
    throwaway.prepare(&mut env);
    let identities = names.iter().map(|name| throwaway.identity(name)).collect();
    Ok(Token { description, identities, env: env.env, throwaway: Some(throwaway) })
}

/// What to make for a key of this algorithm.
pub fn spec(algorithm: Algorithm) -> KeySpec {
    match algorithm {
        Algorithm::Ed25519 => KeySpec::Ec(Curve::Ed25519),
        Algorithm::EcdsaP256 => KeySpec::Ec(Curve::P256),
        Algorithm::RsaPssSha256 => KeySpec::Rsa(2048),
    }
}

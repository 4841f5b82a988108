//! `eds keys`: the keys that sign checkpoints and those that wrap data keys, in files or on PKCS #11 tokens.

pub(crate) mod confirm;
mod place;
mod show;
mod software;
mod token;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use secure_log::signer::Algorithm;
use secure_log_keystore::KeyEncryptionKey;

use crate::output::Output;
use crate::token::{OfficerPin, Pins, load_module, open_dir, start_graph};

pub(crate) use place::{Hints, KeysPlace, Place, TokenPlace};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a key. A key that is there is not overwritten
    ///
    /// An aes-256-gcm key is a key-encryption key: sealed streams of an erasure domain are readable while the key of the
    /// domain's name is there. All others sign checkpoints.
    #[command(after_help = "\
Examples:
  eds keys create audit --keys /etc/edgesentry/keys
  eds keys create customer-4711 --alg aes-256-gcm --keys /etc/edgesentry/keys
  eds keys create audit --alg ecdsa-p256 --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token prod")]
    Create {
        /// Name of the key: it is kept in <NAME>.pem (aes-256-gcm: <NAME>.kek), or is its label on the token (or
        /// `pkcs11:token=…;object=…`)
        name: String,
        /// Algorithm
        #[arg(long, default_value = "ed25519", value_parser = ALL_ALGORITHMS)]
        alg: String,
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// The keys of the directory or token
    #[command(after_help = "\
Examples:
  eds keys list --keys /etc/edgesentry/keys
  eds keys list --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token prod")]
    List {
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// Show a public key, and the verifier key by which checkpoints of a log are checked
    ///
    /// Of a key-encryption key it shows that it is there, and nothing of the key.
    #[command(after_help = "\
Examples:
  eds keys show audit --keys /etc/edgesentry/keys --origin example.com/audit
  eds keys show 'pkcs11:token=prod;object=audit' --pkcs11-module /usr/lib/softhsm/libsofthsm2.so")]
    Show {
        /// Name of the key
        name: String,
        /// Name of the log (`eds log head` says it): shows the verifier key, as `--trust` takes it
        #[arg(long, value_name = "ORIGIN")]
        origin: Option<String>,
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// Take in a private key from a PEM file (PKCS#8), such as `openssl genpkey` writes
    ///
    /// On a token the key cannot be read again. The file remains as it is, and so do its copies: destroy them.
    #[command(after_help = "\
Examples:
  eds keys import audit --from audit.pem --keys /etc/edgesentry/keys
  eds keys import audit --from audit.pem --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token prod")]
    Import {
        /// Name of the key
        name: String,
        /// The file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// Put a new key in the place of one, and keep the old one under another name
    ///
    /// The old key is <NAME>.retired-N then, and can still sign. Its checkpoints stay valid: whoever verifies the log has to
    /// trust both verifier keys. A server that runs signs with the new key after its next start.
    #[command(after_help = "\
Examples:
  eds keys rotate audit --keys /etc/edgesentry/keys
  eds keys rotate audit --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token prod")]
    Rotate {
        /// Name of the key
        name: String,
        /// Algorithm of the new key [default: that of the old one]
        #[arg(long, value_parser = ALGORITHMS)]
        alg: Option<String>,
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// Destroy a key-encryption key: what it has sealed cannot be read again
    ///
    /// Nothing brings it back but a copy of it made before, in a backup or elsewhere: destroy those as well. `eds log` erases a
    /// domain of a log, which records that and destroys the key; this is for a key that no log uses. Keys that sign are not
    /// destroyed here.
    #[command(after_help = "\
Examples:
  eds keys destroy customer-4711 --keys /etc/edgesentry/keys
  eds keys destroy customer-4711 --yes --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token prod")]
    Destroy {
        /// Name of the key
        name: String,
        /// Do not ask for the name at the terminal first
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        keys: KeysPlace,
    },
    /// Make a token of one that was never initialized, and set its PINs
    ///
    /// The user's PIN is for signing, the security officer's for setting a new one. A token that is there is never
    /// initialized again. With --token-dir the directory is made too, with mode 0700.
    #[command(after_help = "\
Examples:
  eds keys init-token prod --pkcs11-module /usr/lib/softhsm/libsofthsm2.so
  eds keys init-token prod --token-dir /var/lib/token --token-graph dist/secure-log-sqlite-pkcs11.wasm \\
    --pin-file /etc/edgesentry/pin --so-pin-file so-pin")]
    InitToken {
        /// Label of the token, 1 to 32 bytes
        label: String,
        /// File with the security officer's PIN, mode 0600 [default: SECURE_LOG_TOKEN_SO_PIN_FILE or
        /// SECURE_LOG_TOKEN_SO_PIN, else it is asked for at the terminal]
        #[arg(long, value_name = "FILE", help_heading = "Token")]
        so_pin_file: Option<PathBuf>,
        #[command(flatten)]
        place: TokenPlace,
    },
    /// The tokens of a library or directory, and the state of their PINs
    #[command(after_help = "Example:\n  eds keys tokens --pkcs11-module /usr/lib/softhsm/libsofthsm2.so")]
    Tokens {
        #[command(flatten)]
        place: TokenPlace,
    },
}

const ALGORITHMS: [&str; 3] =
    [Algorithm::Ed25519.name(), Algorithm::EcdsaP256.name(), Algorithm::RsaPssSha256.name()];

const ALL_ALGORITHMS: [&str; 4] = [ALGORITHMS[0], ALGORITHMS[1], ALGORITHMS[2], KeyEncryptionKey::ALGORITHM];

/// What to do with keys, wherever they are.
enum Work {
    Create { name: String, alg: Algorithm },
    CreateWrapping { name: String },
    Destroy { name: String, yes: bool },
    List,
    Show { name: String, origin: Option<String> },
    Import { name: String, from: PathBuf },
    Rotate { name: String, alg: Option<Algorithm> },
}

impl Work {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Create { name, .. }
            | Self::CreateWrapping { name }
            | Self::Destroy { name, .. }
            | Self::Show { name, .. }
            | Self::Import { name, .. }
            | Self::Rotate { name, .. } => Some(name),
            Self::List => None,
        }
    }
}

fn algorithm(name: &str) -> Result<Algorithm> {
    Algorithm::from_name(name).with_context(|| format!("there is no algorithm {name:?}"))
}

impl Command {
    pub fn run(self, out: Output) -> Result<()> {
        let (work, keys) = match self {
            Self::Create { name, alg, keys } if alg == KeyEncryptionKey::ALGORITHM => {
                (Work::CreateWrapping { name }, keys)
            }
            Self::Destroy { name, yes, keys } => (Work::Destroy { name, yes }, keys),
            Self::Create { name, alg, keys } => (Work::Create { name, alg: algorithm(&alg)? }, keys),
            Self::Import { name, from, keys } => (Work::Import { name, from }, keys),
            Self::Show { name, origin, keys } => (Work::Show { name, origin }, keys),
            Self::List { keys } => (Work::List, keys),
            Self::Rotate { name, alg, keys } => {
                (Work::Rotate { name, alg: alg.as_deref().map(algorithm).transpose()? }, keys)
            }
            Self::InitToken { label, so_pin_file, place } => {
                return tokens::init(out, &label, so_pin_file, &place);
            }
            Self::Tokens { place } => return tokens::list(out, &place),
        };
        let place = keys.find(work.name())?;
        if let Place::Files(dir) = place {
            return software::run(out, dir, work);
        }
        let pins = Arc::new(Pins::new(keys.tokens.pin.pin_file.as_deref(), OfficerPin::None)?);
        let on = token::On { out, pins: pins.clone(), token: keys.token };
        match (place, keys.tokens.token_graph) {
            (Place::Dir(dir), Some(graph)) => {
                token::run(start_graph(&graph, &open_dir(&dir)?, pins)?, on, work)
            }
            (Place::Module(path), _) => token::run(load_module(&path, pins)?, on, work),
            _ => anyhow::bail!("--token-dir DIR needs the component with the token: --token-graph PATH.wasm"),
        }
    }
}

//! Where keys are: a directory of PEM files, or a token.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log_keystore::DIR_VARIABLE;

use crate::token::{MODULE_VARIABLE, PinArgs, module_path};

/// Beginning of the name of a key on a token (RFC 7512).
pub(crate) const URI: &str = "pkcs11:";

// Where tokens are.
#[derive(Args, Debug)]
pub(crate) struct TokenPlace {
    /// A vendor's PKCS#11 library: keys are on a token [default: SECURE_LOG_PKCS11_MODULE]
    #[arg(long, value_name = "FILE", help_heading = "Token")]
    pub pkcs11_module: Option<PathBuf>,

    /// Directory of a token that is a component (--token-graph); `init-token` makes it
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Token",
        requires = "token_graph",
        conflicts_with = "pkcs11_module"
    )]
    pub token_dir: Option<PathBuf>,

    /// The component with that token in it, such as dist/secure-log-sqlite-pkcs11.wasm
    #[arg(long, value_name = "PATH.wasm", help_heading = "Token", requires = "token_dir")]
    pub token_graph: Option<PathBuf>,

    #[command(flatten)]
    pub pin: PinArgs,
}

// Where keys are.
#[derive(Args, Debug)]
pub(crate) struct KeysPlace {
    /// Directory of the keys, each in a PEM file [default: SECURE_LOG_KEYSTORE_DIR]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["pkcs11_module", "token_dir", "token", "pin_file"])]
    keys: Option<PathBuf>,

    /// Label of the token; may be left out when there is one, or when the key's name says it
    #[arg(long, value_name = "LABEL", help_heading = "Token")]
    pub token: Option<String>,

    #[command(flatten)]
    pub tokens: TokenPlace,
}

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In PEM files of this directory.
    Files(PathBuf),
    /// On tokens of this library.
    Module(PathBuf),
    /// On the token of a component, which keeps them in this directory.
    Dir(PathBuf),
}

/// What was said about where keys are.
#[derive(Default)]
pub(crate) struct Hints<'a> {
    /// Name of the key.
    pub name: Option<&'a str>,
    /// `--keys`
    pub keys: Option<&'a Path>,
    /// `--pkcs11-module`
    pub module: Option<&'a Path>,
    /// `--token-dir`
    pub dir: Option<&'a Path>,
    /// Whether something else was said that only a token has.
    pub token: bool,
}

impl Place {
    /// The place that options, a name or the environment say, in this order. Two that say different things are an error:
    /// the wrong keystore would be found out late. `None`: nothing says it.
    pub fn find(hints: &Hints) -> Result<Option<Self>> {
        let dir_variable = || std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        Self::find_in(hints, dir_variable(), module_path(None))
    }

    fn find_in(hints: &Hints, keys: Option<PathBuf>, module: Option<PathBuf>) -> Result<Option<Self>> {
        let uri = hints.name.is_some_and(|name| name.starts_with(URI));
        if let Some(module) = hints.module {
            return Ok(Some(Self::Module(module.to_owned())));
        }
        if let Some(dir) = hints.dir {
            return Ok(Some(Self::Dir(dir.to_owned())));
        }
        if uri || hints.token {
            return match module {
                Some(module) => Ok(Some(Self::Module(module))),
                None => bail!(
                    "the key is on a token: name the token's library with --pkcs11-module FILE (or {MODULE_VARIABLE}), or its \
                     directory with --token-dir DIR"
                ),
            };
        }
        match (hints.keys.map(Path::to_owned), keys, module) {
            (Some(keys), _, _) | (None, Some(keys), None) => Ok(Some(Self::Files(keys))),
            (None, None, Some(module)) => Ok(Some(Self::Module(module))),
            (None, None, None) => Ok(None),
            (None, Some(_), Some(_)) => bail!(
                "{DIR_VARIABLE} and {MODULE_VARIABLE} are both set: say which is meant with --keys DIR or --pkcs11-module FILE"
            ),
        }
    }
}

impl KeysPlace {
    /// Where the key `name`, or any, is.
    pub fn find(&self, name: Option<&str>) -> Result<Place> {
        let hints = Hints {
            name,
            keys: self.keys.as_deref(),
            module: self.tokens.pkcs11_module.as_deref(),
            dir: self.tokens.token_dir.as_deref(),
            token: self.token.is_some() || self.tokens.pin.pin_file.is_some(),
        };
        Place::find(&hints)?.with_context(|| {
            format!(
                "it is not said where the keys are: use --keys DIR (or {DIR_VARIABLE}), --pkcs11-module FILE (or \
                 {MODULE_VARIABLE}), or --token-dir DIR"
            )
        })
    }
}

impl TokenPlace {
    /// Where tokens are.
    pub fn find(&self) -> Result<Place> {
        let hints = Hints {
            module: self.pkcs11_module.as_deref(),
            dir: self.token_dir.as_deref(),
            token: true,
            ..Hints::default()
        };
        Place::find(&hints)?.context("it is not said where the token is")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_name_and_the_name_before_variables() {
        let (dir, module) = (Some(PathBuf::from("dir")), Some(PathBuf::from("env.so")));
        let (keys, library) = (Path::new("keys"), Path::new("lib.so"));
        let find = |hints: Hints, dir: &Option<PathBuf>, module: &Option<PathBuf>| {
            Place::find_in(&hints, dir.clone(), module.clone())
        };
        let name = |name| Hints { name: Some(name), ..Hints::default() };
        let given = |keys, module| Hints { keys, module, ..name("a") };
        assert_eq!(find(given(Some(keys), None), &dir, &module).unwrap(), Some(Place::Files("keys".into())));
        assert_eq!(
            find(given(None, Some(library)), &dir, &module).unwrap(),
            Some(Place::Module("lib.so".into()))
        );
        assert_eq!(
            find(name("pkcs11:object=a"), &dir, &module).unwrap(),
            Some(Place::Module("env.so".into()))
        );
        assert_eq!(find(name("a"), &dir, &None).unwrap(), Some(Place::Files("dir".into())));
        assert_eq!(find(name("a"), &None, &module).unwrap(), Some(Place::Module("env.so".into())));
        assert_eq!(find(name("a"), &None, &None).unwrap(), None);
        assert!(find(name("pkcs11:object=a"), &dir, &None).is_err());
        assert!(find(name("a"), &dir, &module).is_err());
    }
}

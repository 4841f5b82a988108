//! What SoftHSM's configuration says of its storage. SoftHSM itself skips tokens that it cannot read, in silence.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secure_log_pkcs11::token::{Result, TokenError};

/// The directory of the tokens, `directories.tokendir` of the configuration file.
///
/// # Errors
///
/// [`TokenError::Unusable`] naming the file and the directory if either cannot be read.
pub fn token_directory(config: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(config).map_err(|e| unusable(config, &e))?;
    let named = text.lines().filter_map(|line| line.split_once('=')).find_map(|(key, value)| {
        let value = value.split('#').next().unwrap_or_default().trim();
        (key.trim() == "directories.tokendir" && !value.is_empty()).then(|| PathBuf::from(value))
    });
    let directory = named.ok_or_else(|| {
        TokenError::Unusable(format!("{} does not set directories.tokendir", config.display()))
    })?;
    match fs::read_dir(&directory) {
        Ok(_) => Ok(directory),
        Err(e) => Err(unusable(&directory, &e)),
    }
}

/// How many tokens are in it, readable or not, for [`Module::with_stored`](crate::Module::with_stored).
///
/// # Errors
///
/// [`TokenError::Unusable`] naming the directory if it cannot be read.
pub fn stored_tokens(directory: &Path) -> Result<usize> {
    let count = || {
        let mut tokens = 0;
        for entry in fs::read_dir(directory)? {
            tokens += usize::from(entry?.file_type()?.is_dir());
        }
        Ok(tokens)
    };
    count().map_err(|e| unusable(directory, &e))
}

fn unusable(path: &Path, e: &io::Error) -> TokenError {
    TokenError::Unusable(format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Path) -> String {
        match token_directory(config) {
            Err(TokenError::Unusable(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_directory_is_the_one_that_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let (config, tokens) = (dir.path().join("softhsm2.conf"), dir.path().join("tokens"));
        assert!(refused(&config).contains("softhsm2.conf"));
        fs::write(&config, "# directories.tokendir = /no\nlog.level = ERROR\ndirectories.tokendir =\n")
            .unwrap();
        assert!(refused(&config).contains("directories.tokendir"));
        let text = format!("objectstore.backend=file\n directories.tokendir= {} # here\n", tokens.display());
        fs::write(&config, text).unwrap();
        assert!(refused(&config).contains("tokens"));
        fs::create_dir(&tokens).unwrap();
        assert_eq!(token_directory(&config), Ok(tokens.clone()));
        assert_eq!(stored_tokens(&tokens), Ok(0));
        fs::create_dir(tokens.join("a")).unwrap();
        fs::write(tokens.join("b"), "").unwrap();
        assert_eq!(stored_tokens(&tokens), Ok(1));
    }
}

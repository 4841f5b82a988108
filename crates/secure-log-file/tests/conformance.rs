//! What every store must do.

use secure_log_conformance::{Configs, store_conformance};
use secure_log_file::FileSecureLogStore;

store_conformance!(file, || {
    let dir = tempfile::tempdir().unwrap();
    Configs::<FileSecureLogStore>::in_directory(dir.path()).keep(dir)
});

//! Stored bytes that somebody changed are found through the composed component, and the entry
//! is named; bytes that nobody changed are not complained about.

use crate::common::{STACKS, Stack};
use secure_log_verify::forgery::{self, Site};

#[test]
fn each_stored_mark_is_caught_when_changed_and_only_then() {
    for names in STACKS {
        let stack = Stack::new(names, true, &[]);
        let mut log = stack.open();
        let marked = forgery::plant(&mut log, "bank", 5, 5).unwrap();
        log.finish().unwrap();
        let path = stack.store.host_path().unwrap();
        for (what, mark) in [("payload", &marked.payload), ("header", &marked.header)] {
            let sites = forgery::sites(path, mark).unwrap();
            assert!(!sites.is_empty(), "{}: no {what} found in the files", names.0);
            for (n, site) in sites.iter().enumerate() {
                let to = stack.dir.path().join(format!("{what}-{n}"));
                let forged = forgery::forge(&stack.store, site, &to).unwrap();
                let error = forgery::caught(&stack.launcher, &forged, &marked).unwrap();
                assert!(error.starts_with("corrupt stream \"bank\" seqno 6"), "{error}");

                let now = std::fs::read(path.parent().unwrap().join(&site.file)).unwrap()[site.offset];
                let same = Site { forged: now, ..site.clone() };
                let to = stack.dir.path().join(format!("{what}-{n}-same"));
                let copy = forgery::forge(&stack.store, &same, &to).unwrap();
                let error = forgery::caught(&stack.launcher, &copy, &marked).unwrap_err().to_string();
                assert!(error.starts_with("NOT caught"), "{error}");
            }
        }
    }
}

//! `export-tiles` and `check-tiles`: a log as static files (C2SP tlog-tiles), and its client.
//!
//! ```text
//! checkpoint                        the signed note over `_log`
//! tile/…                            the tree of `_log`
//! streams/<stream>/head.tlog-proof  the last entry of a closed segment, proven under a checkpoint
//! streams/<stream>/tile/…           the tree of that segment
//! ```

mod check;
mod dir;
mod export;
mod files;

pub(crate) use check::CheckTiles;
pub(crate) use export::ExportTiles;

use secure_log::tiles::folder;

/// The signed note.
const CHECKPOINT: &str = "checkpoint";
/// What says, in the folder of a stream, how large its tree is.
const HEAD: &str = "head.tlog-proof";

/// The folder of a stream's tree, with a slash behind it; that of `_log` is the directory itself.
fn prefix(stream_id: &str) -> String {
    match stream_id {
        secure_log::record::LOG_STREAM => String::new(),
        stream_id => format!("streams/{}/", folder(stream_id)),
    }
}

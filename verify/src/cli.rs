//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Runs a composed secure-log component and checks every promise it makes.
///
/// Opens the log that CONFIG names, appends events to it, reads, verifies, seals and signs it,
/// proves an entry, makes a copy, and then tries to break the copy: bad input, bytes flipped in
/// the stored files, writers killed under load. Each step is printed with ✓ or ✗ and its time.
#[derive(Parser, Debug, Clone)]
#[command(name = "secure-log-verify", version, after_help = EXAMPLES)]
pub struct Args {
    /// Composed component, such as ../dist/secure-log-sqlite.wasm
    pub artifact: Option<PathBuf>,

    /// Where the log is kept: a path, or `:memory:`. The component sees this file's directory
    /// and no other. Options follow a `?`: lease-ms=N, wait-ms=N. A log that is there is
    /// continued. [default: a fresh store in a temporary directory]
    pub config: Option<String>,

    /// Append the lines of FILE, one event a line (`-`: standard input), instead of a sample
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// Stream for the events of --events [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,

    /// Key to sign with, `<NAME>.pem` in SECURE_LOG_KEYSTORE_DIR, or its label or `pkcs11:` URI on a
    /// token [default: `audit`, or `audit-<algorithm>` with SECURE_LOG_KEYSTORE_ALG]
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,

    /// Trust this verifier key too (C2SP: name+hash+key), besides those of the keystore
    #[arg(long, value_name = "KEY")]
    pub trust: Vec<String>,

    /// Keep the export of the log as FILE: one text file that anybody can verify (docs/format.md)
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,

    /// How many writers to kill
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub kill_rounds: u32,

    /// Pass this variable of the environment on, or set it (SECURE_LOG_* always are passed on)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,

    /// Seconds to wait for another process that has the log open
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub wait: Duration,

    /// Hold no native file lock: rely on the store's lease alone, as a host without locks would
    #[arg(long)]
    pub no_host_lock: bool,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Measure speed against native code and print a table (see docs/performance.md). ARTIFACT is
    /// then ../dist/secure-log-sqlite.wasm unless given, CONFIG a directory for the logs
    #[arg(long)]
    pub bench: bool,

    /// Smaller sizes for --bench
    #[arg(long, requires = "bench")]
    pub quick: bool,

    /// Measure only this part of --bench: append, sealing, verify, scale, tiles, trust, sign, keys, remote, ingest,
    /// serve, or scale-devices, which is not part of the whole
    #[arg(long, requires = "bench", value_name = "PART", value_parser = crate::bench::PARTS.map(|(name, _)| name))]
    pub part: Option<String>,

    /// Append until killed, telling each acknowledged entry: what the kill experiment runs
    #[arg(long, hide = true, value_name = "STREAM")]
    pub child_writer: Option<String>,

    /// Stop the child writer after so many appends
    #[arg(long, hide = true, value_name = "N", requires = "child_writer")]
    pub child_appends: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  cargo run --release -- ../dist/secure-log-sqlite.wasm \":memory:\"
  cargo run --release -- ../dist/secure-log-file.wasm audit.jsonl --events /var/log/dpkg.log
  SECURE_LOG_KEYSTORE_ALG=ecdsa-p256 cargo run --release -- ../dist/secure-log-sqlite.wasm audit.db

  cargo run --release -- ../dist/secure-log-sqlite-pkcs11.wasm \":memory:\"
  SECURE_LOG_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so \
    cargo run --release -- ../dist/secure-log-sqlite-pkcs11-host.wasm audit.db

Exit code: 0 when every step holds, 1 when one does not, 2 when the call cannot be understood.

Without SECURE_LOG_KEYSTORE_DIR, a log on disk is signed with a key in <log>.keys/, made on first
use; a log in memory with a key that ends with the run. A component that signs with a PKCS #11 token
gets a throw-away one, unless SOFTHSM2_CONF or KRYOPTIC_CONF and SECURE_LOG_TOKEN_PIN (or _PIN_FILE)
name yours.";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn config_may_be_left_out() {
        let args = Args::try_parse_from(["verify", "a.wasm"]).unwrap();
        assert_eq!((args.config, args.kill_rounds), (None, 5));
        let args = Args::try_parse_from(["verify", "a.wasm", ":memory:", "--wait", "0.5"]).unwrap();
        assert_eq!(args.wait, Duration::from_millis(500));
        assert!(Args::try_parse_from(["verify", "a.wasm", "--quick"]).is_err());
    }
}

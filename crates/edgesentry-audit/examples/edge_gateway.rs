//! The gateway: forwards what the device signed, byte for byte. It holds no key and verifies nothing; whatever it
//! changes is seen behind it.
//!
//!     cargo run -p edgesentry-audit --example edge_gateway

mod shared;

use shared::{Outcome, path};

fn main() -> Outcome {
    println!("[edge gateway] forwards, unchanged and unverified");
    for name in ["records", "payloads", "tampered"] {
        let (from, to) = (path(&format!("eds_{name}.json")), path(&format!("eds_fwd_{name}.json")));
        let bytes = std::fs::copy(&from, &to)
            .map_err(|e| format!("{}: {e}; run the example `edge_device` first", from.display()))?;
        println!("  {} -> {} ({bytes} bytes)", from.display(), to.display());
    }
    Ok(())
}

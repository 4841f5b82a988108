//! One round of `packages/secure-log/bench.js` under wasmtime, on the same component: `beside COMPONENT CONFIG SIZE ENTRIES`
//! prints microseconds an entry as JSON.

use std::time::Instant;

use anyhow::{Context, Result};
use secure_log_host::HostedLog;
use secure_log_host::types::{Event, Severity};
use serde_json::json;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [component, config, size, entries] = args.as_slice() else {
        anyhow::bail!("usage: beside COMPONENT CONFIG SIZE ENTRIES");
    };
    let (size, entries): (usize, u64) = (size.parse()?, entries.parse()?);
    let memory = config == ":memory:";
    let mut log = HostedLog::builder().silent().open(component, config).context("cannot open the log")?;
    let payload = vec![0x61; size];
    let event = Event {
        stream_id: "s".into(),
        event_type: "opened".into(),
        severity: Severity::Notice,
        producer: "bench".into(),
        payload: payload.clone(),
        payload_encoding: None,
        object_ref: None,
        id: None,
    };
    let append = |log: &mut HostedLog, count: u64| -> Result<f64> {
        let begun = Instant::now();
        for _ in 0..count {
            log.append("s", "opened", Severity::Notice, "bench", &payload)?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / count as f64)
    };
    append(&mut log, if memory { 3000 } else { 200 })?;
    let single = append(&mut log, if memory { entries } else { 200 })?;
    let batch = vec![event; 100];
    let batches = entries.div_ceil(100);
    let begun = Instant::now();
    for _ in 0..batches {
        log.append_batch(&batch, &[])?;
    }
    let batched = begun.elapsed().as_secs_f64() * 1e6 / (batches * 100) as f64;
    let last = log.head("s")?.context("no entry")?.seqno;
    let begun = Instant::now();
    log.verify_chain("s", 1, last)?;
    let chain = begun.elapsed().as_secs_f64() * 1e6 / last as f64;
    let begun = Instant::now();
    log.verify_headers("s", 1, last)?;
    let headers = begun.elapsed().as_secs_f64() * 1e6 / last as f64;
    log.close()?;
    println!(
        "{}",
        json!({"append": single, "appendInBatchesOf100": batched, "verifyChain": chain, "verifyHeaders": headers})
    );
    Ok(())
}

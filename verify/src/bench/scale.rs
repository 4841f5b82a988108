//! A large log beside a small one.

use std::cell::RefCell;
use std::time::Duration;

use super::Bench;
use super::append::{batch, one};
use super::measure::{in_turns, median, time};
use super::table::{Row, Table};
use crate::report::progress;

/// Entries of the small log.
const SMALL: u64 = 1_000;

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let size = bench.sizes.large;
    table.doing("a large log");
    let mut small = bench.open("small.db")?;
    small.append_batch(&batch(usize::try_from(SMALL)?, 100), &[])?;
    let mut large = bench.open("large.db")?;
    let events = batch(5_000, 100);
    let bar = progress(&format!("writing {size} entries"), Some(size));
    for _ in 0..size / 5_000 {
        large.append_batch(&events, &[])?;
        bar.inc(5_000);
    }
    bar.finish_and_clear();
    let (small, large) = (RefCell::new(small), RefCell::new(large));
    let appends = in_turns(
        bench.sizes.rounds * 2,
        50,
        || (0..50).try_for_each(|_| one(&mut large.borrow_mut())),
        || (0..50).try_for_each(|_| one(&mut small.borrow_mut())),
    )?;
    table.add(Row::ratio(format!("durable append at {size} entries vs at {SMALL}"), appends, 1.3));
    small.into_inner().finish()?;

    let mut large = large.into_inner();
    let close = time(&mut || {
        large.close_segment("bench")?;
        Ok(())
    })?;
    table.note(format!("closing the first segment over {size} entries took {:.2} s", close.as_secs_f64()));
    let mut proofs = Vec::new();
    for n in 0..101 {
        let seqno = 1 + n * (size / 101);
        proofs.push(time(&mut || {
            large.build_inclusion_proof("bench", seqno)?;
            Ok(())
        })?);
    }
    let worst = proofs.iter().max().copied().unwrap_or(Duration::ZERO);
    table.add(Row::at_most(
        format!(
            "inclusion proof at {size} entries (median of 101; slowest {:.2} ms)",
            worst.as_secs_f64() * 1e3
        ),
        median(&mut proofs).as_secs_f64() * 1e3,
        5.0,
        " ms",
    ));
    large.finish()?;

    let mut fresh = bench.open("large.db")?;
    let head = fresh.head("bench")?.map_or(0, |head| head.seqno);
    let took = time(&mut || {
        fresh.verify_chain("bench", 1, head)?;
        Ok(())
    })?;
    table.note(format!("verify-chain of those {head} entries took {:.2} s", took.as_secs_f64()));
    let mib = fresh.memory_bytes() as f64 / f64::from(1 << 20);
    table.add(Row::at_most(format!("guest memory while verifying {head} entries"), mib, 256.0, " MiB"));
    fresh.finish()?;
    Ok(())
}

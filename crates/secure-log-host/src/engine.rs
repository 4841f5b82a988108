//! One engine configuration for everything that runs or precompiles a component.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wasmtime::{Config, Engine};

use crate::error::{Error, Result};

/// How long an epoch is: deadlines of calls are counted in these.
pub(crate) const EPOCH: Duration = Duration::from_millis(20);
/// Epochs of a call without a deadline.
pub(crate) const FOR_EVER: u64 = u64::MAX / 2;

/// The engine settings of everything that runs or precompiles a component: artifacts compiled
/// under other settings are refused. Wide arithmetic costs a component without it nothing.
pub fn engine_config() -> Config {
    let mut config = Config::new();
    config.wasm_wide_arithmetic(true);
    config
}

/// What compiled code looks at while it runs. It costs time in every loop, signatures and hashes a good part of their
/// speed, so only those have it who set such limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// A clock, for [`Guest::deadline`](crate::Guest::deadline).
    pub deadline: bool,
    /// A counter of instructions, for [`Guest::fuel`](crate::Guest::fuel).
    pub fuel: bool,
}

/// An engine and the clock of its deadlines, shared by all artifacts of the process.
#[derive(Clone)]
pub(crate) struct Clocked {
    pub(crate) engine: Engine,
    checks: Checks,
    ticking: Arc<AtomicBool>,
}

impl Clocked {
    /// The engine of this process for code with these checks.
    pub(crate) fn shared(checks: Checks) -> Result<Self> {
        static SHARED: [OnceLock<Clocked>; 4] = [const { OnceLock::new() }; 4];
        let shared = &SHARED[usize::from(checks.deadline) + 2 * usize::from(checks.fuel)];
        if let Some(clocked) = shared.get() {
            return Ok(clocked.clone());
        }
        let mut config = engine_config();
        config.epoch_interruption(checks.deadline).consume_fuel(checks.fuel);
        let engine = Engine::new(&config).map_err(|e| Error::Engine(format!("{e:#}")))?;
        let clocked = Self { engine, checks, ticking: Arc::default() };
        Ok(shared.get_or_init(|| clocked).clone())
    }

    /// Whether its code counts fuel.
    pub(crate) fn counts_fuel(&self) -> bool {
        self.checks.fuel
    }

    /// Lets its epochs pass from now on. Only whoever sets deadlines pays for the thread.
    pub(crate) fn tick(&self) -> Result<()> {
        if !self.checks.deadline {
            return Err(Error::NotChecked { limit: "deadline" });
        }
        if self.ticking.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let engine = self.engine.weak();
        let ticker = move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        };
        match std::thread::Builder::new().name("secure-log-epochs".into()).spawn(ticker) {
            Ok(_) => Ok(()),
            Err(e) => {
                self.ticking.store(false, Ordering::Release);
                Err(Error::Engine(format!("no thread for deadlines: {e}")))
            }
        }
    }
}

/// A deadline in epochs: never less than it, by at most one epoch more.
pub(crate) fn epochs(deadline: Option<Duration>) -> u64 {
    match deadline {
        None => FOR_EVER,
        Some(time) => {
            let epochs = time.as_nanos().div_ceil(EPOCH.as_nanos()).saturating_add(1);
            u64::try_from(epochs).unwrap_or(FOR_EVER).min(FOR_EVER)
        }
    }
}

//! Signatures of every keystore side by side, and what a checkpoint costs beside the signature in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use secure_log::signer::{Algorithm, CheckpointSigner as _};

use super::Bench;
use super::measure::{Pair, median, median_f64, time};
use super::table::{Row, Table, short};
use crate::host::{Artifact, Guest, Keystore, KeystoreArtifact, types::Severity};
use crate::launch::Launcher;
use crate::store_path::StorePath;
use crate::token::{MODULE, Token};

const MESSAGE: &[u8] = b"example.com/audit\n1234\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
const NATIVE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// Starts of which the median is taken.
const STARTS: usize = 7;

/// Entries in the newest tile of `_log`, which is full with 256.
const OPEN_TILE: u32 = 200;

/// A keystore: its name, component and graph, and where its keys are.
struct Kind {
    name: &'static str,
    keystore: KeystoreArtifact,
    graph: Artifact,
    guest: Guest,
    token: Option<Token>,
}

/// What was measured of one keystore and one algorithm.
struct Measured {
    bare: Duration,
    first: Duration,
}

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.doing("keystores");
    let kinds = kinds(bench, table)?;
    let mut rates = String::from("| signatures a second |");
    kinds.iter().for_each(|kind| rates.push_str(&format!(" {} |", kind.name)));
    rates.push_str(&format!("\n|---|{}", "---|".repeat(kinds.len())));
    let mut firsts = rates.replace("signatures a second", "an instance's start and first signature");
    for algorithm in Algorithm::ALL {
        rates.push_str(&format!("\n| {} |", algorithm.name()));
        firsts.push_str(&format!("\n| {} |", algorithm.name()));
        for kind in &kinds {
            let measured = kind.measure(bench, table, algorithm)?;
            rates.push_str(&format!(" {:.0} |", 1.0 / measured.bare.as_secs_f64()));
            firsts.push_str(&format!(" {} |", short(measured.first)));
        }
    }
    table.block(rates);
    table.block(firsts);
    for kind in &kinds {
        let mb = |path: &Path| std::fs::metadata(path).map(|file| file.len() as f64 / 1e6);
        let (graph, keystore) = (kind.graph.path(), kind.keystore.path());
        table.note(format!(
            "{}: {} has {:.2} MB, {} {:.2} MB of it",
            kind.name,
            file_name(graph),
            mb(graph)?,
            file_name(keystore),
            mb(keystore)?
        ));
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// All keystores that are built.
fn kinds(bench: &Bench, table: &mut Table) -> anyhow::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for (name, keystore, graph) in [
        ("software", "keystore-software", "secure-log-sqlite"),
        ("SoftHSM2 in the graph", "keystore-softhsm", "secure-log-sqlite-pkcs11"),
        ("kryoptic in the graph", "keystore-kryoptic", "secure-log-sqlite-kryoptic"),
        ("native SoftHSM2 through the host", "keystore-pkcs11", "secure-log-sqlite-pkcs11-host"),
    ] {
        let keystore = bench.dist.join(format!("components/{keystore}.wasm"));
        let graph = bench.dist.join(format!("{graph}.wasm"));
        if let Some(missing) = [&keystore, &graph].into_iter().find(|path| !path.is_file()) {
            table.note(format!("{name} was NOT measured: {} is not there", missing.display()));
            continue;
        }
        let (keystore, graph) = (KeystoreArtifact::load(&keystore)?, Artifact::load(&graph)?);
        let mut guest = Guest { silent: true, ..Guest::default() };
        let token = if graph.imports_token() {
            let module = std::env::var_os(MODULE).map_or(NATIVE.into(), PathBuf::from);
            if !module.is_file() {
                table.note(format!(
                    "{name} was NOT measured: {} is not there ({MODULE} names another)",
                    module.display()
                ));
                continue;
            }
            Some(Token::throw_away_behind(&module, &mut guest)?)
        } else {
            Token::throw_away(&graph, &mut guest)?
        };
        if token.is_none() {
            let dir = bench.path("keys");
            std::fs::create_dir_all(&dir)?;
            let name = dir.to_str().context("a path in UTF-8")?;
            guest.preopen(&dir, name);
            guest.set_env("SECURE_LOG_KEYSTORE_DIR", name);
            guest.set_env("SECURE_LOG_KEYSTORE_GENERATE", "1");
        }
        kinds.push(Kind { name, keystore, graph, guest, token });
    }
    Ok(kinds)
}

impl Kind {
    fn guest(&self, algorithm: Algorithm) -> Guest {
        let mut guest = self.guest.clone();
        guest.set_env("SECURE_LOG_KEYSTORE_ALG", algorithm.name());
        guest
    }

    fn identity(&self, algorithm: Algorithm) -> anyhow::Result<&str> {
        match &self.token {
            Some(token) => token.identity(algorithm).context("the token has no such key"),
            None => Ok(algorithm.name()),
        }
    }

    /// The bare signature beside `sign-segment`, in turns.
    fn measure(&self, bench: &Bench, table: &mut Table, algorithm: Algorithm) -> anyhow::Result<Measured> {
        let (identity, guest) = (self.identity(algorithm)?, self.guest(algorithm));
        let mut keystore = self.keystore.start(&guest)?;
        let launcher = Launcher { artifact: self.graph.clone(), guest, ..bench.launcher.clone() };
        let count = match algorithm {
            Algorithm::RsaPssSha256 => 10,
            _ => 50,
        };
        let sealed = || signed_log(&launcher, identity, 0, count);
        let mut bare = || time(&mut || (0..count).try_for_each(|_| sign(&mut keystore, identity)));
        let (mut firsts, mut seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=bench.sizes.rounds {
            let (segments, signatures) = if round % 2 == 0 {
                let segments = sealed()?;
                (segments, bare()?)
            } else {
                let signatures = bare()?;
                (sealed()?, signatures)
            };
            if round > 0 {
                firsts.push(segments / count);
                seconds.push(signatures / count);
                ratios.push(segments.as_secs_f64() / signatures.as_secs_f64());
            }
        }
        let pair =
            Pair { first: median(&mut firsts), second: median(&mut seconds), ratio: median_f64(&mut ratios) };
        let what =
            format!("{} sign-segment on `:memory:` vs the bare signature, {}", algorithm.name(), self.name);
        if self.token.is_some() {
            table.add(Row::ratio(what, pair, 1.3));
        } else {
            let (checkpoint, bare) = (short(pair.first), short(pair.second));
            table.note(format!("{what}: {checkpoint} vs {bare}, {:.2}×", pair.ratio));
        }
        if self.token.is_none() && algorithm == Algorithm::Ed25519 {
            let times: anyhow::Result<Vec<_>> =
                (0..STARTS).map(|_| Ok(signed_log(&launcher, identity, OPEN_TILE, 20)? / 20)).collect();
            table.note(format!(
                "the same with {OPEN_TILE} segments closed before: {} a checkpoint",
                short(median(&mut times?))
            ));
        }
        Ok(Measured { bare: pair.second, first: self.first(algorithm)? })
    }

    /// From nothing to the first signature: an instance, the token, the login, the key.
    fn first(&self, algorithm: Algorithm) -> anyhow::Result<Duration> {
        let (identity, guest) = (self.identity(algorithm)?, self.guest(algorithm));
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let began = Instant::now();
            let mut keystore = self.keystore.start(&guest)?;
            sign(&mut keystore, identity)?;
            times.push(began.elapsed());
        }
        Ok(median(&mut times))
    }
}

/// How long it takes to sign `count` segments of a new log, each as soon as it is closed. `before` are closed first.
fn signed_log(launcher: &Launcher, identity: &str, before: u32, count: u32) -> anyhow::Result<Duration> {
    let mut log = launcher.open(&StorePath::parse(":memory:")?)?;
    let mut signing = Duration::ZERO;
    for n in 0..=before + count {
        log.append("bench", "bench.event", Severity::Informational, "bench", b"signed")?;
        let segment = log.close_segment("bench")?.segment_id;
        if n < before {
            continue;
        }
        let began = Instant::now();
        log.sign_segment(identity, segment)?;
        // The first one has the login in it.
        if n > before {
            signing += began.elapsed();
        }
    }
    Ok(signing)
}

fn sign(keystore: &mut Keystore, identity: &str) -> anyhow::Result<()> {
    keystore.sign(identity, MESSAGE)?;
    Ok(())
}

//! `witness` and `published`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log::policy::{MAX_POLICY, Policy};
use secure_log::witness::ADD_CHECKPOINT;
use secure_log_host::witness::{Answer, Publication, RefusalKind};
use secure_log_host::{Hosted, LogOwner, failure};
use serde_json::{Value, json};

use super::{show, with_log};
use crate::http::{Reply, post};
use crate::open::{Open, StoreArgs};
use crate::output::{Output, warn};
use crate::{files, time};

/// How often a witness is asked again, for another size or because it was busy.
const ATTEMPTS: usize = 4;
/// How long to wait before a busy witness is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// A log that can be asked, in this thread or in another.
pub(crate) trait Reach {
    /// What `work` gives.
    fn reach<T, F>(&mut self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static;
}

impl Reach for Open {
    fn reach<T, F>(&mut self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    {
        Ok(work(self)?)
    }
}

impl Reach for LogOwner {
    /// Between the calls of others: nobody waits for a witness.
    fn reach<T, F>(&mut self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    {
        // Nothing is appended, so that there is nothing to seal afterwards.
        Ok(self.read(work).wait()?)
    }
}

/// Reads a policy file.
pub(crate) fn read_policy(path: &Path) -> Result<(Vec<u8>, Policy)> {
    let bytes = files::read(path, MAX_POLICY, "a policy")?;
    let policy = Policy::parse(&bytes).with_context(|| format!("{} is no policy", path.display()))?;
    Ok((bytes, policy))
}

/// Have a checkpoint cosigned by witnesses
///
/// Sends the newest checkpoint to every witness of the policy that has a URL (C2SP tlog-witness), all at once, and keeps
/// the cosignatures that verify. Fails while the quorum is not met, or where a witness says that it saw another history
/// of this log.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log witness --policy policy.txt")]
pub(crate) struct Submit {
    /// Who must cosign: a C2SP tlog-policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Number of another checkpoint than the newest
    #[arg(long, value_name = "NUMBER")]
    checkpoint: Option<u64>,
    /// Succeed though the quorum is not met, and say so
    #[arg(long)]
    degraded: bool,
    /// How long one answer may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    store: StoreArgs,
}

/// A witness, and what became of it.
pub(crate) struct Witness {
    pub name: String,
    key: String,
    url: Option<String>,
    /// What it cosigned last, as far as is known.
    old_size: u64,
    pub outcome: Outcome,
}

pub(crate) enum Outcome {
    /// To be asked (again).
    Open,
    Cosigned,
    /// Not cosigned, and why.
    Failed(String),
    /// It saw another history of this log.
    Evidence(String),
}

impl Outcome {
    fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Open => ("busy", None),
            Self::Cosigned => ("cosigned", None),
            Self::Failed(why) => ("failed", Some(why)),
            Self::Evidence(why) => ("EVIDENCE", Some(why)),
        }
    }
}

impl Submit {
    pub fn run(self, out: Output) -> Result<()> {
        let (bytes, policy) = read_policy(&self.policy)?;
        let (witnesses, publication) = with_log(&self.store, |log| {
            let number = match self.checkpoint {
                Some(number) => log.read_checkpoint(number)?.number,
                None => {
                    let newest = log.latest_checkpoint()?;
                    newest.context("nothing was signed yet: `eds log sign` makes a checkpoint")?.number
                }
            };
            let witnesses = ask(log, &policy, number, self.timeout)?;
            Ok((witnesses, log.publication(&bytes)?))
        })?;
        show(out, &witnesses, &publication)?;
        if let Some(Outcome::Evidence(why)) =
            witnesses.iter().map(|w| &w.outcome).find(|outcome| matches!(outcome, Outcome::Evidence(_)))
        {
            bail!(
                "a witness saw another history of this log: {why}. Stop publishing, and find out which one is real"
            );
        }
        match &publication.lacks {
            None => Ok(()),
            Some(lacks) if self.degraded => {
                warn(format_args!("degraded: checkpoint {} lacks {lacks}", publication.newest));
                Ok(())
            }
            Some(lacks) => {
                bail!("checkpoint {} does not count as published: it lacks {lacks}", publication.newest)
            }
        }
    }
}

/// Asks all witnesses of a policy, at the same time, again where that helps.
pub(crate) fn ask(
    log: &mut impl Reach,
    policy: &Policy,
    number: u64,
    timeout: Duration,
) -> Result<Vec<Witness>> {
    let size = log.reach(move |log| log.read_checkpoint(number))?.size;
    let mut witnesses = Vec::new();
    for witness in policy.witnesses() {
        let key = witness.key.to_string();
        let keys = [key.clone()];
        let known = log.reach(move |log| log.cosigned_size(&keys))?;
        let url = witness.url.and_then(|url| url.as_str()).map(|url| url.trim_end_matches('/').to_owned());
        witnesses.push(Witness {
            name: witness.name.to_string(),
            old_size: known.min(size),
            outcome: match url {
                Some(_) => Outcome::Open,
                None => Outcome::Failed("the policy has no URL for it".into()),
            },
            key,
            url,
        });
    }
    for attempt in 0..ATTEMPTS {
        let mut requests = Vec::new();
        for (i, witness) in witnesses.iter().enumerate() {
            if let (Outcome::Open, Some(url)) = (&witness.outcome, &witness.url) {
                let old_size = witness.old_size;
                let body = log.reach(move |log| log.witness_request(number, old_size))?;
                requests.push((i, format!("{url}/{ADD_CHECKPOINT}"), body));
            }
        }
        if requests.is_empty() {
            break;
        }
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let replies: Vec<Result<Reply>> = std::thread::scope(|scope| {
            let send = |(_, url, body): &(usize, String, Vec<u8>)| post(url, "text/plain", body, timeout);
            let threads: Vec<_> = requests.iter().map(|request| scope.spawn(move || send(request))).collect();
            let lost = || Err(anyhow::anyhow!("the call was lost"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        });
        for ((i, _, body), reply) in requests.into_iter().zip(replies) {
            let witness = &mut witnesses[i];
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    witness.outcome = Outcome::Failed(format!("{error:#}"));
                    continue;
                }
            };
            let keys = [witness.key.clone()];
            let accept =
                move |log: &mut Hosted| log.accept_witness(number, &body, &keys, reply.status, &reply.body);
            match log.reach(accept)? {
                Answer::Cosigned(_) => witness.outcome = Outcome::Cosigned,
                Answer::Conflict(size) => witness.old_size = size,
                Answer::Refused(refusal) if refusal.temporary => {}
                Answer::Refused(refusal) => {
                    witness.outcome = match refusal.kind {
                        RefusalKind::Inconsistent | RefusalKind::Behind => Outcome::Evidence(refusal.reason),
                        _ => Outcome::Failed(refusal.reason),
                    };
                }
            }
        }
    }
    Ok(witnesses)
}

fn show(out: Output, witnesses: &[Witness], publication: &Publication) -> Result<()> {
    if out.json {
        let witnesses: Vec<Value> = witnesses
            .iter()
            .map(|w| {
                let (state, why) = w.outcome.words();
                json!({"name": w.name, "url": w.url, "state": state.to_lowercase(), "reason": why})
            })
            .collect();
        return out.document(&json!({"witnesses": witnesses, "publication": document(publication)}));
    }
    for witness in witnesses {
        let (state, why) = witness.outcome.words();
        let why = why.map(|why| format!("\t{}", show::printable(why))).unwrap_or_default();
        out.line(format_args!("{state}\t{}{why}", show::printable(&witness.name)))?;
    }
    out.line(summary(publication))
}

fn document(publication: &Publication) -> Value {
    let cosigned = publication.cosigned.iter();
    json!({
        "newest": publication.newest,
        "cosigned": cosigned.map(|w| json!({"name": w.name, "time": w.time})).collect::<Vec<_>>(),
        "absent": publication.absent,
        "lacks": publication.lacks,
        "published": publication.published,
    })
}

fn summary(publication: &Publication) -> String {
    match (&publication.lacks, publication.published) {
        (None, _) => format!("published: checkpoint {}", publication.newest),
        (Some(lacks), Some(published)) => format!(
            "published: checkpoint {published}; the newest, {}, lacks {}",
            publication.newest,
            show::printable(lacks)
        ),
        (Some(lacks), None) => format!("not published: it lacks {}", show::printable(lacks)),
    }
}

/// The newest checkpoint that a policy counts as published
///
/// Prints its note with all cosignatures (C2SP tlog-checkpoint, tlog-cosignature). Fails if there is none; says on
/// stderr where the newest checkpoint of the log is a later one.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log published --policy policy.txt > checkpoint")]
pub(crate) struct Published {
    /// Who must cosign: a C2SP tlog-policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

impl Published {
    pub fn run(self, out: Output) -> Result<()> {
        let (bytes, _) = read_policy(&self.policy)?;
        let (publication, note) = with_log(&self.store, |log| {
            let publication = log.publication(&bytes)?;
            let note = publication.published.map(|number| log.cosigned_note(number)).transpose()?;
            Ok((publication, note))
        })?;
        if out.json {
            out.document(&json!({"publication": document(&publication), "note": note}))?;
        }
        let Some(note) = note else { bail!("{}", summary(&publication)) };
        if publication.lacks.is_some() {
            warn(summary(&publication));
        }
        if out.json { Ok(()) } else { out.bytes(note.as_bytes()) }
    }
}

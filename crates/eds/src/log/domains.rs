//! `create`, `rotate-key`, `erase`: how streams are protected, and how their data goes.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use secure_log_host::types::{Erasure, StreamInfo, StreamOptions, Tier};
use serde_json::json;

use super::{show, with_place};
use crate::keys::confirm;
use crate::open::{Open, Part, Place, StoreArgs};
use crate::output::{Output, progress};
use crate::signing::TokenArgs;
use crate::time;

/// Entries whose headers are looked at between two steps of the progress bar.
const STEP: u64 = 1_000;

/// Create a stream and say how it is kept
///
/// A stream that is not created comes into being with its first entry, public. What is sealed needs the key-encryption key
/// of its erasure domain, which is called like the domain (`eds keys create --alg aes-256-gcm`), each time it is written or read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log create doors --description 'door events'
  eds log create patients --tier protected --erasure-domain customer-4711 --retention 10y --keys keys")]
pub(crate) struct Create {
    /// The stream
    stream: String,
    /// public: as given; protected: payloads sealed; highly-restricted: event types and producers as well
    #[arg(long, value_name = "TIER", default_value = "public", value_parser = show::parse_tier)]
    tier: Tier,
    /// Whose data it is: what is erased together [default: the stream's name]
    #[arg(long, value_name = "NAME")]
    erasure_domain: Option<String>,
    /// For how long after an entry its erasure is refused (`30d`, `7y`; a year has 365.25 days)
    #[arg(long, value_name = "TIME", value_parser = time::parse_duration)]
    retention: Option<Duration>,
    /// What the stream is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Name of a log that has no entry yet, as its checkpoints will carry it
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    token: TokenArgs,
}

impl Create {
    pub fn run(self, out: Output) -> Result<()> {
        let place = match self.tier {
            Tier::Public => self.store.place(Part::Log)?,
            _ => keyed_place(&self.store, &self.token, self.domain())?,
        };
        let options = StreamOptions {
            tier: self.tier,
            description: self.description.clone(),
            erasure_domain: self.erasure_domain.clone(),
            retention_ms: self.retention.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut log = place.open()?;
        let outcome = create(&mut log, &self, &options);
        let closed = log.close();
        outcome?;
        closed?;
        out.either(
            &json!({"stream_id": self.stream, "tier": show::tier_name(self.tier), "erasure_domain": self.domain()}),
            || format!("{}\t{}", show::printable(&self.stream), show::tier_name(self.tier)),
        )
    }

    fn domain(&self) -> &str {
        self.erasure_domain.as_deref().unwrap_or(&self.stream)
    }
}

fn create(log: &mut Open, args: &Create, options: &StreamOptions) -> Result<()> {
    if let Some(origin) = &args.origin {
        log.set_origin(origin)?;
    }
    Ok(log.create_stream_with(&args.stream, options)?)
}

/// A place whose keystore keeps its keys: one in memory would take what it sealed with it.
fn keyed_place(store: &StoreArgs, token: &TokenArgs, domain: &str) -> Result<Place> {
    let keys = store.wrapping(domain, token)?;
    store.place_to_sign(Part::Log, keys)
}

/// Give an erasure domain another key-encryption key
///
/// What is sealed from now on is under the new key, and the wrapped data keys are wrapped anew; no payload is touched.
/// The old key stays: destroy it (`eds keys destroy`) when no backup of the log needs it any more. Run it again if it was
/// interrupted.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds keys create customer-4711-b --alg aes-256-gcm --keys keys
  eds log rotate-key customer-4711 --new-key customer-4711-b --keys keys")]
pub(crate) struct RotateKey {
    /// The erasure domain
    domain: String,
    /// Name of its new key, which must be there
    #[arg(long, value_name = "NAME")]
    new_key: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    token: TokenArgs,
}

impl RotateKey {
    pub fn run(self, out: Output) -> Result<()> {
        let place = keyed_place(&self.store, &self.token, &self.domain)?;
        let wrapped = with_place(place, |log| Ok(log.rotate_key(&self.domain, &self.new_key)?))?;
        out.either(
            &json!({"erasure_domain": self.domain, "key": self.new_key, "wrapped_anew": wrapped}),
            || format!("{}\t{}\t{wrapped} keys wrapped anew", self.domain, self.new_key),
        )
    }
}

/// Erase payloads, or everything of an erasure domain
///
/// The log records it first; then the payloads are removed from the store, and with --domain the keys are destroyed and
/// the streams end. Headers stay, so every proof and every checkpoint stays valid. Nothing that is within its retention is
/// erased. Backups and exports are not reached: with --domain what is sealed in them cannot be read any more. Run it again
/// if it was interrupted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log erase --stream doors --from 17 --to 17 --reason 'Art. 17 GDPR, request 2031' --dry-run
  eds log erase --domain customer-4711 --reason 'contract ended' --keys keys")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["stream", "domain"])))]
pub(crate) struct Erase {
    /// Payloads of this stream
    #[arg(long, value_name = "NAME", requires_all = ["from", "to"])]
    stream: Option<String>,
    /// First entry
    #[arg(long, value_name = "N", requires = "stream")]
    from: Option<u64>,
    /// Last entry
    #[arg(long, value_name = "N", requires = "stream")]
    to: Option<u64>,
    /// Everything of this erasure domain, and its keys
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Why, as the log records it for ever
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Say what would be erased and what retention forbids, and erase nothing
    #[arg(long)]
    dry_run: bool,
    /// It is meant: do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    token: TokenArgs,
}

/// What an erasure would come to.
#[derive(Debug, Default)]
struct Plan {
    streams: Vec<String>,
    entries: u64,
    /// Stream and entry that is kept longest, and until when.
    kept: Option<(String, u64, u64)>,
}

impl Erase {
    pub fn run(self, out: Output) -> Result<()> {
        let place = match &self.domain {
            Some(domain) if !self.dry_run => keyed_place(&self.store, &self.token, domain)?,
            _ => self.store.place(Part::Log)?,
        };
        with_place(place, |log| {
            let plan = self.plan(log)?;
            if self.dry_run {
                return plan.show(out);
            }
            if let Some((stream, seqno, until)) = &plan.kept {
                bail!(
                    "entry {seqno} of stream {stream:?} is kept until {}: nothing was erased (--dry-run says more)",
                    time::show(*until)
                );
            }
            confirm::erasure(
                self.domain.as_deref().or(self.stream.as_deref()).unwrap_or_default(),
                &plan.text(),
                self.yes,
            )?;
            let erasure = match (&self.stream, self.from, self.to, &self.domain) {
                (Some(stream), Some(from), Some(to), _) => {
                    log.erase_payloads(stream, from, to, &self.reason)?
                }
                (_, _, _, Some(domain)) => log.erase_domain(domain, &self.reason)?,
                _ => bail!("give --stream with --from and --to, or --domain"),
            };
            done(out, &erasure)
        })
    }

    fn plan(&self, log: &mut Open) -> Result<Plan> {
        let all = log.list_streams()?;
        let streams: Vec<&StreamInfo> = all
            .iter()
            .filter(|info| match (&self.stream, &self.domain) {
                (Some(stream), _) => info.stream_id == *stream,
                (None, Some(domain)) => info.erasure_domain == *domain && info.stream_id != "_log",
                (None, None) => false,
            })
            .collect();
        if streams.is_empty() {
            match (&self.stream, &self.domain) {
                (Some(stream), _) => {
                    bail!("there is no stream {stream:?}; `eds log streams` names those there are")
                }
                (None, domain) => {
                    bail!(
                        "no stream is in erasure domain {:?}; `eds log streams` names those there are",
                        domain.as_deref().unwrap_or_default()
                    )
                }
            }
        }
        let range = |info: &StreamInfo| {
            let head = info.head.as_ref().map_or(0, |head| head.seqno);
            (self.from.unwrap_or(1), self.to.unwrap_or(head).min(head))
        };
        let total =
            streams.iter().map(|info| range(info)).map(|(from, to)| (to + 1).saturating_sub(from)).sum();
        let bar = progress("looking", Some(total), false);
        let mut plan = Plan::default();
        let now = time::now_ms();
        for info in streams {
            plan.streams.push(info.stream_id.clone());
            let (from, to) = range(info);
            // What was erased before is not judged again.
            let retention = info.retention_ms.filter(|_| info.erased.is_none());
            for seqno in from..=to {
                let header = log.read(&info.stream_id, seqno)?.header;
                plan.entries += u64::from(header.object_ref.is_none());
                let until = header.time_ms.saturating_add(retention.unwrap_or(0));
                let longest = plan.kept.as_ref().is_none_or(|(_, _, longest)| until > *longest);
                if retention.is_some() && until > now && longest {
                    plan.kept = Some((info.stream_id.clone(), seqno, until));
                }
                if seqno % STEP == 0 {
                    bar.inc(STEP);
                }
            }
        }
        bar.finish_and_clear();
        Ok(plan)
    }
}

impl Plan {
    fn text(&self) -> String {
        let streams: Vec<_> = self.streams.iter().map(|name| show::printable(name)).collect();
        format!("{} payloads of {}", self.entries, streams.join(", "))
    }

    fn show(&self, out: Output) -> Result<()> {
        let kept = self.kept.as_ref();
        let value = json!({
            "streams": self.streams,
            "payloads": self.entries,
            "allowed": kept.is_none(),
            "kept": kept.map(|(stream, seqno, until)| json!({"stream_id": stream, "seqno": seqno, "until_ms": until})),
        });
        out.either(&value, || {
            let what = match kept {
                None => "nothing forbids it".to_owned(),
                Some((stream, seqno, until)) => format!(
                    "refused until {}: so long is entry {seqno} of {} kept",
                    time::show(*until),
                    show::printable(stream)
                ),
            };
            format!("would erase\t{}\t{what}", self.text())
        })
    }
}

fn done(out: Output, erasure: &Erasure) -> Result<()> {
    let value = json!({
        "log_entry": erasure.log_entry,
        "streams": erasure.streams,
        "payloads": erasure.entries,
        "keys_destroyed": erasure.keys_destroyed,
    });
    out.either(&value, || {
        let keys = match erasure.keys_destroyed.as_slice() {
            [] => String::new(),
            names => format!("\tkeys destroyed: {}", names.join(", ")),
        };
        format!(
            "erased\t{} payloads of {} streams, recorded by entry {} of _log{keys}",
            erasure.entries, erasure.streams, erasure.log_entry
        )
    })
}

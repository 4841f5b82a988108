//! The examiner: bindings of `world examination`, and its component.

use std::cell::RefCell;

use edgesentry_audit::evidence::Trust;
use edgesentry_audit::examine as x;
use edgesentry_audit::keys::verifying_key_from_bytes;
use secure_log::model::TimeTrust;
use secure_log::note::VerifierKey;
use secure_log::policy::Policy;
use secure_log::tree::Step;

/// Bindings of `world examination`.
#[allow(missing_docs, clippy::all, reason = "generated from documented WIT")]
pub mod examination_world {
    wit_bindgen::generate!({
        path: ["../../wit", "../../wit/edgesentry"],
        world: "edgesentry:audit/examination",
        pub_export_macro: true,
        export_macro_name: "export_examination_world",
        default_bindings_module: "secure_log_guest::examiner::examination_world",
        with: { "secure-log:log/types@0.1.0": crate::core_world::secure_log::log::types },
        generate_all,
    });
}

use examination_world::exports::edgesentry::audit::examiner as w;

/// Makes the component of `world examination`.
#[macro_export]
macro_rules! export_examiner {
    () => {
        type Examiner = $crate::examiner::ExaminerComponent;
        $crate::examiner::examination_world::export_examination_world!(Examiner);
    };
}

/// The exports of the examiner.
pub struct ExaminerComponent;

thread_local! {
    static EXAMINER: RefCell<Option<x::Examiner>> = const { RefCell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut x::Examiner) -> R) -> Option<R> {
    EXAMINER.with(|slot| slot.try_borrow_mut().ok()?.as_mut().map(f))
}

impl w::Guest for ExaminerComponent {
    fn begin(trust: w::Trust) -> Result<(), String> {
        let trust = read_trust(trust)?;
        EXAMINER.with(|slot| match slot.try_borrow_mut() {
            Ok(mut slot) => {
                *slot = Some(x::Examiner::new(trust));
                Ok(())
            }
            Err(_) => Err("the examiner is in the middle of another call".into()),
        })
    }

    fn feed(bytes: Vec<u8>) -> u64 {
        with(|examiner| examiner.feed(&bytes)).unwrap_or(0)
    }

    fn finish() -> Result<w::Summary, String> {
        let summary = with(x::Examiner::finish).unwrap_or_else(|| Err("call `begin` first".into()));
        summary.map(Into::into)
    }

    fn items(first: u64, limit: u32) -> Vec<w::Item> {
        let items = with(|examiner| examiner.items(first, limit)).unwrap_or_default();
        items.into_iter().map(Into::into).collect()
    }

    fn payload(item: u64) -> Option<String> {
        with(|examiner| examiner.payload(item))?
    }

    fn path(item: u64) -> Option<w::MerklePath> {
        with(|examiner| examiner.path(item))?.map(Into::into)
    }
}

/// What the caller trusts, read: what cannot be read is named.
fn read_trust(trust: w::Trust) -> Result<Trust, String> {
    for key in &trust.keys {
        VerifierKey::parse(key).map_err(|e| e.to_string())?;
    }
    let policy = trust.policy.map(|policy| Policy::parse(&policy)).transpose();
    let policy = policy.map_err(|e| format!("policy: {e}"))?;
    let device_keys = trust.device_keys.iter().enumerate().map(|(i, key)| {
        let wrong = |reason: String| format!("device key {}: {reason}", i + 1);
        let key = <[u8; 32]>::try_from(key.as_slice())
            .map_err(|_| wrong(format!("an Ed25519 public key has 32 bytes, this has {}", key.len())))?;
        verifying_key_from_bytes(&key).map_err(|e| wrong(e.to_string()))?;
        Ok(key)
    });
    let device_keys = device_keys.collect::<Result<_, String>>()?;
    let time = (!trust.time_anchors.is_empty()).then(|| TimeTrust {
        anchors: trust.time_anchors,
        intermediates: Vec::new(),
        revocation_lists: Vec::new(),
    });
    if let Some(time) = &time {
        secure_log::stamp::check_trust(time).map_err(|e| e.to_string())?;
    }
    Ok(Trust { keys: trust.keys, policy, time, device_keys })
}

impl From<x::Standing> for w::Standing {
    fn from(standing: x::Standing) -> Self {
        match standing {
            x::Standing::Holds => Self::Holds,
            x::Standing::Broken => Self::Broken,
            x::Standing::NotChecked => Self::NotChecked,
        }
    }
}

impl From<x::Item> for w::Item {
    fn from(item: x::Item) -> Self {
        Self {
            index: item.index,
            line: item.line,
            stream_id: item.stream_id,
            seqno: item.seqno,
            time_ms: item.time_ms,
            event_type: item.event_type,
            severity: item.severity.map(Into::into),
            producer: item.producer,
            software_version: item.software_version,
            hash: item.hash.to_vec(),
            prev_hash: item.prev_hash.to_vec(),
            payload: item.payload,
            standing: item.standing.into(),
            segment_id: item.segment_id,
            claimed_ms: item.claimed_ms,
            trusted_ms: item.trusted_ms,
        }
    }
}

impl From<x::StreamSummary> for w::StreamSummary {
    fn from(stream: x::StreamSummary) -> Self {
        let segments = stream.segments.into_iter().map(|mark| w::SegmentMark {
            segment_id: mark.segment_id,
            first_seqno: mark.first_seqno,
            last_seqno: mark.last_seqno,
            root: mark.root.to_vec(),
            checkpoint: mark.checkpoint,
        });
        Self {
            stream_id: stream.stream_id,
            first_item: stream.first_item,
            items: stream.items,
            first_ms: stream.first_ms,
            last_ms: stream.last_ms,
            gaps: stream.gaps,
            segments: segments.collect(),
            standing: stream.standing.into(),
        }
    }
}

impl From<x::Summary> for w::Summary {
    fn from(summary: x::Summary) -> Self {
        let findings = summary.findings.into_iter().map(|finding| w::Finding {
            text: finding.text,
            item: finding.item,
            line: finding.line,
        });
        let signatures = summary.signatures.into_iter().map(|signature| w::Signature {
            of: signature.of,
            by: signature.by,
            time_ms: signature.time_ms,
            standing: signature.standing.into(),
        });
        let counts = summary.counts.into_iter().map(|c| w::Count { what: c.what, number: c.number });
        Self {
            kind: match summary.kind {
                x::DocumentKind::LogExport => w::DocumentKind::LogExport,
                x::DocumentKind::EvidenceBundle => w::DocumentKind::EvidenceBundle,
                x::DocumentKind::ProofFile => w::DocumentKind::ProofFile,
                x::DocumentKind::Records => w::DocumentKind::Records,
            },
            origin: summary.origin,
            standing: summary.standing.into(),
            findings: findings.collect(),
            streams: summary.streams.into_iter().map(Into::into).collect(),
            signatures: signatures.collect(),
            counts: counts.collect(),
            not_checked: summary.not_checked,
        }
    }
}

impl From<x::MerklePath> for w::MerklePath {
    fn from(path: x::MerklePath) -> Self {
        let steps = |steps: Vec<Step>| {
            let steps = steps.into_iter().map(|step| w::PathStep {
                hash: step.sibling.to_vec(),
                left: step.left,
                parent: step.parent.to_vec(),
            });
            steps.collect()
        };
        Self {
            leaf: path.leaf.to_vec(),
            steps: steps(path.steps),
            root: path.root.to_vec(),
            segment_id: path.segment_id,
            log_leaf: path.log_leaf.map(|leaf| leaf.to_vec()),
            log_steps: steps(path.log_steps),
            log_root: path.log_root.to_vec(),
            checkpoint: path.checkpoint,
            note: path.note,
        }
    }
}

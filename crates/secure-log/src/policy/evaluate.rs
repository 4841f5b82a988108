//! What a note has of what a policy asks for.

use std::fmt;

use super::{Member, Octets, Policy};
use crate::error::{Error, Result};
use crate::note::{CheckpointBody, Note};

/// A witness of the policy that cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// Its name in the policy.
    pub name: Octets,
    /// When, seconds since the Unix epoch, by its own clock.
    pub time: u64,
}

/// What is missing to a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// This witness.
    Witness(Octets),
    /// More members of this group.
    Group {
        /// Its name.
        name: Octets,
        /// How many members more, at least 1.
        more: usize,
        /// Those that would do.
        of: Vec<Missing>,
    },
}

/// A note measured by a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether a log of the policy signed the note; `false` only where the policy names no logs, so
    /// that the signature is still to be checked by keys from elsewhere.
    pub log_checked: bool,
    /// The policy's witnesses that cosigned, in its order.
    pub cosigned: Vec<Witnessed>,
    /// The policy's witnesses that did not.
    pub absent: Vec<Octets>,
    /// Name of the quorum; `None` where the policy requires no witness.
    pub quorum: Option<Octets>,
    /// What is missing to it; `None`: it is met.
    pub missing: Option<Missing>,
}

impl Status {
    /// Whether the quorum is met.
    pub fn is_satisfied(&self) -> bool {
        self.missing.is_none()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Witness(name) => write!(f, "{name}"),
            Self::Group { name, more, of } => {
                write!(f, "{more} more of {name} (")?;
                for (i, missing) in of.iter().enumerate() {
                    write!(f, "{}{missing}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Status {
    /// One line for an operator: `witnessed: …` or `degraded: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.quorum, &self.missing) {
            (None, _) => f.write_str("not witnessed: the policy requires no witness")?,
            (Some(quorum), None) => write!(f, "witnessed: the quorum {quorum} is met")?,
            (Some(quorum), Some(missing)) => write!(f, "degraded: the quorum {quorum} misses {missing}")?,
        }
        f.write_str("; cosigned by ")?;
        if self.cosigned.is_empty() {
            f.write_str("nobody")?;
        }
        for (i, w) in self.cosigned.iter().enumerate() {
            write!(f, "{}{} at {}", if i == 0 { "" } else { ", " }, w.name, w.time)?;
        }
        if !self.log_checked {
            f.write_str("; the log's own signature was not checked (the policy names no logs)")?;
        }
        Ok(())
    }
}

impl Policy {
    /// Measures a checkpoint note: verifies the log's signature, if the policy names logs, and the
    /// cosignatures by its witnesses. A signature by a known key that fails rejects the note
    /// (`Corrupt`), one by no log of the policy is `Denied`; too few cosignatures are no error here.
    pub fn evaluate(&self, note: &Note) -> Result<Status> {
        let body = CheckpointBody::parse(&note.text)?;
        let log_checked = !self.log_keys.is_empty();
        if log_checked {
            note.verify_origin(&body.origin, &self.log_keys)?;
        }
        let found = note.cosignatures(&self.witness_keys)?.cosignatures;
        let time_of = |i: usize| {
            let key = &self.witness_keys[i];
            found.iter().find(|c| c.name == key.name() && c.id == key.id()).map(|c| c.time)
        };
        let times: Vec<_> = (0..self.witnesses.len()).map(time_of).collect();
        let (mut cosigned, mut absent) = (Vec::new(), Vec::new());
        for (line, time) in self.witnesses.iter().zip(&times) {
            match time {
                Some(time) => cosigned.push(Witnessed { name: line.name.clone(), time: *time }),
                None => absent.push(line.name.clone()),
            }
        }
        let missing = self.quorum.and_then(|quorum| self.missing(quorum, &times));
        Ok(Status { log_checked, cosigned, absent, quorum: self.quorum().cloned(), missing })
    }

    /// [`evaluate`](Self::evaluate), and `Denied` with the status as its text while the quorum is not
    /// met.
    pub fn require(&self, note: &Note) -> Result<Status> {
        let status = self.evaluate(note)?;
        match status.is_satisfied() {
            true => Ok(status),
            false => Err(Error::Denied(format!("witness policy: {status}"))),
        }
    }

    /// Groups hold only what was defined before them, and nothing twice: this ends, soon.
    fn missing(&self, member: Member, times: &[Option<u64>]) -> Option<Missing> {
        match member {
            Member::Witness(i) => {
                times[i].is_none().then(|| Missing::Witness(self.witnesses[i].name.clone()))
            }
            Member::Group(i) => {
                let group = &self.groups[i];
                let of: Vec<_> = group.members.iter().filter_map(|m| self.missing(*m, times)).collect();
                let met = group.members.len() - of.len();
                let more = group.needed().saturating_sub(met);
                (more > 0).then(|| Missing::Group { name: group.name.clone(), more, of })
            }
        }
    }
}

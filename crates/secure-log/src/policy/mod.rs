//! C2SP trust policies: whose signatures make a checkpoint count.
//!
//! Rules: c2sp.org/tlog-policy. A policy names logs, witnesses and the quorum of witnesses, a
//! k-of-n tree of groups. [`Policy::evaluate`] says of a note which witnesses cosigned it and what
//! is missing, [`Policy::require`] refuses it while anything is.

mod evaluate;
mod parse;

use std::fmt;

use crate::cosignature::CosignerKey;
use crate::error::Error;
use crate::note::VerifierKey;

pub use evaluate::{Missing, Status, Witnessed};

/// Most bytes of a policy file.
pub const MAX_POLICY: usize = 1 << 20;
/// Most logs, most witnesses and most groups of a policy (tlog-policy asks for at least 32): all of
/// one policy's cosignatures fit into one note.
pub const MAX_ITEMS: usize = 64;

/// A name or URL of a policy file: bytes that are compared as they are (tlog-policy, "Character set").
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Octets(Vec<u8>);

impl Octets {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for Octets {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Octets {
    /// For people: what is not UTF-8 is replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A member of a group, or the quorum: index into the witnesses or the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug)]
struct WitnessLine {
    name: Octets,
    url: Option<Octets>,
}

#[derive(Debug)]
struct Group {
    name: Octets,
    /// As it was written.
    threshold: Threshold,
    /// Only witnesses and groups that were defined before.
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threshold {
    Any,
    All,
    AtLeast(usize),
}

impl Group {
    fn needed(&self) -> usize {
        match self.threshold {
            Threshold::Any => 1,
            Threshold::All => self.members.len(),
            Threshold::AtLeast(k) => k,
        }
    }
}

/// A parsed policy. Every name it uses is defined, every threshold can be met.
#[derive(Debug)]
pub struct Policy {
    log_keys: Vec<VerifierKey>,
    log_urls: Vec<Option<Octets>>,
    witness_keys: Vec<CosignerKey>,
    witnesses: Vec<WitnessLine>,
    groups: Vec<Group>,
    /// `None`: `quorum none`.
    quorum: Option<Member>,
}

/// A witness of a policy.
#[derive(Debug, Clone, Copy)]
pub struct PolicyWitness<'a> {
    /// Its name in the policy; it means nothing outside.
    pub name: &'a Octets,
    /// Its key.
    pub key: &'a CosignerKey,
    /// Where it takes submissions: the submission prefix of tlog-witness.
    pub url: Option<&'a Octets>,
}

impl Policy {
    /// Keys of the logs whose checkpoints are accepted; a key bears the log's origin as its name.
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// The same with their URLs.
    pub fn logs(&self) -> impl Iterator<Item = (&VerifierKey, Option<&Octets>)> {
        self.log_keys.iter().zip(self.log_urls.iter().map(Option::as_ref))
    }

    /// The witnesses, in the order of the file.
    pub fn witnesses(&self) -> impl Iterator<Item = PolicyWitness<'_>> {
        self.witnesses.iter().zip(&self.witness_keys).map(|(line, key)| PolicyWitness {
            name: &line.name,
            key,
            url: line.url.as_ref(),
        })
    }

    /// Keys of the witnesses.
    pub fn witness_keys(&self) -> &[CosignerKey] {
        &self.witness_keys
    }

    /// Name of the quorum; `None` where no cosignature is required.
    pub fn quorum(&self) -> Option<&Octets> {
        self.quorum.map(|member| self.member_name(member))
    }

    fn member_name(&self, member: Member) -> &Octets {
        match member {
            Member::Witness(i) => &self.witnesses[i].name,
            Member::Group(i) => &self.groups[i].name,
        }
    }

    /// The policy as a file: logs, witnesses, groups, quorum, without comments. Bytes, since names
    /// need not be UTF-8.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |words: &[&[u8]]| {
            out.extend(words.join(&b' '));
            out.push(b'\n');
        };
        let url = |url: Option<&Octets>| url.map(|u| [b" ", u.as_bytes()].concat()).unwrap_or_default();
        for (key, at) in self.logs() {
            line(&[b"log", &[key.to_string().as_bytes(), &url(at)].concat()]);
        }
        for w in self.witnesses() {
            line(&[b"witness", w.name.as_bytes(), &[w.key.to_string().as_bytes(), &url(w.url)].concat()]);
        }
        for group in &self.groups {
            let threshold = match group.threshold {
                Threshold::Any => "any".to_owned(),
                Threshold::All => "all".to_owned(),
                Threshold::AtLeast(k) => k.to_string(),
            };
            let mut words = vec![&b"group"[..], group.name.as_bytes(), threshold.as_bytes()];
            words.extend(group.members.iter().map(|m| self.member_name(*m).as_bytes()));
            line(&words);
        }
        line(&[b"quorum", self.quorum().map_or(b"none", Octets::as_bytes)]);
        out
    }
}

/// Verifier keys of a log: those that a caller trusts or, if there are none, those of the policy's logs.
pub fn keys_that_count(trusted: &[String], policy: Option<&Policy>) -> Vec<String> {
    match (trusted, policy) {
        ([], Some(policy)) => policy.log_keys().iter().map(ToString::to_string).collect(),
        _ => trusted.to_vec(),
    }
}

/// Why a policy file was refused: the line, counted from 1, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The line; `None` where it is about the file.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Longer than [`MAX_POLICY`].
    TooLong,
    /// More than [`MAX_ITEMS`] of this.
    TooMany(&'static str),
    /// The last line has no newline: the file may have been cut off.
    Unterminated,
    /// A control character other than tab and newline.
    ControlCharacter(u8),
    /// A line that does not begin with `log`, `witness`, `group` or `quorum`.
    UnknownKeyword(Octets),
    /// Words are missing or left over: what the line looks like.
    Form(&'static str),
    /// Not a verifier key of the type that a log or a witness has; says why.
    Key(String),
    /// Two logs, or two witnesses, with the same public key.
    DuplicateKey(String),
    /// A name that is already defined, or `none`.
    DuplicateName(Octets),
    /// A name that no line above defines.
    UndefinedName(Octets),
    /// `none` as a member of a group.
    NoneAsMember,
    /// A name that is a member of a group already: a witness counts in one way only.
    AlreadyMember(Octets),
    /// Not `any`, `all` or a decimal from 1 to the number of members.
    Threshold(Octets),
    /// A second `quorum` line.
    SecondQuorum,
    /// No `quorum` line.
    NoQuorum,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &self.problem {
            Problem::TooLong => write!(f, "longer than {MAX_POLICY} bytes"),
            Problem::TooMany(what) => write!(f, "more than {MAX_ITEMS} {what}"),
            Problem::Unterminated => f.write_str("does not end with a newline: is the file complete?"),
            Problem::ControlCharacter(c) => write!(f, "control character 0x{c:02x}"),
            Problem::UnknownKeyword(word) => {
                write!(f, "{word:?} is none of log, witness, group and quorum")
            }
            Problem::Form(form) => write!(f, "is not of the form `{form}`"),
            Problem::Key(reason) => f.write_str(reason),
            Problem::DuplicateKey(key) => write!(f, "the public key of {key} is there already"),
            Problem::DuplicateName(name) => write!(f, "the name {name:?} is taken"),
            Problem::UndefinedName(name) => write!(f, "{name:?} is not defined on a line above"),
            Problem::NoneAsMember => f.write_str("`none` cannot be a member of a group"),
            Problem::AlreadyMember(name) => write!(f, "{name:?} is a member of a group already"),
            Problem::Threshold(word) => {
                write!(f, "{word:?} is none of `any`, `all` and 1 to the number of members")
            }
            Problem::SecondQuorum => f.write_str("there is a quorum already"),
            Problem::NoQuorum => f.write_str("has no quorum line (`quorum none` requires no witness)"),
        }
    }
}

impl std::error::Error for PolicyError {}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::invalid("policy", error.to_string())
    }
}

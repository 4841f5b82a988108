//! Reading a policy file.

use std::collections::{HashMap, HashSet};

use super::{
    Group, MAX_ITEMS, MAX_POLICY, Member, Octets, Policy, PolicyError, Problem, Threshold, WitnessLine,
};
use crate::cosignature::CosignerKey;
use crate::error::Error;
use crate::note::VerifierKey;
use crate::wire::decimal;

const LOG: &str = "log <vkey> [<url>]";
const WITNESS: &str = "witness <name> <vkey> [<url>]";
const GROUP: &str = "group <name> all|any|<k> <name>...";
const QUORUM: &str = "quorum <name>|none";

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).collect()
}

fn octets(word: &[u8]) -> Octets {
    Octets(word.to_vec())
}

/// A verifier key; what is wrong with it is the reason alone, since the line is named.
fn key<K>(word: &[u8], parse: impl Fn(&str) -> crate::Result<K>) -> Result<K, Problem> {
    let text = std::str::from_utf8(word)
        .map_err(|_| Problem::Key(format!("the key {:?} is not UTF-8", octets(word))))?;
    parse(text).map_err(|e| match e {
        Error::Invalid(i) => Problem::Key(format!("{}: {}", i.field, i.reason)),
        other => Problem::Key(other.to_string()),
    })
}

struct Builder {
    policy: Policy,
    quorum_seen: bool,
    names: HashMap<Vec<u8>, Member>,
    members: HashSet<Vec<u8>>,
}

impl Builder {
    fn define(&mut self, name: &[u8], member: Member) -> Result<(), Problem> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(Problem::DuplicateName(octets(name)));
        }
        self.names.insert(name.to_vec(), member);
        Ok(())
    }

    fn look_up(&self, name: &[u8]) -> Result<Member, Problem> {
        self.names.get(name).copied().ok_or_else(|| Problem::UndefinedName(octets(name)))
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), Problem> {
        let (text, url) = match words {
            [key] => (key, None),
            [key, url] => (key, Some(octets(url))),
            _ => return Err(Problem::Form(LOG)),
        };
        let p = &mut self.policy;
        let key = key(text, VerifierKey::parse)?;
        if p.log_keys.iter().any(|k| k.public_key() == key.public_key()) {
            return Err(Problem::DuplicateKey(key.to_string()));
        }
        if p.log_keys.len() == MAX_ITEMS {
            return Err(Problem::TooMany("logs"));
        }
        p.log_keys.push(key);
        p.log_urls.push(url);
        Ok(())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), Problem> {
        let (name, text, url) = match words {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(octets(url))),
            _ => return Err(Problem::Form(WITNESS)),
        };
        let key = key(text, CosignerKey::parse)?;
        self.define(name, Member::Witness(self.policy.witnesses.len()))?;
        let p = &mut self.policy;
        if p.witness_keys.iter().any(|k| k.public_key() == key.public_key()) {
            return Err(Problem::DuplicateKey(key.to_string()));
        }
        if p.witness_keys.len() == MAX_ITEMS {
            return Err(Problem::TooMany("witnesses"));
        }
        p.witness_keys.push(key);
        p.witnesses.push(WitnessLine { name: octets(name), url });
        Ok(())
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), Problem> {
        let [name, threshold, names @ ..] = words else { return Err(Problem::Form(GROUP)) };
        if names.is_empty() {
            return Err(Problem::Form(GROUP));
        }
        let bad = || Problem::Threshold(octets(threshold));
        let threshold = match *threshold {
            b"any" => Threshold::Any,
            b"all" => Threshold::All,
            k => {
                let k = std::str::from_utf8(k).ok().and_then(decimal).ok_or_else(bad)?;
                let k = usize::try_from(k).map_err(|_| bad())?;
                if k == 0 || k > names.len() {
                    return Err(bad());
                }
                Threshold::AtLeast(k)
            }
        };
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            if *name == b"none" {
                return Err(Problem::NoneAsMember);
            }
            members.push(self.look_up(name)?);
            if !self.members.insert(name.to_vec()) {
                return Err(Problem::AlreadyMember(octets(name)));
            }
        }
        self.define(name, Member::Group(self.policy.groups.len()))?;
        if self.policy.groups.len() == MAX_ITEMS {
            return Err(Problem::TooMany("groups"));
        }
        self.policy.groups.push(Group { name: octets(name), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, words: &[&[u8]]) -> Result<(), Problem> {
        let [name] = words else { return Err(Problem::Form(QUORUM)) };
        if self.quorum_seen {
            return Err(Problem::SecondQuorum);
        }
        self.quorum_seen = true;
        self.policy.quorum = match *name {
            b"none" => None,
            name => Some(self.look_up(name)?),
        };
        Ok(())
    }
}

impl Policy {
    /// Parses a policy file. Stricter than some: the last line ends with a newline too (a file cut
    /// off in the middle of a name must not mean another policy), and there are no comments after
    /// the words of a line. Keys of witnesses are of type 0x04.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let whole = |problem| PolicyError { line: None, problem };
        if file.len() > MAX_POLICY {
            return Err(whole(Problem::TooLong));
        }
        let mut builder = Builder {
            policy: Self {
                log_keys: Vec::new(),
                log_urls: Vec::new(),
                witness_keys: Vec::new(),
                witnesses: Vec::new(),
                groups: Vec::new(),
                quorum: None,
            },
            quorum_seen: false,
            names: HashMap::new(),
            members: HashSet::new(),
        };
        for (number, line) in file.split_inclusive(|b| *b == b'\n').enumerate() {
            let at = |problem| PolicyError { line: Some(number + 1), problem };
            let line = line.strip_suffix(b"\n").ok_or_else(|| at(Problem::Unterminated))?;
            if let Some(c) = line.iter().find(|c| (**c < b' ' && **c != b'\t') || **c == 0x7f) {
                return Err(at(Problem::ControlCharacter(*c)));
            }
            let words = words(line);
            let Some((keyword, rest)) = words.split_first() else { continue };
            match *keyword {
                comment if comment.starts_with(b"#") => Ok(()),
                b"log" => builder.log(rest),
                b"witness" => builder.witness(rest),
                b"group" => builder.group(rest),
                b"quorum" => builder.quorum(rest),
                other => Err(Problem::UnknownKeyword(octets(other))),
            }
            .map_err(at)?;
        }
        if !builder.quorum_seen {
            return Err(whole(Problem::NoQuorum));
        }
        Ok(builder.policy)
    }
}

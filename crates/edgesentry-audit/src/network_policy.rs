//! Who may connect at all: addresses and blocks, checked before anything is read or verified.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// Why a source is refused, or a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkPolicyError {
    /// No rule allows the address.
    #[error("source {ip} is not allowed")]
    Denied {
        /// The address.
        ip: IpAddr,
    },
    /// The text is no block in CIDR notation.
    #[error("{text:?} is not a block of addresses such as 10.0.0.0/8 or 2001:db8::/32")]
    InvalidCidr {
        /// The text.
        text: String,
    },
    /// The text is neither an address nor a block.
    #[error("{text:?} is neither an address such as 10.1.2.3 nor a block such as 10.0.0.0/8")]
    InvalidSource {
        /// The text.
        text: String,
    },
}

/// One rule. IPv6 addresses that hold an IPv4 address (`::ffff:10.1.2.3`, and blocks of them) count as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AllowedSource {
    /// One address.
    Ip(IpAddr),
    /// All addresses of a block.
    Cidr(IpNet),
}

impl AllowedSource {
    fn ip(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }

    fn cidr(text: &str) -> Option<Self> {
        let net = text.parse::<IpNet>().ok()?.trunc();
        if let IpNet::V6(v6) = net
            && let (Some(v4), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
        {
            return Ipv4Net::new(v4, prefix).ok().map(|net| Self::Cidr(net.into()));
        }
        Some(Self::Cidr(net))
    }

    /// Whether the rule allows `ip`.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match self {
            Self::Ip(allowed) => *allowed == ip,
            Self::Cidr(net) => net.contains(&ip),
        }
    }
}

impl FromStr for AllowedSource {
    type Err = NetworkPolicyError;

    /// An address or a block.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(ip) => Ok(Self::ip(ip)),
            Err(_) => {
                Self::cidr(text).ok_or_else(|| NetworkPolicyError::InvalidSource { text: text.to_owned() })
            }
        }
    }
}

impl fmt::Display for AllowedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Cidr(net) => net.fmt(f),
        }
    }
}

/// Addresses and blocks that may connect; all others may not, and without a rule nobody may.
///
/// IPv4 and IPv6 are kept apart: `::/0` allows no IPv4 source. An IPv4 source that a dual-stack socket shows as
/// `::ffff:10.1.2.3` is the IPv4 source.
///
/// ```
/// use edgesentry_audit::NetworkPolicy;
///
/// let mut policy = NetworkPolicy::new();
/// policy.allow_cidr("10.0.0.0/8")?;
/// policy.check("10.1.2.3".parse()?)?;
/// assert!(policy.check("192.0.2.1".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkPolicy {
    allowed: Vec<AllowedSource>,
}

impl NetworkPolicy {
    /// Allows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows one address.
    pub fn allow_ip(&mut self, ip: IpAddr) {
        self.add(AllowedSource::ip(ip));
    }

    /// Allows a block, `10.0.0.0/8` or `2001:db8::/32`. Host bits in it do not matter.
    pub fn allow_cidr(&mut self, cidr: &str) -> Result<(), NetworkPolicyError> {
        let net = AllowedSource::cidr(cidr);
        self.add(net.ok_or_else(|| NetworkPolicyError::InvalidCidr { text: cidr.to_owned() })?);
        Ok(())
    }

    /// Allows an address or a block, whichever the text is.
    pub fn allow(&mut self, source: &str) -> Result<(), NetworkPolicyError> {
        self.add(source.parse()?);
        Ok(())
    }

    fn add(&mut self, source: AllowedSource) {
        if !self.allowed.contains(&source) {
            self.allowed.push(source);
        }
    }

    /// The rules.
    pub fn allowed(&self) -> &[AllowedSource] {
        &self.allowed
    }

    /// Refuses a source that no rule allows.
    pub fn check(&self, ip: IpAddr) -> Result<(), NetworkPolicyError> {
        match self.allowed.iter().any(|source| source.allows(ip)) {
            true => Ok(()),
            false => Err(NetworkPolicyError::Denied { ip }),
        }
    }
}

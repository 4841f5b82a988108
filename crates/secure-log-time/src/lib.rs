#![doc = include_str!("../README.md")]

mod asn1;
mod certificate;
mod chain;
mod error;
mod gaps;
mod imprint;
mod info;
mod oids;
mod request;
mod response;
mod revocation;
mod signature;
mod signed;
mod time;
mod token;
mod verify;

pub use asn1::DerError;
pub use certificate::Certificate;
pub use der::asn1::ObjectIdentifier;
pub use error::{Role, VerifyError};
pub use gaps::{Gap, Gaps, Times, Violation};
pub use imprint::{Hash, Imprint};
pub use info::Info;
pub use request::{REQUEST_TYPE, Request};
pub use response::{AcceptError, Failure, RESPONSE_TYPE, Status, Token, accept};
pub use revocation::RevocationList;
pub use time::Time;
pub use token::MAX_TOKEN;
pub use verify::{Options, Stamped, Trust, Unchecked, Verified, verify};

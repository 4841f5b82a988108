//! What certificates and revocation lists have in common: content, algorithm, signature (RFC 5280 §4.1, §5.1).

use der::Tag;

use crate::asn1::{DerError, Fields, encoding, malformed, primitive, whole};

/// Content and signature, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// What is signed, in DER.
    pub content: Vec<u8>,
    /// AlgorithmIdentifier in DER.
    pub algorithm: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Signed {
    pub fn read(bytes: &[u8], what: &'static str) -> Result<Self, DerError> {
        let mut fields = Fields::sequence(whole(bytes, what)?, what)?;
        let content = encoding(fields.next(what)?, what)?;
        let algorithm = encoding(fields.next("signatureAlgorithm")?, "signatureAlgorithm")?;
        let signature = match primitive(fields.next("signature")?, Tag::BitString, "signature")? {
            [0, bytes @ ..] => bytes.to_vec(),
            _ => return Err(malformed("signature", "not whole bytes")),
        };
        fields.end()?;
        Ok(Self { content, algorithm, signature })
    }
}

/// The contents of all blocks of this label in a PEM file; what stands around them is passed over.
pub(crate) fn pem_blocks(file: &[u8], label: &str, what: &'static str) -> Result<Vec<Vec<u8>>, DerError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    // The text around them may be in any encoding.
    let text = String::from_utf8_lossy(file);
    let mut all = Vec::new();
    let mut rest = text.as_ref();
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end).ok_or_else(|| malformed(what, "PEM without an end"))?;
        rest = after;
        // Lines of any length, as others read them too.
        let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let mut pem = begin.as_bytes().to_vec();
        for line in digits.chunks(64) {
            pem.push(b'\n');
            pem.extend(line);
        }
        pem.extend([b"\n", end.as_bytes()].concat());
        all.push(der::pem::decode_vec(&pem).map_err(|e| malformed(what, e))?.1);
    }
    Ok(all)
}

//! What openssl does not make, made by hand.

use secure_log_time::Hash;

use super::{MESSAGE, Pki};

pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        0..128 => out.push(content.len() as u8),
        128..256 => out.extend([0x81, content.len() as u8]),
        _ => out.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
    }
    out.extend(content);
    out
}

/// A TSTInfo for [`MESSAGE`] with this time and these further fields.
pub fn info(time: &str, further: &[&[u8]]) -> Vec<u8> {
    let digest = Hash::Sha256.digest(MESSAGE);
    let sha256 = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    let imprint = tlv(0x30, &[&tlv(0x30, &[&sha256]), &tlv(0x04, &[&digest])]);
    let policy = [0x06, 0x03, 0x2a, 0x03, 0x04];
    let time = tlv(0x18, &[time.as_bytes()]);
    let parts: Vec<&[u8]> = [&[0x02, 0x01, 0x01][..], &policy, &imprint, &[0x02, 0x01, 0x2a], &time]
        .into_iter()
        .chain(further.iter().copied())
        .collect();
    tlv(0x30, &parts)
}

impl Pki {
    /// A token signed with Ed25519, whose content and attributes are hashed so.
    pub fn ed25519_token(&self, signer: &str, content: &[u8], hash: Hash) -> Vec<u8> {
        let certificate = self.load(signer);
        let pkcs9 = |last: &[u8]| tlv(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09], last]);
        let digest = match hash {
            Hash::Sha256 => tlv(0x30, &[&tlv(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 2, 1]])]),
            _ => tlv(0x30, &[&tlv(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 2, 3]])]),
        };
        let attribute = |name: &[u8], value: &[u8]| tlv(0x30, &[name, &tlv(0x31, &[value])]);
        let kind = pkcs9(&[0x10, 0x01, 0x04]);
        let bound = tlv(0x30, &[&tlv(0x04, &[&Hash::Sha256.digest(certificate.der())])]);
        let bound = tlv(0x30, &[&tlv(0x30, &[&bound])]);
        let mut attributes = [
            attribute(&pkcs9(&[3]), &kind),
            attribute(&pkcs9(&[0x10, 0x02, 0x2f]), &bound),
            attribute(&pkcs9(&[4]), &tlv(0x04, &[&hash.digest(content)])),
        ];
        attributes.sort();
        let attributes = attributes.concat();
        self.write("signed", &tlv(0x31, &[&attributes]));
        let key = format!("{signer}.key");
        self.openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", &key, "-in", "signed", "-out", "signature"]);
        let name =
            |name: &str| tlv(0x31, &[&tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(0x0c, &[name.as_bytes()])])]);
        let issuer = tlv(0x30, &[&name("root")]);
        let signer = tlv(
            0x30,
            &[
                &[2, 1, 1],
                &tlv(0x30, &[&issuer, &tlv(0x02, &[certificate.serial()])]),
                &digest,
                &tlv(0xa0, &[&attributes]),
                &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
                &tlv(0x04, &[&self.read("signature")]),
            ],
        );
        let content = tlv(0x30, &[&kind, &tlv(0xa0, &[&tlv(0x04, &[content])])]);
        let parts: [&[u8]; 5] = [
            &[2, 1, 3],
            &tlv(0x31, &[&digest]),
            &content,
            &tlv(0xa0, &[certificate.der()]),
            &tlv(0x31, &[&signer]),
        ];
        let signed_data = tlv(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02]]);
        let token = tlv(0x30, &[&signed_data, &tlv(0xa0, &[&tlv(0x30, &parts)])]);
        self.write("token.der", &token);
        token
    }
}

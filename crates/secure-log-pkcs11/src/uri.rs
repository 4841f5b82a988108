//! Names of keys: PKCS #11 URIs (RFC 7512), or plain labels.

use std::fmt;

use crate::token::TokenInfo;

/// Longest plain label in bytes.
const MAX_LABEL: usize = 255;
/// Longest URI in bytes.
const MAX_URI: usize = 2_048;
/// Longest CKA_ID in bytes.
const MAX_ID: usize = 64;

/// Which key on which token.
///
/// `pkcs11:token=prod;object=audit`, `pkcs11:token=prod;id=%01`, or a plain label, which is a key of that label on the
/// only token. Where the PIN comes from and which module is called is not for a name to say: those attributes are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUri {
    /// `token`: label of the token.
    pub token: Option<String>,
    /// `serial`: serial number of the token.
    pub serial: Option<String>,
    /// `manufacturer` of the token.
    pub manufacturer: Option<String>,
    /// `model` of the token.
    pub model: Option<String>,
    /// `object`: label of the key (CKA_LABEL).
    pub object: Option<String>,
    /// `id` of the key (CKA_ID).
    pub id: Option<Vec<u8>>,
}

/// Why a name is none of a key on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriError(String);

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UriError {}

fn wrong<T>(reason: impl Into<String>) -> Result<T, UriError> {
    Err(UriError(reason.into()))
}

impl KeyUri {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// Says which attribute is wrong.
    pub fn parse(name: &str) -> Result<Self, UriError> {
        let Some(attributes) = name.strip_prefix("pkcs11:") else { return Self::label(name) };
        if name.len() > MAX_URI {
            return wrong(format!("the key's URI has {} bytes; at most {MAX_URI}", name.len()));
        }
        let (path, query) = attributes.split_once('?').map_or((attributes, None), |(p, q)| (p, Some(q)));
        if let Some(query) = query {
            let attribute = query.split(['=', '&']).next().unwrap_or_default();
            return wrong(format!(
                "the key's URI has the attribute {attribute:?} after the `?`: the PIN comes from the PIN provider and \
                 the module from the host; a name has neither"
            ));
        }
        let mut uri = Self::default();
        for attribute in path.split(';') {
            uri.add(attribute)?;
        }
        if uri.object.is_none() && uri.id.is_none() {
            return wrong("the key's URI names no key: it needs `object=` or `id=`");
        }
        Ok(uri)
    }

    /// Whether a token is one that the name means.
    pub fn fits(&self, info: &TokenInfo) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        fits(&self.token, &info.label)
            && fits(&self.serial, &info.serial)
            && fits(&self.manufacturer, &info.manufacturer)
            && fits(&self.model, &info.model)
    }

    fn label(name: &str) -> Result<Self, UriError> {
        match name.len() {
            0 => wrong("the key's name is empty"),
            1..=MAX_LABEL => Ok(Self { object: Some(name.to_owned()), ..Self::default() }),
            length => wrong(format!("the key's name has {length} bytes; at most {MAX_LABEL}")),
        }
    }

    fn add(&mut self, attribute: &str) -> Result<(), UriError> {
        let Some((name, value)) = attribute.split_once('=') else {
            return wrong(format!("the key's URI: {attribute:?} is not `attribute=value`"));
        };
        let bytes = decode(name, value)?;
        if name == "id" {
            if bytes.is_empty() || bytes.len() > MAX_ID {
                return wrong(format!("the key's URI: `id` has {} bytes; 1 to {MAX_ID}", bytes.len()));
            }
            return set(&mut self.id, name, bytes);
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return wrong(format!("the key's URI: `{name}` is not UTF-8"));
        };
        if text.is_empty() || text.len() > MAX_LABEL {
            return wrong(format!("the key's URI: `{name}` has {} bytes; 1 to {MAX_LABEL}", text.len()));
        }
        match name {
            "token" => set(&mut self.token, name, text),
            "serial" => set(&mut self.serial, name, text),
            "manufacturer" => set(&mut self.manufacturer, name, text),
            "model" => set(&mut self.model, name, text),
            "object" => set(&mut self.object, name, text),
            "type" if text == "private" => Ok(()),
            "type" => wrong(format!("the key's URI: `type={text}`, but only private keys sign")),
            other => wrong(format!(
                "the key's URI: `{other}` is not looked at; use token, serial, manufacturer, model, object, id"
            )),
        }
    }
}

fn set<T>(field: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => wrong(format!("the key's URI has `{name}` twice")),
    }
}

/// Percent-decoding (RFC 3986 §2.1). What a path attribute may hold unescaped is in RFC 7512 §2.3.
fn decode(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high << 4 | low) as u8,
                    _ => {
                        return wrong(format!(
                            "the key's URI: `{name}` has a `%` without two hexadecimal digits"
                        ));
                    }
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => byte,
            _ if b"-._~:[]@!$'()*+,=&".contains(&byte) => byte,
            _ => {
                return wrong(format!(
                    "the key's URI: `{name}` has a byte 0x{byte:02x} that must be written as %{byte:02X}"
                ));
            }
        });
    }
    Ok(bytes)
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("object", &self.object),
        ];
        let given = texts.iter().filter_map(|(name, text)| Some((*name, text.as_ref()?.as_bytes())));
        let id = self.id.iter().map(|id| ("id", id.as_slice()));
        f.write_str("pkcs11:")?;
        for (i, (name, bytes)) in given.chain(id).enumerate() {
            if i > 0 {
                f.write_str(";")?;
            }
            write!(f, "{name}=")?;
            for &byte in bytes {
                let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                if plain && name != "id" {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        KeyUri::parse(name).expect_err(name).to_string()
    }

    #[test]
    fn names_of_keys() {
        let uri = KeyUri::parse("pkcs11:token=The%20Token;object=audit%3b1;id=%01%FF;type=private").unwrap();
        assert_eq!(uri.token.as_deref(), Some("The Token"));
        assert_eq!(uri.object.as_deref(), Some("audit;1"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 255][..]));
        let label = KeyUri::parse("example.com/audit log").unwrap();
        assert_eq!(label, KeyUri { object: Some("example.com/audit log".into()), ..KeyUri::default() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, part) in [
            ("", "empty"),
            ("pkcs11:", "`attribute=value`"),
            ("pkcs11:token=a", "names no key"),
            ("pkcs11:object=a;", "`attribute=value`"),
            ("pkcs11:object=a;object=b", "`object` twice"),
            ("pkcs11:object=%zz", "without two hexadecimal digits"),
            ("pkcs11:object=%4", "without two hexadecimal digits"),
            ("pkcs11:object=a b", "%20"),
            ("pkcs11:object=%FF", "not UTF-8"),
            ("pkcs11:object=", "0 bytes"),
            ("pkcs11:id=", "0 bytes"),
            ("pkcs11:object=a;slot-id=3", "`slot-id` is not looked at"),
            ("pkcs11:object=a;type=cert", "only private keys"),
            ("pkcs11:object=a?pin-value=1234", "\"pin-value\""),
            ("pkcs11:object=a?module-path=/lib/x.so", "\"module-path\""),
        ] {
            let text = refused(name);
            assert!(text.contains(part), "{name}: {text}");
            assert!(!text.contains("1234"), "{text}");
        }
        assert!(refused(&"x".repeat(256)).contains("256 bytes"));
        assert!(refused(&format!("pkcs11:object={}", "x".repeat(3_000))).contains("at most 2048"));
    }

    proptest::proptest! {
        #[test]
        fn every_uri_reads_back(token in proptest::option::of(".{1,20}"), object in ".{1,40}", id in proptest::collection::vec(0..=255_u8, 1..20)) {
            let uri = KeyUri { token, object: Some(object), id: Some(id), ..KeyUri::default() };
            proptest::prop_assert_eq!(KeyUri::parse(&uri.to_string()).unwrap(), uri);
        }

        #[test]
        fn nothing_panics(text in ".{0,80}") {
            let _ = KeyUri::parse(&text);
            let _ = KeyUri::parse(&format!("pkcs11:{text}"));
        }
    }
}

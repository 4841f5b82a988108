//! Authorities made by openssl in a temporary folder, and tokens of theirs.
#![allow(dead_code, unused_imports, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod der;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

pub use der::{info, tlv};
use secure_log_time::{
    Certificate, Hash, Imprint, Options, Request, Role, Stamped, Time, Token, Trust, VerifyError, accept,
    verify,
};

pub const MESSAGE: &[u8] = b"example.com/log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
pub const POLICY: &str = "1.3.6.1.4.1.99999.1";
pub const OTHER_POLICY: &str = "1.3.6.1.4.1.99999.2";

pub const ROOT: &str = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n";
pub const AUTHORITY: &str = "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign\n";
pub const STAMPS: &str = "basicConstraints=CA:false\nkeyUsage=critical,digitalSignature\n\
                          extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\n";

const CA_CONFIG: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
                         default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n";

/// A certificate that is to be made.
#[derive(Clone, Copy)]
pub struct Spec<'a> {
    /// As `openssl genpkey` takes it.
    pub key: &'a [&'a str],
    /// Its file's name; None: itself.
    pub issuer: Option<&'a str>,
    pub extensions: &'a str,
    pub from: &'a str,
    pub until: &'a str,
    /// Options of `openssl ca`.
    pub sign: &'a [&'a str],
}

pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const ED25519: &[&str] = &["-algorithm", "ED25519"];

pub const GOOD: Spec<'static> = Spec {
    key: P256,
    issuer: Some("root"),
    extensions: STAMPS,
    from: "20200101000000Z",
    until: "20991231235959Z",
    sign: &[],
};

pub struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    /// A folder with a root.
    pub fn new() -> Self {
        let pki = Self { folder: tempfile::tempdir().unwrap() };
        pki.write("ca.cnf", CA_CONFIG.as_bytes());
        pki.write("index.txt", b"");
        pki.certificate("root", Spec { issuer: None, extensions: ROOT, ..GOOD });
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Whether openssl succeeds, and what it says.
    pub fn try_openssl(&self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("OPENSSL_CONF")
            .output()
            .expect("openssl is needed: install the package `openssl`");
        if output.status.success() {
            return Ok(());
        }
        Err(format!("openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    pub fn openssl(&self, arguments: &[&str]) {
        self.try_openssl(arguments).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Makes NAME.key and NAME.pem; the subject is `CN=NAME`.
    pub fn certificate(&self, name: &str, spec: Spec<'_>) {
        self.named(name, name, spec);
    }

    /// The same with another subject.
    pub fn named(&self, name: &str, subject: &str, spec: Spec<'_>) {
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, csr, pem, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
        self.write(&extensions, spec.extensions.as_bytes());
        self.openssl(&[&["genpkey", "-out", &key], spec.key].concat());
        self.openssl(&["req", "-new", "-key", &key, "-subj", &format!("/CN={subject}"), "-out", &csr]);
        let issuer = spec.issuer.unwrap_or(name);
        let (issuer_key, issuer_pem) = (format!("{issuer}.key"), format!("{issuer}.pem"));
        let by: &[&str] = match spec.issuer {
            Some(_) => &["-cert", &issuer_pem, "-keyfile", &issuer_key],
            None => &["-selfsign", "-keyfile", &issuer_key],
        };
        let rest = [
            "-config",
            "ca.cnf",
            "-batch",
            "-notext",
            "-in",
            &csr,
            "-out",
            &pem,
            "-extfile",
            &extensions,
            "-startdate",
            spec.from,
            "-enddate",
            spec.until,
        ];
        self.openssl(&[&["ca"], &rest[..], by, spec.sign].concat());
    }

    pub fn load(&self, name: &str) -> Certificate {
        let pem = String::from_utf8(self.read(&format!("{name}.pem"))).unwrap();
        Certificate::from_pem(&pem).unwrap().remove(0)
    }

    pub fn trust(&self, anchors: &[&str]) -> Trust {
        Trust { anchors: anchors.iter().map(|name| self.load(name)).collect(), ..Trust::default() }
    }

    /// Makes chain.pem of these certificates.
    pub fn bundle(&self, names: &[&str]) {
        let all: Vec<u8> = names.iter().flat_map(|name| self.read(&format!("{name}.pem"))).collect();
        self.write("chain.pem", &all);
    }

    /// The response of `openssl ts` to a request, by the authority of this name. `options`: lines of its configuration.
    pub fn reply(&self, authority: &str, request: &[u8], options: &str, chain: bool) -> Vec<u8> {
        let defaults = "serial=serial.txt\ncrypto_device=builtin\nsigner_digest=sha256\ndigests=sha256,sha384,sha512\n\
                        accuracy=secs:1,millisecs:500,microsecs:100\nordering=yes\ntsa_name=yes\n\
                        ess_cert_id_chain=no\ness_cert_id_alg=sha256\n";
        let config = format!(
            "[tsa]\ndefault_tsa=t\n[t]\n{defaults}default_policy={POLICY}\nother_policies={OTHER_POLICY}\n{options}\n"
        );
        self.write("ts.cnf", config.as_bytes());
        self.write("serial.txt", b"0123456789ABCDEF");
        self.write("q.tsq", request);
        let (signer, key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let mut arguments = vec!["ts", "-reply", "-config", "ts.cnf", "-queryfile", "q.tsq", "-out", "r.tsr"];
        arguments.extend(["-signer", &signer, "-inkey", &key]);
        if chain {
            arguments.extend(["-chain", "chain.pem"]);
        }
        self.openssl(&arguments);
        self.read("r.tsr")
    }

    /// The token of `openssl ts` for [`MESSAGE`].
    pub fn token(&self, authority: &str, options: &str, chain: bool) -> Token {
        let request = request();
        let reply = self.reply(authority, &request.to_der(), options, chain);
        accept(&request, 200, Some("application/timestamp-reply"), &reply).unwrap()
    }

    /// A token made by `openssl cms` of any content.
    pub fn cms(&self, signer: &str, content: &[u8], options: &[&str]) -> Vec<u8> {
        self.write("content.der", content);
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let arguments = [
            "cms",
            "-sign",
            "-binary",
            "-nodetach",
            "-outform",
            "DER",
            "-in",
            "content.der",
            "-out",
            "token.der",
            "-signer",
            &certificate,
            "-inkey",
            &key,
        ];
        self.openssl(&[&arguments[..], options].concat());
        self.read("token.der")
    }

    /// Whether `openssl ts -verify` takes a token for [`MESSAGE`].
    pub fn openssl_verifies(&self, token: &[u8], roots: &str) -> Result<(), String> {
        self.write("t.der", token);
        self.write("message", MESSAGE);
        self.try_openssl(&[
            "ts",
            "-verify",
            "-data",
            "message",
            "-in",
            "t.der",
            "-token_in",
            "-CAfile",
            roots,
        ])
    }
}

/// Options of [`Pki::cms`] for a token as RFC 3161 wants it.
pub const AS_TOKEN: &[&str] = &["-econtent_type", "1.2.840.113549.1.9.16.1.4", "-cades"];

/// The time of tokens that `openssl cms` makes.
pub const NOW: &str = "20240731120000Z";

/// Why a token for [`MESSAGE`] is refused.
pub fn refusal(token: &[u8], trust: &Trust) -> VerifyError {
    verify(token, Stamped::Message(MESSAGE), trust, &Options::default()).unwrap_err()
}

/// The certificate of `CN=NAME`.
pub fn certificate(name: &str) -> Role {
    Role::Certificate(format!("CN={name}"))
}

/// What is said of a token whose authority has this certificate.
pub fn of_authority(spec: Spec<'_>) -> VerifyError {
    let pki = Pki::new();
    pki.certificate("tsa", spec);
    refusal(&pki.cms("tsa", &info(NOW, &[]), AS_TOKEN), &pki.trust(&["root"]))
}

/// What is said of a token whose authority's issuer has this certificate.
pub fn of_issuer(spec: Spec<'_>) -> VerifyError {
    let pki = Pki::new();
    pki.certificate("mid", spec);
    pki.certificate("tsa", Spec { issuer: Some("mid"), ..GOOD });
    let token = pki.cms("tsa", &info(NOW, &[]), &[AS_TOKEN, &["-certfile", "mid.pem"]].concat());
    refusal(&token, &pki.trust(&["root"]))
}

pub fn request() -> Request {
    Request::new(Imprint::of(Hash::Sha256, MESSAGE), 0x0123_4567_89ab_cdef)
}

pub fn now() -> Time {
    Time::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

/// Within a minute of now.
pub fn is_recent(time: Time) -> bool {
    let minute = Duration::from_secs(60);
    time <= now().after(minute) && now() <= time.after(minute)
}

//! A mosquitto of a test's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// A broker with its configuration, data and certificates in a directory of its own. It ends with the value.
pub struct Broker {
    child: Child,
    config: PathBuf,
    pub port: u16,
    pub dir: TempDir,
}

/// What a test wants of its broker.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub tls: bool,
    /// With `tls`: clients need a certificate of our authority.
    pub client_certs: bool,
    /// Further lines of configuration.
    pub more: &'a str,
    /// Access rules; anonymous clients are let in all the same.
    pub acl: Option<&'a str>,
    /// Users with their passwords. Nobody else is let in then.
    pub users: &'a [(&'a str, &'a str)],
    /// With `tls`: whom its certificate names.
    pub names: &'a [&'a str],
}

fn mosquitto() -> &'static str {
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("mosquitto is needed: run scripts/setup-mosquitto.sh")
}

impl Broker {
    pub fn start(setup: &Setup<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // As root it would change to another user, who cannot read these files.
        let mut config = String::from(
            "user root\npersistence true\nlog_dest stderr\nlog_type all\nconnection_messages true\n",
        );
        config += &format!("persistence_location {}/\n", dir.path().display());
        // Every second.
        config += "autosave_interval 1\n";
        config += "max_queued_messages 0\nmax_inflight_messages 500\n";
        config += setup.more;
        let port = free_port();
        config += &format!("\nlistener {port} 127.0.0.1\n");
        if setup.tls {
            let authority = Authority::new("Authority of the tests");
            authority.write(dir.path(), "ca");
            authority.issue(dir.path(), "server", setup.names);
            authority.issue(dir.path(), "client", &["eds"]);
            Authority::new("Another authority").write(dir.path(), "other-ca");
            config += &format!(
                "cafile {}\ncertfile {}\nkeyfile {}\n",
                path("ca.crt"),
                path("server.crt"),
                path("server.key")
            );
            if setup.client_certs {
                config += "require_certificate true\n";
            }
        }
        config += &format!("allow_anonymous {}\n", setup.users.is_empty());
        if let Some(acl) = setup.acl {
            fs::write(dir.path().join("acl"), acl).unwrap();
            config += &format!("acl_file {}\n", path("acl"));
        }
        if !setup.users.is_empty() {
            for (i, (user, password)) in setup.users.iter().enumerate() {
                let mut command = Command::new("mosquitto_passwd");
                command.arg("-b").args((i == 0).then_some("-c")).arg(path("users")).args([user, password]);
                assert!(command.status().unwrap().success());
            }
            config += &format!("password_file {}\n", path("users"));
        }
        let file = dir.path().join("mosquitto.conf");
        fs::write(&file, config).unwrap();
        let child = spawn(&file, dir.path());
        let mut broker = Self { child, config: file, port, dir };
        broker.wait();
        broker
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port with the same data.
    pub fn restart(&mut self) {
        self.child = spawn(&self.config, self.dir.path());
        self.wait();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    /// How many messages a client has acknowledged.
    pub fn acknowledged(&self, client: &str) -> usize {
        let line = format!("Received PUBACK from {client} ");
        self.log().lines().filter(|l| l.contains(&line)).count()
    }

    fn wait(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_secs(20),
                "{ended:?}: {}",
                self.log()
            );
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path, dir: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    Command::new(mosquitto())
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mosquitto does not start")
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Issues certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.crt")), &self.pem).unwrap();
    }

    fn issue(&self, dir: &Path, name: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(dir.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

//! HTTP/1.1 by hand: servers that do what no decent server does, and requests that no decent client sends.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is yes. False after [`PATIENCE`].
pub fn eventually(mut ask: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A message as it came: a request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Everything before the empty line.
    pub head: String,
    /// Everything after it.
    pub body: Vec<u8>,
}

impl Message {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (its, value) = line.split_once(':')?;
            its.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Status of an answer.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether this is a call of the method.
    pub fn calls(&self, method: &str) -> bool {
        self.body.starts_with(b"{") && self.json()["method"] == method
    }

    /// As it came.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n\r\n", &self.body].concat()
    }
}

/// An answer with its length.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads a whole message. `bodiless`: it has no body, whatever its head says.
pub fn read_message(from: &mut impl BufRead, bodiless: bool) -> io::Result<Message> {
    let mut message = Message::default();
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim_end().is_empty() {
            break;
        }
        message.head.push_str(&line);
    }
    message.head.truncate(message.head.trim_end().len());
    if bodiless {
        return Ok(message);
    }
    if message.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            from.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let start = message.body.len();
            message.body.resize(start + size + 2, 0);
            from.read_exact(&mut message.body[start..])?;
            message.body.truncate(start + size);
            if size == 0 {
                return Ok(message);
            }
        }
    }
    let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    message.body.resize(length, 0);
    from.read_exact(&mut message.body)?;
    Ok(message)
}

/// Host and port of a URL.
pub fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// A connection for requests written by hand. Reads on it end after [`PATIENCE`].
pub fn connect(url: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address(url)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// Sends these bytes on a connection of their own, and reads an answer. The far end may answer and go away before it
/// has read them all.
pub fn exchange(url: &str, request: &[u8]) -> io::Result<Message> {
    let mut connection = connect(url);
    let sent = connection.get_mut().write_all(request);
    let answered = read_message(&mut connection, request.starts_with(b"HEAD "));
    answered.or_else(|error| sent.and(Err(error)))
}

/// One connection to a [`Fake`].
pub struct Caller {
    /// The connection.
    pub stream: BufReader<TcpStream>,
    seen: Arc<Mutex<Vec<Message>>>,
    stop: Arc<AtomicBool>,
}

impl Caller {
    /// Reads the request, and keeps it for [`Fake::seen`].
    pub fn request(&mut self) -> io::Result<Message> {
        let request = read_message(&mut self.stream, false)?;
        self.seen.lock().unwrap().push(request.clone());
        Ok(request)
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends these bytes again and again, until the other side has enough.
    pub fn send_for_ever(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.send(bytes)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Waits until the other side goes away.
    pub fn silence(&mut self) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut rest = [0; 4096];
        while !self.stop.load(Ordering::Relaxed) {
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// What a [`Fake`] does with a connection.
pub type Manners = Arc<dyn Fn(&mut Caller) -> io::Result<()> + Send + Sync>;

/// The same answer to everybody.
pub fn says(bytes: impl Into<Vec<u8>>) -> Manners {
    let bytes = bytes.into();
    Arc::new(move |caller| {
        caller.request()?;
        caller.send(&bytes)
    })
}

/// Passes requests on to `url`, and answers back.
pub fn forwards(url: &str) -> Manners {
    let url = url.to_owned();
    Arc::new(move |caller| {
        let request = caller.request()?;
        caller.send(&exchange(&url, &request.to_bytes())?.to_bytes())
    })
}

/// A port that is taken but refuses connections, until somebody listens on it.
pub struct Reserved(TcpSocket);

impl Reserved {
    /// Takes one on 127.0.0.1.
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self(socket)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    fn listen(self) -> TcpListener {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
        let _inside = runtime.enter();
        let listener = self.0.listen(64).unwrap().into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        listener
    }
}

/// A server with changing manners. It ends when it is dropped.
pub struct Fake {
    address: SocketAddr,
    manners: Arc<Mutex<Manners>>,
    seen: Arc<Mutex<Vec<Message>>>,
    connections: Arc<Mutex<usize>>,
    stop: Arc<AtomicBool>,
    accepts: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(manners: Manners) -> Self {
        Self::start_at(Reserved::new(), manners)
    }

    /// Starts one on this port.
    pub fn start_at(port: Reserved, manners: Manners) -> Self {
        let listener = port.listen();
        let address = listener.local_addr().unwrap();
        let manners = Arc::new(Mutex::new(manners));
        let (seen, connections, stop) =
            <(Arc<Mutex<Vec<Message>>>, Arc<Mutex<usize>>, Arc<AtomicBool>)>::default();
        let accepts = std::thread::spawn({
            let (manners, seen, connections, stop) =
                (manners.clone(), seen.clone(), connections.clone(), stop.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    *connections.lock().unwrap() += 1;
                    let stream = BufReader::new(stream);
                    let mut caller = Caller { stream, seen: seen.clone(), stop: stop.clone() };
                    let manners = Manners::clone(&manners.lock().unwrap());
                    // An error here is a caller that went away.
                    std::thread::spawn(move || drop(manners(&mut caller)));
                }
            }
        });
        Self { address, manners, seen, connections, stop, accepts: Some(accepts) }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on.
    pub fn set(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }

    /// Requests so far.
    pub fn seen(&self) -> MutexGuard<'_, Vec<Message>> {
        self.seen.lock().unwrap()
    }

    /// How often a method was called so far.
    pub fn calls(&self, method: &str) -> usize {
        self.seen().iter().filter(|request| request.calls(method)).count()
    }

    /// Connections so far, with or without a request.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
    }
}

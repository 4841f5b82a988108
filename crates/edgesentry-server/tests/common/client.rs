//! HTTP by hand, so that what is wrong can be sent too.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A connection.
pub struct Http<S = TcpStream> {
    pub io: S,
    read: Vec<u8>,
}

/// An open socket.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let io = TcpStream::connect(addr).unwrap();
    io.set_read_timeout(Some(PATIENCE)).unwrap();
    io.set_write_timeout(Some(PATIENCE)).unwrap();
    io.set_nodelay(true).unwrap();
    io
}

impl Http {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(tcp(addr))
    }
}

impl<S: Read + Write> Http<S> {
    pub fn over(io: S) -> Self {
        Self { io, read: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).unwrap();
        self.io.flush().unwrap();
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, body: &[u8]) -> Answer {
        self.post_with(&[], body)
    }

    pub fn post_with(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.request("POST", "/api/v1/ingest", &all, body)
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gate\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method != "GET" || !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// The next answer; an error where the connection ends without one.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        while self.read.len() < end + length {
            self.more()?;
        }
        let body = self.read[end..end + length].to_vec();
        self.read.drain(..end + length);
        Ok(Answer { status, headers, body })
    }

    /// Whether the server ends the connection, without another byte.
    pub fn is_ended(&mut self) -> bool {
        assert!(self.read.is_empty(), "{:?}", String::from_utf8_lossy(&self.read));
        let mut byte = [0];
        match self.io.read(&mut byte) {
            Ok(n) => n == 0,
            Err(e) => !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16384];
        match self.io.read(&mut chunk)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection")),
            n => {
                self.read.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}

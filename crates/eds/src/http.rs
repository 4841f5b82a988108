//! Calls to witnesses and time-stamping authorities, and files that a web server has. What they answer is signed, and
//! checked by whoever asked; the connection is trusted with nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use secure_log::Error;
use ureq::Agent;

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 1 << 20;

/// What came back.
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// Sends a body and takes the answer, whatever its status. Redirects are not followed.
pub(crate) fn post(url: &str, content_type: &str, body: &[u8], timeout: Duration) -> Result<Reply> {
    let mut answer = agent(timeout)
        .post(url)
        .header("Content-Type", content_type)
        .send(body)
        .with_context(|| format!("{url} does not answer"))?;
    let content_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let body = body.with_context(|| format!("the answer of {url} cannot be read"))?;
    Ok(Reply { status: answer.status().as_u16(), content_type, body })
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("eds/", env!("CARGO_PKG_VERSION")));
    Agent::new_with_config(config.build())
}

/// How often a file is asked for, where the server does not answer or is not well.
const ATTEMPTS: u32 = 3;
/// How long to wait before it is asked for again.
const PAUSE: Duration = Duration::from_millis(300);

/// Fetches files, over connections that stay open.
pub(crate) struct Fetcher {
    agent: Agent,
}

impl Fetcher {
    /// `timeout`: how long one file may take.
    pub fn new(timeout: Duration) -> Self {
        Self { agent: agent(timeout) }
    }

    /// The bytes of a file; `None` where the server says that there is none (404, 410). `Invalid` where it has more than
    /// `max` bytes, `Unavailable` where the server gives none.
    pub fn get(&self, url: &str, max: usize) -> secure_log::Result<Option<Vec<u8>>> {
        let mut attempt = 1;
        loop {
            match self.try_get(url, max) {
                Err(Error::Unavailable(_)) if attempt < ATTEMPTS => {
                    std::thread::sleep(PAUSE * attempt);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_get(&self, url: &str, max: usize) -> secure_log::Result<Option<Vec<u8>>> {
        let unavailable = |what: String| Error::Unavailable(format!("{url} {what}"));
        let answer = self.agent.get(url).call();
        let mut answer = answer.map_err(|e| unavailable(format!("cannot be fetched: {e}")))?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => return Err(unavailable(format!("is answered with status {status}"))),
        }
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(coding) = header("content-encoding").filter(|coding| *coding != "identity") {
            let reason = format!("{url} comes compressed ({coding}), which was not asked for");
            return Err(Error::invalid("content-encoding", reason));
        }
        if header("content-length").and_then(|n| n.parse().ok()).is_some_and(|n: u64| n > max as u64) {
            return Err(too_long(url, max));
        }
        // The limit counts as exceeded where it is reached.
        match answer.body_mut().with_config().limit(max as u64 + 1).read_to_vec() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_long(url, max)),
            Err(error) => Err(unavailable(format!("cannot be read: {error}"))),
        }
    }
}

/// What is wrong with a file that is longer than it can be.
pub(crate) fn too_long(file: &str, max: usize) -> Error {
    Error::invalid(file, format!("has more than {max} bytes"))
}

//! A native client of an endpoint, over one connection that is kept.

use std::time::Duration;

use secure_log::limits::MAX_PAGE_BYTES;
use secure_log_rpc::{Transport, TransportError, envelope, limits};
use ureq::Agent;

/// Calls an endpoint over HTTP. It never calls twice: what to do about a lost answer is the caller's decision.
pub struct HttpClient {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    calls: u64,
    /// Bytes of the bodies that were sent and received.
    pub body_bytes: u64,
}

impl HttpClient {
    /// A client of the endpoint at `url`.
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        let authorization = token.map(|token| format!("Bearer {token}"));
        Self { agent, url: url.to_owned(), authorization, calls: 0, body_bytes: 0 }
    }

    /// Posts a body and gives status and answer.
    pub fn post(&mut self, body: &[u8]) -> Result<(u16, Vec<u8>), TransportError> {
        let unavailable = |e: ureq::Error| TransportError::Unavailable(e.to_string());
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut answer = request.send(body).map_err(unavailable)?;
        let status = answer.status().as_u16();
        let limit = (limits::MAX_ANSWER + MAX_PAGE_BYTES) as u64;
        let text = answer.body_mut().with_config().limit(limit).read_to_vec().map_err(unavailable)?;
        self.body_bytes += (body.len() + text.len()) as u64;
        Ok((status, text))
    }
}

impl Transport for HttpClient {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        self.calls += 1;
        let (status, answer) = self.post(&envelope::request(self.calls, method, params))?;
        match status {
            401 | 403 => Err(TransportError::Denied(format!("{} answered {status}", self.url))),
            _ => envelope::result_of(self.calls, &self.url, status, &answer),
        }
    }
}

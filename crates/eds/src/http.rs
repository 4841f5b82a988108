//! Calls to witnesses and time-stamping authorities. What they answer is signed, and checked by whoever asked; the
//! connection is trusted with nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
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
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("eds/", env!("CARGO_PKG_VERSION")));
    let agent = Agent::new_with_config(config.build());
    let mut answer = agent
        .post(url)
        .header("Content-Type", content_type)
        .send(body)
        .with_context(|| format!("{url} does not answer"))?;
    let content_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let body = body.with_context(|| format!("the answer of {url} cannot be read"))?;
    Ok(Reply { status: answer.status().as_u16(), content_type, body })
}

//! The engine's API, as far as Ashore needs it: HTTP and JSON on a Unix socket (Docker Engine API 1.40 and
//! later).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::net::UnixStream;

/// The maximum length of an answer. A list of a thousand containers has about a megabyte.
const LONGEST: usize = 16 * 1024 * 1024;

/// How long to wait for an engine that may be working on what it is asked about. A hung engine keeps a
/// descriptor no longer than this.
const PATIENCE: Duration = Duration::from_secs(300);
/// An error answer of the engine.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {status} {said}")]
struct Refused {
    path: String,
    status: StatusCode,
    said: String,
}

/// Whether the engine has answered that the object does not exist.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == StatusCode::NOT_FOUND)
}

/// Whether the engine has answered. Any other error leaves open what the engine did.
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    error.is::<Refused>()
}

/// The engine's API at a socket.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    socket: PathBuf,
}

impl Api {
    pub(crate) fn at(socket: &Path) -> Self {
        Api { socket: socket.to_owned() }
    }

    /// Gets what is at a path.
    pub(crate) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let bytes = self.call(Method::GET, path, None).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Waits for any answer.
    pub(crate) async fn ping(&self) -> anyhow::Result<()> {
        self.call(Method::GET, "/_ping", None).await.map(|_| ())
    }

    /// Posts a request.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        self.call(Method::POST, path, Some(body)).await.map(|_| ())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let answered = tokio::time::timeout(PATIENCE, self.ask(method, path, body)).await;
        answered.with_context(|| format!("{path}: no answer within {} s", PATIENCE.as_secs()))?
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let (mut sender, connection) = self.connect().await?;
        let response = send(&mut sender, method, path, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        connection.abort();
        let bytes = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&bytes).trim().to_owned();
            return Err(Refused { path: path.to_owned(), status, said }.into());
        }
        Ok(bytes)
    }

    async fn connect(&self) -> anyhow::Result<(SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>)> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the engine's API: {error}");
            }
        });
        Ok((sender, driver))
    }

    /// Subscribes to events.
    pub(crate) async fn events(&self, filters: &Value) -> anyhow::Result<Events> {
        let (mut sender, connection) = self.connect().await?;
        let path = format!("/events?filters={}", escaped(&filters.to_string()));
        let response = send(&mut sender, Method::GET, &path, None).await?;
        anyhow::ensure!(response.status().is_success(), "its events: {}", response.status());
        Ok(Events { body: response.into_body(), _sender: sender, connection, news: false })
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Response<Incoming>> {
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .body(Full::new(bytes))?;
    Ok(sender.send_request(request).await?)
}

/// The stream of events.
pub(crate) struct Events {
    body: Incoming,
    /// Kept because dropping it would end the connection.
    _sender: SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<()>,
    /// Whether an event has arrived that no caller was told of.
    news: bool,
}

impl Events {
    /// Waits for the next event, and for those that arrive in the same moment. Returns whether the stream
    /// goes on.
    ///
    /// If a caller stops waiting early, the next call reports the event. The engine reports some changes
    /// before its lists show them, so a list that is taken instead of waiting may lack the change.
    pub(crate) async fn wait(&mut self, settle: Duration) -> bool {
        if !self.news && !self.next().await {
            return false;
        }
        self.news = true;
        while let Ok(more) = tokio::time::timeout(settle, self.next()).await {
            if !more {
                return false;
            }
        }
        self.news = false;
        true
    }

    async fn next(&mut self) -> bool {
        matches!(self.body.frame().await, Some(Ok(_)))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Deserialises a value that the engine, written in Go, may send as `null` if it is empty.
pub(crate) fn or_null<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: serde::Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Percent-encodes a text as part of a URI (RFC 3986, 2.1).
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(['%', hexadecimal(byte >> 4), hexadecimal(byte & 0xf)]);
        }
    }
    escaped
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use serde_json::json;

    use super::*;

    #[test]
    fn news_that_nobody_waited_for_to_the_end_is_told_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let engine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 2048]).unwrap(), 0);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            write!(stream, "{head}2\r\n{{}}\r\n").unwrap();
            // It sends nothing more until its client closes the connection.
            while stream.read(&mut [0; 2048]).is_ok_and(|length| length > 0) {}
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut events = Api::at(&socket).events(&json!({})).await.unwrap();
            let (short, long) = (Duration::from_millis(1), Duration::from_secs(10));
            let a_while = Duration::from_millis(500);
            let given_up = tokio::time::timeout(a_while, events.wait(long)).await;
            assert!(given_up.is_err(), "there may be more in the same moment");
            assert!(tokio::time::timeout(long, events.wait(short)).await.unwrap());
            assert!(tokio::time::timeout(a_while, events.wait(short)).await.is_err(), "it is told once");
        });
        drop(runtime);
        engine.join().unwrap();
    }
}

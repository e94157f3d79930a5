//! Typed handles on a master somewhere else, asked over HTTP.
//!
//! ```text
//! StepHandle ──▶ Remote ──blocking pool──▶ Client ──▶ HTTP
//!     ▲             │
//!     │ channel     └──▶ thread "events": reads the stream line by line, ends when nobody listens any more
//!     └────────────────────┘
//! ```

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_admin::{PARTIAL_HEADER, RECEIPTS_HEADER, Role};
use elastic_flow_dataflow::source::ItemBatches;
use elastic_flow_orchestrator::Cluster;
use elastic_flow_orchestrator::api::{
    ApiError, ClusterEventKind, DeadLetterFilter, DeadLetterView, FailureView, StepView, Submission,
};
use elastic_flow_orchestrator::handle::connection::{Answer, EncodedResult, EventSource};
use elastic_flow_orchestrator::handle::{ClusterHandle, Connection, blocking};
use elastic_flow_receipt::{Audit, StepId};
use elastic_flow_wire::codec::MESSAGE_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use ureq::Body;
use ureq::http::Response;

use crate::client::{Address, Client, ClientError, Events, Said, UrlError};
use crate::config::{ConfigErrors, Sources};
use crate::key_file::KeyFileError;
use crate::keys::Key;
use crate::paths::UserFolders;

/// Events that wait for whoever listens.
const EVENTS_AHEAD: usize = 64;
/// Bytes of an encoded output: what decodes, and its head.
const RESULT_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 + (1 << 20);

/// Why there is no handle on a master.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The environment has settings (`ELASTIC_FLOW_*`) that are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The runtime of the blocking handle could not start.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

/// A [`Cluster`] somewhere else.
pub trait Connect {
    /// A handle on the master whose HTTP face is at `url`, `http://HOST:PORT`. The key is found as the command line finds it: the file
    /// that `ELASTIC_FLOW_KEY_FILE` names, else this user's own.
    ///
    /// Nothing is asked yet: whether there is a master is found by the first question.
    ///
    /// # Errors
    /// The URL has another form or lies beyond this machine, without `security.insecure_plaintext`; there is no key.
    fn connect(url: &str) -> Result<ClusterHandle, ConnectError>;

    /// As [`Connect::connect`], with the key of a file.
    ///
    /// # Errors
    /// As there.
    fn connect_with_key(url: &str, key_file: &Path) -> Result<ClusterHandle, ConnectError>;

    /// As [`Connect::connect`], for programs without a runtime.
    ///
    /// # Errors
    /// As there, or a runtime could not start.
    fn connect_blocking(url: &str) -> Result<blocking::ClusterHandle, ConnectError>;

    /// As [`Connect::connect_blocking`], with the key of a file.
    ///
    /// # Errors
    /// As there.
    fn connect_blocking_with_key(url: &str, key_file: &Path) -> Result<blocking::ClusterHandle, ConnectError>;
}

impl Connect for Cluster {
    fn connect(url: &str) -> Result<ClusterHandle, ConnectError> {
        Ok(ClusterHandle::new(Arc::new(Remote::new(url, None)?)))
    }

    fn connect_with_key(url: &str, key_file: &Path) -> Result<ClusterHandle, ConnectError> {
        Ok(ClusterHandle::new(Arc::new(Remote::new(url, Some(key_file.to_owned()))?)))
    }

    fn connect_blocking(url: &str) -> Result<blocking::ClusterHandle, ConnectError> {
        blocking::ClusterHandle::new(Arc::new(Remote::new(url, None)?)).map_err(ConnectError::Runtime)
    }

    fn connect_blocking_with_key(url: &str, key_file: &Path) -> Result<blocking::ClusterHandle, ConnectError> {
        let remote = Remote::new(url, Some(key_file.to_owned()))?;
        blocking::ClusterHandle::new(Arc::new(remote)).map_err(ConnectError::Runtime)
    }
}

/// A master somewhere else.
#[derive(Debug)]
struct Remote {
    client: Arc<Client>,
}

impl Remote {
    fn new(url: &str, key_file: Option<PathBuf>) -> Result<Self, ConnectError> {
        let sources = Sources { environment: std::env::vars_os().collect(), ..Sources::default() };
        let mut security = sources.load()?.security;
        security.key_file = key_file.or(security.key_file);
        let folders = UserFolders::from_environment(|name| std::env::var_os(name));
        let key = Key::load(&security, &folders, false)?;
        let address = Address::of(url, security.insecure_plaintext)?;
        Ok(Self { client: Arc::new(Client::at(address, &key, Role::Submit)) })
    }

    /// Asks on a thread that may block. `step` is the one that the question is about.
    fn ask<T: Send + 'static>(
        &self,
        step: Option<StepId>,
        question: impl FnOnce(&Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Answer<'_, T> {
        let client = Arc::clone(&self.client);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || question(&client));
            let answer = asked.await.map_err(|error| ApiError::Unreached(error.to_string()))?;
            answer.map_err(|error| refusal(step, error))
        })
    }

    fn get<T: DeserializeOwned + Send + 'static>(&self, step: StepId, path: String) -> Answer<'_, T> {
        self.ask(Some(step), move |client| client.get(&path))
    }

    fn post<B: Serialize + Send + 'static>(&self, step: Option<StepId>, path: String, body: B) -> Answer<'_, StepView> {
        self.ask(step, move |client| client.post(&path, &body))
    }
}

impl Connection for Remote {
    fn submit(&self, submission: Submission) -> Answer<'_, StepId> {
        let submitted = self.post(None, "/steps".to_owned(), submission);
        Box::pin(async move { Ok(submitted.await?.id) })
    }

    fn submit_items(&self, _: Submission, _: Box<dyn ItemBatches>) -> Answer<'_, StepId> {
        let message = "an iterator is taken from by a master in the same process: register it there by a name and submit that, \
                       or write its items to a file";
        Box::pin(std::future::ready(Err(ApiError::Invalid(message.to_owned()))))
    }

    fn step(&self, step: StepId) -> Answer<'_, StepView> {
        self.get(step, format!("/steps/{step}"))
    }

    fn cancel(&self, step: StepId) -> Answer<'_, StepView> {
        self.post(Some(step), format!("/steps/{step}/cancel"), Value::Null)
    }

    fn audit(&self, step: StepId) -> Answer<'_, Audit> {
        self.get(step, format!("/steps/{step}/audit"))
    }

    fn failures(&self, step: StepId) -> Answer<'_, Vec<FailureView>> {
        self.get(step, format!("/steps/{step}/failures"))
    }

    fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Answer<'_, Vec<DeadLetterView>> {
        let DeadLetterFilter { from, limit } = filter;
        self.get(step, format!("/steps/{step}/dead-letters?from={from}&limit={limit}"))
    }

    fn result(&self, step: StepId) -> Answer<'_, EncodedResult> {
        self.ask(Some(step), move |client| {
            encoded_result(client.open(&format!("/steps/{step}/result?format=encoded"))?)
        })
    }

    fn events(&self) -> Answer<'_, Box<dyn EventSource>> {
        let opened = self.ask(None, |client| {
            let events = client.events()?;
            let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
            let thread = std::thread::Builder::new().name("events".to_owned());
            let started = thread.spawn(move || pass_on(events, &sender));
            started.map_err(|error| ClientError::Unreached(format!("no thread to read its events: {error}")))?;
            Ok(receiver)
        });
        Box::pin(async move { Ok(Box::new(Stream(opened.await?)) as Box<dyn EventSource>) })
    }
}

/// The headers and the body of a result.
fn encoded_result(mut answer: Response<Body>) -> Result<EncodedResult, ClientError> {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let complete = header(PARTIAL_HEADER) == Some("false");
    let share = header(RECEIPTS_HEADER).and_then(|share| share.split_once('/'));
    let share = share.and_then(|(some, all)| Some((some.parse().ok()?, all.parse().ok()?)));
    let (receipts, receipts_conceived) =
        share.ok_or_else(|| ClientError::Unreached("its answer is no result: is that a master?".to_owned()))?;
    let mut bytes = Vec::new();
    let body = answer.body_mut().as_reader().take(RESULT_BYTES_MAX).read_to_end(&mut bytes);
    body.map_err(|error| ClientError::Unreached(format!("the result broke off: {error}")))?;
    Ok(EncodedResult { bytes: Bytes::from(bytes), complete, receipts, receipts_conceived })
}

/// Reads events until the stream ends, or nobody wants them: a master says at least every 15 s that it is there.
fn pass_on(mut events: Events, listener: &mpsc::Sender<Result<Option<ClusterEventKind>, ApiError>>) {
    while !listener.is_closed() {
        let said = match events.next() {
            Ok(Said::Event(event)) => Ok(Some(event.kind)),
            Ok(Said::Gap) => Ok(None),
            Ok(Said::Alive) => continue,
            Err(error) => Err(ApiError::Unreached(format!("its events broke off: {error}"))),
        };
        let broken = said.is_err();
        if listener.blocking_send(said).is_err() || broken {
            return;
        }
    }
}

/// Events that a thread reads.
#[derive(Debug)]
struct Stream(mpsc::Receiver<Result<Option<ClusterEventKind>, ApiError>>);

impl EventSource for Stream {
    fn next(&mut self) -> Answer<'_, Option<ClusterEventKind>> {
        Box::pin(async {
            self.0.recv().await.unwrap_or_else(|| Err(ApiError::Unreached("its events have ended".to_owned())))
        })
    }
}

/// What a master in this process would have said.
fn refusal(step: Option<StepId>, error: ClientError) -> ApiError {
    let (kind, message) = match error {
        ClientError::Unreached(message) => return ApiError::Unreached(message),
        ClientError::Refused { kind, message } => (kind, message),
    };
    let without = |head: &str| message.strip_prefix(head).unwrap_or(&message).to_owned();
    match (kind.as_str(), step) {
        ("not_found", Some(step)) => ApiError::NoStep(step),
        ("no_result", Some(step)) => ApiError::NoResult(step, without(&format!("step {step} has no result: "))),
        ("conflict", _) => ApiError::Conflict(message),
        ("store_failed", _) => ApiError::Store(without("the master's store failed: ")),
        // It may come back, as one that is not reached.
        ("stopping" | "unavailable", _) => ApiError::Unreached(message),
        _ => ApiError::Invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str, message: &str) -> ApiError {
        refusal(Some(StepId(3)), ClientError::Refused { kind: kind.to_owned(), message: message.to_owned() })
    }

    #[test]
    fn a_refusal_over_http_is_that_of_the_master() {
        for (kind, error) in [
            ("not_found", ApiError::NoStep(StepId(3))),
            ("no_result", ApiError::NoResult(StepId(3), "it is PENDING".to_owned())),
            ("conflict", ApiError::Conflict("it has ended".to_owned())),
            ("store_failed", ApiError::Store("disk full".to_owned())),
            ("unprocessable", ApiError::Invalid("no such program".to_owned())),
        ] {
            assert_eq!(refused(kind, &error.to_string()).to_string(), error.to_string());
        }
        assert!(matches!(refused("stopping", "it stops"), ApiError::Unreached(_)));
    }

    #[test]
    fn a_url_beyond_this_machine_is_refused_and_one_of_another_form() {
        let error = |url| Address::of(url, false).expect_err("it is wrong").to_string();
        assert!(error("https://127.0.0.1:7118").contains("no TLS"));
        assert!(error("http://192.0.2.7:7118").contains("insecure_plaintext"));
        assert!(Address::of("http://192.0.2.7:7118", true).is_ok() && Address::of("http://127.0.0.1", false).is_ok());
    }
}

//! Asking a running master over HTTP.

use std::io::{self, BufRead, BufReader, Read};
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use elastic_flow_admin::{ErrorBody, Role, Token};
use elastic_flow_orchestrator::api::{ClusterEvent, ClusterEventKind, StepView};
use elastic_flow_queue::StepState;
use elastic_flow_receipt::StepId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::context::Context;
use crate::exit_code::Failure;
use crate::keys::Key;
use crate::output;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time until an answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is read as a whole.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Largest line of an event.
const EVENT_BYTES_MAX: u64 = 1 << 20;
/// Silence of the event stream after which the master counts as gone; it says that it is alive every 15 s.
const EVENT_SILENCE: Duration = Duration::from_secs(40);
/// How often a master is looked for that is away.
const RETURN_PAUSE: Duration = Duration::from_millis(500);

/// Why a master gave no answer, or not the one that was hoped for.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// There is no answer, at the moment.
    Unreached(String),
    /// It refused.
    Refused {
        /// One word for programs, as in [`ErrorBody::kind`].
        kind: String,
        /// For people.
        message: String,
    },
}

impl ClientError {
    /// Whether a master that is asked again later may answer: this one is not there, or is stopping.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreached(_) => true,
            Self::Refused { kind, .. } => matches!(kind.as_str(), "stopping" | "unavailable"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreached(message) => Self::unreached(message),
            // What was submitted names something that there is not, or wrongly: the same as when this process had found it.
            ClientError::Refused { kind, message } if kind == "unprocessable" => {
                Self::usage(format!("the master refused: {message}"))
            }
            ClientError::Refused { message, .. } => Self::unreached(format!("the master refused: {message}")),
        }
    }
}

/// Why a URL is not that of a master which can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It has another form.
    #[error("{url}: write http://host:port; this version has no TLS")]
    Form {
        /// The URL.
        url: String,
    },
    /// Its host is not known.
    #[error("{url}: {source}")]
    Host {
        /// The URL.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// It lies beyond this machine, and nobody said that the network there is trusted.
    #[error(
        "{url} lies beyond this machine, and the token would travel in plain text: forward the port over ssh, or set \
         security.insecure_plaintext = true if that network is trusted"
    )]
    Beyond {
        /// The URL.
        url: String,
    },
}

/// A master's HTTP face.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// Of the key in force, then of the one before it.
    tokens: Vec<Token>,
    /// Which of them the master takes.
    taken: AtomicUsize,
}

impl Client {
    /// A client for the `--admin` of a command, which asks in a role.
    pub(crate) fn new(context: &Context<'_>, url: &str, role: Role) -> Result<Self, Failure> {
        let at = Address::of(url, context.config.security.insecure_plaintext).map_err(|error| match error {
            UrlError::Host { .. } => Failure::unreached(format!("--admin {error}")),
            UrlError::Form { .. } | UrlError::Beyond { .. } => Failure::usage(format!("--admin {error}")),
        })?;
        Ok(Self::at(at, &context.existing_key()?, role))
    }

    /// A client with tokens of `role` that it derives from the keys.
    pub(crate) fn at(address: Address, key: &Key, role: Role) -> Self {
        let secrets = [Some(&key.secret), key.old.as_ref()];
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(ANSWER_TIMEOUT))
            .build();
        Self {
            agent: Agent::new_with_config(config),
            base: format!("http://{}/api/v1", address.0),
            tokens: secrets.into_iter().flatten().map(|secret| Token::derive(secret, role)).collect(),
            taken: AtomicUsize::new(0),
        }
    }

    /// Asks, and reads the answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(self.open(path)?)
    }

    /// Tells, and reads the answer.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let send = |bearer: &str| {
            self.agent.post(format!("{}{path}", self.base)).header("authorization", bearer).send_json(body)
        };
        read(self.check(self.with_token(send))?)
    }

    /// Asks, and leaves the answer to be read piece by piece.
    pub(crate) fn open(&self, path: &str) -> Result<Response<Body>, ClientError> {
        let send = |bearer: &str| self.agent.get(format!("{}{path}", self.base)).header("authorization", bearer).call();
        self.check(self.with_token(send))
    }

    /// Sends with the token of the newest key, and where that is not known yet or not any more, with that of the other.
    fn with_token(
        &self,
        send: impl Fn(&str) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ureq::Error> {
        let ask = |at: usize| {
            let token = self.tokens.get(at).map_or("", Token::expose);
            send(&format!("Bearer {token}"))
        };
        let taken = self.taken.load(Ordering::Relaxed);
        let answer = ask(taken)?;
        let other = (taken + 1) % self.tokens.len().max(1);
        if answer.status() != StatusCode::UNAUTHORIZED || other == taken {
            return Ok(answer);
        }
        let second = ask(other)?;
        if second.status() != StatusCode::UNAUTHORIZED {
            self.taken.store(other, Ordering::Relaxed);
        }
        Ok(second)
    }

    fn check(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let mut answer = answer
            .map_err(|error| ClientError::Unreached(format!("the master at {} is not reached: {error}", self.base)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json::<ErrorBody>();
        let (kind, mut message) = match body {
            Ok(body) => (body.kind, body.message),
            Err(_) => (String::new(), format!("it answered {status}")),
        };
        if status == StatusCode::UNAUTHORIZED {
            message.push_str(
                " (is this the key file that the master uses? name it in security.key_file or ELASTIC_FLOW_KEY_FILE)",
            );
        }
        Err(ClientError::Refused { kind, message })
    }

    /// Waits until a step has ended. `known` is the step as the master has shown it already, if it has; `on_event` sees it at the
    /// start and after each event that concerns it.
    ///
    /// A master that goes away meanwhile is waited for, however long it takes: one that starts again on its store has the step and
    /// goes on with it. Only the word of a master that it has no such step ends the wait without its end.
    pub(crate) fn wait(
        &self,
        id: u64,
        mut known: Option<StepView>,
        mut on_event: impl FnMut(&StepView) -> Result<(), Failure>,
    ) -> Result<StepView, Failure> {
        loop {
            // Subscribed before the step is looked at, so that its end cannot fall between the two.
            let mut events = self.patiently(known.is_some(), || self.events())?;
            match self.watch(id, &mut events, &mut known, &mut on_event) {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => std::thread::sleep(RETURN_PAUSE),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Asks until a master answers, and says on standard error when it is away and when it is back. Not so a master that was never
    /// `reached`: there may be none.
    pub(crate) fn patiently<T>(
        &self,
        reached: bool,
        mut ask: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let mut away = false;
        loop {
            match ask() {
                Ok(answer) => {
                    if away {
                        output::note("the master is back");
                    }
                    return Ok(answer);
                }
                Err(error) if reached && error.may_pass() => {
                    if !std::mem::replace(&mut away, true) {
                        let message = Failure::from(error);
                        output::note(&format!("{message}; waiting until it is back, as the step is kept in its store"));
                    }
                    std::thread::sleep(RETURN_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Watches a step until its end, or until the master is away: then there is none.
    fn watch(
        &self,
        id: u64,
        events: &mut Events,
        known: &mut Option<StepView>,
        on_event: &mut impl FnMut(&StepView) -> Result<(), Failure>,
    ) -> Result<Option<StepView>, Failure> {
        loop {
            let view: StepView = match self.get(&format!("/steps/{id}")) {
                Ok(view) => view,
                Err(error)
                    if error.may_pass()
                        && let Some(known) = known.as_ref() =>
                {
                    // What it said before it went away may be that the step has ended.
                    return Ok(events.end_of(id).map(|(state, reason)| StepView { state, reason, ..known.clone() }));
                }
                Err(error) => return Err(error.into()),
            };
            if known.as_ref().is_some_and(|known| known.submitted_at != view.submitted_at) {
                let message = format!("the master has another step {id} now: it was started on another store");
                return Err(Failure::unreached(message));
            }
            *known = Some(view.clone());
            on_event(&view)?;
            if view.state.is_final() {
                return Ok(Some(view));
            }
            match events.next_of(id) {
                Ok(None) => {}
                // Its failure may end the master as well, which then cannot be asked any more.
                Ok(Some((state, reason))) => return Ok(Some(self.at_its_end(id, StepView { state, reason, ..view }))),
                Err(_) => return Ok(None),
            }
        }
    }

    /// The step as the master shows it now that it has ended; where it cannot be asked, as it was last seen and said to have ended.
    fn at_its_end(&self, id: u64, seen: StepView) -> StepView {
        let shown = self.get::<StepView>(&format!("/steps/{id}")).ok();
        shown.filter(|it| it.state.is_final() && it.submitted_at == seen.submitted_at).unwrap_or(seen)
    }

    /// Events from now on.
    pub(crate) fn events(&self) -> Result<Events, ClientError> {
        let send = |bearer: &str| {
            let request = self.agent.get(format!("{}/events", self.base)).header("authorization", bearer);
            request.config().timeout_per_read(Some(EVENT_SILENCE)).build().call()
        };
        let answer = self.check(self.with_token(send))?;
        Ok(Events(BufReader::new(Box::new(answer.into_body().into_reader()))))
    }
}

/// A stream of events.
pub(crate) struct Events(BufReader<Box<dyn Read + Send>>);

/// What a line of the stream says.
#[derive(Debug)]
pub(crate) enum Said {
    /// Something happened.
    Event(ClusterEvent),
    /// Something was missed.
    Gap,
    /// The master is there.
    Alive,
}

impl Events {
    /// The next line.
    pub(crate) fn next(&mut self) -> io::Result<Said> {
        let mut line = String::new();
        if (&mut self.0).take(EVENT_BYTES_MAX).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end() == "event: gap" {
            return Ok(Said::Gap);
        }
        let event = line.strip_prefix("data:").and_then(|data| serde_json::from_str(data.trim()).ok());
        Ok(event.map_or(Said::Alive, Said::Event))
    }

    /// The final state and the reason of the step, if that is among what is still to be read of a stream that ends.
    fn end_of(&mut self, id: u64) -> Option<(StepState, Option<String>)> {
        loop {
            match self.next_of(id) {
                Ok(Some(end)) => return Some(end),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads on until something concerns the step, or was missed; gives its final state and the reason, if it is its end.
    fn next_of(&mut self, id: u64) -> io::Result<Option<(StepState, Option<String>)>> {
        loop {
            match self.next()? {
                Said::Event(event) if event.kind.step() == Some(StepId(id)) => {
                    return Ok(match event.kind {
                        ClusterEventKind::Step { state, reason, .. } if state.is_final() => Some((state, reason)),
                        ClusterEventKind::Step { .. }
                        | ClusterEventKind::Progress { .. }
                        | ClusterEventKind::Files { .. }
                        | ClusterEventKind::Failure { .. }
                        | ClusterEventKind::Verdict { .. }
                        | ClusterEventKind::Worker { .. } => None,
                    });
                }
                Said::Gap => return Ok(None),
                Said::Event(_) | Said::Alive => {}
            }
        }
    }
}

/// Where a master's HTTP face is: `host:port`.
#[derive(Debug)]
pub(crate) struct Address(String);

impl Address {
    /// Of `http://host:port`, which has to be on this machine, unless `beyond` is allowed.
    pub(crate) fn of(url: &str, beyond: bool) -> Result<Self, UrlError> {
        let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            return Err(UrlError::Form { url: url.to_owned() });
        };
        let address = if authority.ends_with(']') || !authority.contains(':') {
            format!("{authority}:80")
        } else {
            authority.to_owned()
        };
        let resolved = address.to_socket_addrs().map_err(|source| UrlError::Host { url: url.to_owned(), source })?;
        if !beyond && resolved.into_iter().any(|address| !address.ip().is_loopback()) {
            return Err(UrlError::Beyond { url: url.to_owned() });
        }
        Ok(Self(authority.to_owned()))
    }
}

fn read<T: DeserializeOwned>(mut answer: Response<Body>) -> Result<T, ClientError> {
    answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(|error| {
        let torn = matches!(&error, ureq::Error::Json(it) if it.is_io() || it.is_eof());
        if torn || matches!(&error, ureq::Error::Io(_) | ureq::Error::Timeout(_)) {
            return ClientError::Unreached(format!("the master's answer was broken off: {error}"));
        }
        // Asking again would give the same.
        let message = format!("its answer cannot be read: {error}; ask with the build that the master is of");
        ClientError::Refused { kind: "unreadable".to_owned(), message }
    })
}

//! Asking a running master over HTTP.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::net::ToSocketAddrs;
use std::time::Duration;

use elastic_flow_admin::{ErrorBody, Role, Token};
use elastic_flow_orchestrator::api::{ClusterEvent, ClusterEventKind, StepView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::context::Context;
use crate::exit_code::Failure;

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
/// How long `--wait` looks for a master that is gone, and how often.
const RETURN_ATTEMPTS: u32 = 120;
const RETURN_PAUSE: Duration = Duration::from_millis(500);

/// A master's HTTP face.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// Of the key in force, then of the one before it.
    tokens: Vec<Token>,
    /// Which of them the master takes.
    taken: Cell<usize>,
}

impl Client {
    /// A client for `http://host:port`, with tokens of `role` that it derives from the keys.
    pub(crate) fn new(context: &Context<'_>, url: &str, role: Role) -> Result<Self, Failure> {
        let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            return Err(Failure::usage(format!("--admin {url}: write http://host:port; this version has no TLS")));
        };
        let address = if authority.ends_with(']') || !authority.contains(':') {
            format!("{authority}:80")
        } else {
            authority.to_owned()
        };
        let resolved =
            address.to_socket_addrs().map_err(|error| Failure::unreached(format!("--admin {url}: {error}")))?;
        let beyond = resolved.into_iter().any(|address| !address.ip().is_loopback());
        if beyond && !context.config.security.insecure_plaintext {
            return Err(Failure::usage(format!(
                "--admin {url} lies beyond this machine, and the token would travel in plain text: forward the port over ssh, or \
                 set security.insecure_plaintext = true if that network is trusted"
            )));
        }
        let key = context.existing_key()?;
        let secrets = [Some(&key.secret), key.old.as_ref()];
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            base: format!("http://{authority}/api/v1"),
            tokens: secrets.into_iter().flatten().map(|secret| Token::derive(secret, role)).collect(),
            taken: Cell::new(0),
        })
    }

    /// Asks, and reads the answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.open(path)?)
    }

    /// Tells, and reads the answer.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        let send = |bearer: &str| {
            self.agent.post(format!("{}{path}", self.base)).header("authorization", bearer).send_json(body)
        };
        read(self.check(self.with_token(send))?)
    }

    /// Asks, and leaves the answer to be read piece by piece.
    pub(crate) fn open(&self, path: &str) -> Result<Response<Body>, Failure> {
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
        let taken = self.taken.get();
        let answer = ask(taken)?;
        let other = (taken + 1) % self.tokens.len().max(1);
        if answer.status() != StatusCode::UNAUTHORIZED || other == taken {
            return Ok(answer);
        }
        let second = ask(other)?;
        if second.status() != StatusCode::UNAUTHORIZED {
            self.taken.set(other);
        }
        Ok(second)
    }

    fn check(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let mut answer = answer
            .map_err(|error| Failure::unreached(format!("the master at {} is not reached: {error}", self.base)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json::<ErrorBody>();
        let message = match body {
            Ok(body) => body.message,
            Err(_) => format!("it answered {status}"),
        };
        let hint = if status == StatusCode::UNAUTHORIZED {
            " (is this the key file that the master uses? name it in security.key_file or ELASTIC_FLOW_KEY_FILE)"
        } else {
            ""
        };
        Err(Failure::unreached(format!("the master refused: {message}{hint}")))
    }

    /// Waits until a step has ended. `on_event` sees the step at the start and after each event that concerns it.
    pub(crate) fn wait(
        &self,
        id: u64,
        mut on_event: impl FnMut(&StepView) -> Result<(), Failure>,
    ) -> Result<StepView, Failure> {
        let mut attempts = 0;
        loop {
            match self.wait_once(id, &mut attempts, &mut on_event) {
                Ok(view) => return Ok(view),
                Err(Waiting::Failed(failure)) => return Err(failure),
                // A master that was started again goes on with the step.
                Err(Waiting::Lost(failure)) if attempts >= RETURN_ATTEMPTS => return Err(failure),
                Err(Waiting::Lost(_)) => {
                    attempts += 1;
                    std::thread::sleep(RETURN_PAUSE);
                }
            }
        }
    }

    fn wait_once(
        &self,
        id: u64,
        attempts: &mut u32,
        on_event: &mut impl FnMut(&StepView) -> Result<(), Failure>,
    ) -> Result<StepView, Waiting> {
        let lost = Waiting::Lost;
        // Subscribed before the step is looked at, so that its end cannot fall between the two.
        let mut events = self.events().map_err(lost)?;
        loop {
            let view: StepView = self
                .get(&format!("/steps/{id}"))
                .map_err(|failure| if *attempts == 0 { Waiting::Failed(failure) } else { lost(failure) })?;
            *attempts = 0;
            on_event(&view).map_err(Waiting::Failed)?;
            if view.state.is_final() {
                return Ok(view);
            }
            events.next_of(id).map_err(|error| lost(Failure::unreached(format!("the master is gone: {error}"))))?;
        }
    }

    fn events(&self) -> Result<Events, Failure> {
        let send = |bearer: &str| {
            let request = self.agent.get(format!("{}/events", self.base)).header("authorization", bearer);
            request.config().timeout_per_read(Some(EVENT_SILENCE)).build().call()
        };
        let answer = self.check(self.with_token(send))?;
        Ok(Events(BufReader::new(Box::new(answer.into_body().into_reader()))))
    }
}

/// Why a wait ended without the step's end.
enum Waiting {
    /// For good.
    Failed(Failure),
    /// The master may come back.
    Lost(Failure),
}

/// A stream of events.
struct Events(BufReader<Box<dyn Read>>);

impl Events {
    /// Reads on until something concerns the step, or was missed.
    fn next_of(&mut self, id: u64) -> io::Result<()> {
        loop {
            let mut line = String::new();
            if (&mut self.0).take(EVENT_BYTES_MAX).read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim_end() == "event: gap" {
                return Ok(());
            }
            let Some(data) = line.strip_prefix("data:") else { continue };
            let Ok(event) = serde_json::from_str::<ClusterEvent>(data.trim()) else { continue };
            if concerns(&event.kind, id) {
                return Ok(());
            }
        }
    }
}

fn concerns(kind: &ClusterEventKind, id: u64) -> bool {
    match kind {
        ClusterEventKind::Step { step, .. }
        | ClusterEventKind::Progress { step, .. }
        | ClusterEventKind::Failure { step, .. } => step.0 == id,
        ClusterEventKind::Worker { .. } => false,
    }
}

fn read<T: DeserializeOwned>(mut answer: Response<Body>) -> Result<T, Failure> {
    answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_json()
        .map_err(|error| Failure::unreached(format!("the master's answer cannot be read: {error}")))
}

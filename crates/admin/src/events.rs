//! Server-sent events: what happens in the cluster, numbered, resumed by `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use elastic_flow_orchestrator::api::{ClusterEvent, ClusterEventKind};
use futures_util::{Stream, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::error::Refusal;
use crate::face::Face;
use crate::routes::Master;
use crate::said::{Answer, Input, Said, string};

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The header that resumes a stream.
const LAST_SEEN_HEADER: &str = "last-event-id";

/// The data of a `gap` event: these numbers are not kept any more; what matters of them is in the steps themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GapEvent {
    /// The first number that is missing.
    pub from: u64,
    /// The last number that is missing.
    pub to: u64,
}

/// The number of the last event that a client has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastSeen(Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for LastSeen {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(LAST_SEEN_HEADER) else { return Ok(Self(None)) };
        let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        let number = number.ok_or_else(|| Refusal::invalid("Last-Event-ID is not the number of an event"))?;
        Ok(Self(Some(number)))
    }
}

impl Input for LastSeen {
    fn describe(said: &mut Said<'_>) {
        said.parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "description": "The number of the last event that was seen: those after it come first.",
            "schema": { "type": "integer", "minimum": 0 },
        }));
        said.refused(StatusCode::BAD_REQUEST, "Last-Event-ID is not a number");
    }
}

/// A stream of events on its way out.
#[derive(Debug)]
pub(crate) struct EventStream(Response);

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answer for EventStream {
    fn describe(said: &mut Said<'_>) {
        said.schemas.given::<ClusterEvent>();
        said.schemas.given::<GapEvent>();
        let description = "Server-sent events without end. The data of `step`, `worker`, `progress` and `failure` is a \
                           ClusterEvent; that of `gap`, which says that some are not kept any more, a GapEvent.";
        said.succeeds(StatusCode::OK, description, "text/event-stream", string());
    }
}

pub(crate) async fn events<F: Face>(Master(face): Master<F>, LastSeen(last): LastSeen) -> Result<EventStream, Refusal> {
    // Subscribed before the past is read, so that nothing falls between the two.
    let live = face.events();
    let past = match last {
        Some(last) => face.events_since(last).await?,
        None => Vec::new(),
    };
    let feed = Feed { face, live, past: past.into(), last };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(EventStream(Sse::new(feed.into_stream()).keep_alive(keep_alive).into_response()))
}

/// A subscriber: first what it missed, then what happens.
struct Feed<F> {
    face: F,
    live: Receiver<ClusterEvent>,
    past: VecDeque<ClusterEvent>,
    /// The number of the last event sent or, at a resumption, seen by the client.
    last: Option<u64>,
}

impl<F: Face> Feed<F> {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        })
    }

    /// The next event, or none when the master has stopped.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => match self.live.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => {
                        // The past holds more than the channel; a client that never saw an event starts from here.
                        if let Some(last) = self.last {
                            self.past = self.face.events_since(last).await.ok()?.into();
                        }
                        continue;
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            if self.last.is_some_and(|last| event.number <= last) {
                continue;
            }
            if let Some(gap) = self.gap_before(event.number) {
                self.last = Some(gap.to);
                self.past.push_front(event);
                return Some(to_event("gap", gap.to, &gap));
            }
            self.last = Some(event.number);
            return Some(to_event(name_of(&event.kind), event.number, &event));
        }
    }

    fn gap_before(&self, number: u64) -> Option<GapEvent> {
        let from = self.last?.saturating_add(1);
        (from < number).then(|| GapEvent { from, to: number.saturating_sub(1) })
    }
}

fn to_event<T: Serialize>(name: &str, number: u64, data: &T) -> Event {
    let event = Event::default().event(name).id(number.to_string());
    // Plain data with string keys always serialises.
    event.json_data(data).unwrap_or_default()
}

fn name_of(kind: &ClusterEventKind) -> &'static str {
    match kind {
        ClusterEventKind::Step { .. } => "step",
        ClusterEventKind::Worker { .. } => "worker",
        ClusterEventKind::Verdict { .. } => "verdict",
        ClusterEventKind::Progress { .. } => "progress",
        ClusterEventKind::Failure { .. } => "failure",
    }
}

use std::any::Any;
use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use elastic_flow_dataflow::format::Format;
use elastic_flow_dataflow::seam::StepOutput;
use elastic_flow_orchestrator::api::{
    ClusterEvent, ClusterEventKind, ClusterView, CommandView, DeadLetterFilter, DeadLetterKind, DeadLetterView,
    FailureView, ReceiptFilter, ReceiptView, ResultView, StepView, WorkerView,
};
use elastic_flow_orchestrator::{ApiError, Submission};
use elastic_flow_queue::{Caller, CallerRole, CommandKind, OnFailure, StepState};
use elastic_flow_receipt::{Audit, NodeId, ReceiptId, StageId, StepId};
use elastic_flow_wire::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast;
use tower::ServiceExt;

use super::*;
use crate::rows;
use crate::token::{Role, Token};

/// A master that answers from what it was given.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    ready: bool,
    events: broadcast::Sender<ClusterEvent>,
    past: Vec<ClusterEvent>,
    caller: Option<Caller>,
}

struct Rows(u64);

impl StepOutput for Rows {
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
    fn rows(&self) -> u64 {
        self.0
    }
    fn write(&self, format: Format, out: &mut dyn io::Write) -> io::Result<()> {
        (0..self.0).try_for_each(|row| writeln!(out, "{format} {row}"))
    }
    fn encode(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write!(out, "encoded {}", self.0)
    }
    fn report(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "report")?;
        if self.0 == 0 { Err(io::Error::other("no rows")) } else { Ok(()) }
    }
}

pub(crate) fn view(id: u64, label: Option<String>) -> StepView {
    StepView {
        id: StepId(id),
        program: "p".to_owned(),
        label,
        key: None,
        params: Vec::new(),
        inputs: Vec::new(),
        state: StepState::Pending,
        on_failure: OnFailure::Continue,
        replay_of: None,
        submitted_at: 1,
        started_at: None,
        ended_at: None,
        reason: None,
        error_kind: None,
        commands: vec![CommandView {
            what: CommandKind::Drain,
            node: Some("yam2".to_owned()),
            role: CallerRole::Admin,
            address: Some("::1".to_owned()),
            at: 2,
        }],
        waiting_for: None,
        progress: None,
        files: Vec::new(),
    }
}

impl Face for Fake {
    fn by(&self, caller: Caller) -> Self {
        Self { caller: Some(caller), ..self.clone() }
    }
    async fn submit(&self, submission: Submission) -> Result<StepId, ApiError> {
        if submission.program == "p" { Ok(StepId(7)) } else { Err(ApiError::Invalid("no such program".to_owned())) }
    }
    async fn steps(&self) -> Result<Vec<StepView>, ApiError> {
        Ok(vec![view(1, Some("<script>alert(1)</script>".to_owned()))])
    }
    async fn step(&self, step: StepId) -> Result<StepView, ApiError> {
        if step.0 < 10 { Ok(view(step.0, None)) } else { Err(ApiError::NoStep(step)) }
    }
    async fn cancel(&self, step: StepId) -> Result<StepView, ApiError> {
        Err(ApiError::Conflict(format!("step {} has ended", step.0)))
    }
    async fn replay(&self, step: StepId) -> Result<StepId, ApiError> {
        Ok(StepId(step.0 + 1))
    }
    async fn audit(&self, step: StepId) -> Result<Audit, ApiError> {
        Err(ApiError::NoStep(step))
    }
    async fn receipts(&self, _step: StepId, filter: ReceiptFilter) -> Result<Vec<ReceiptView>, ApiError> {
        Err(ApiError::Invalid(format!("{filter:?}")))
    }
    async fn receipt(&self, receipt: ReceiptId) -> Result<ReceiptView, ApiError> {
        Err(ApiError::NoStep(receipt.step))
    }
    async fn failures(&self, _step: StepId) -> Result<Vec<FailureView>, ApiError> {
        Ok(Vec::new())
    }
    async fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Result<Vec<DeadLetterView>, ApiError> {
        let receipt = ReceiptId::conceive(step, StageId(0), 0, 0, 3, 1, 1);
        let letter = |number| DeadLetterView {
            number,
            kind: DeadLetterKind::Skipped,
            receipt,
            item: Some(4),
            node: "yam2".to_owned(),
            error: "no number".to_owned(),
            text: Some("x".to_owned()),
            item_bytes: Some(1),
        };
        Ok((filter.from..filter.from + u64::from(filter.limit)).map(letter).collect())
    }
    async fn result(&self, step: StepId) -> Result<ResultView, ApiError> {
        let output: Box<dyn StepOutput> = Box::new(Rows(if step.0 == 9 { 0 } else { 100_000 }));
        Ok(ResultView { output: Arc::new(output), complete: step.0 == 1, receipts: 3, receipts_conceived: 4 })
    }
    async fn drain(&self, name: &str) -> Result<Vec<WorkerView>, ApiError> {
        Err(ApiError::NoWorker(format!("{name} of {:?}", self.caller)))
    }
    async fn workers(&self) -> Result<Vec<WorkerView>, ApiError> {
        Err(ApiError::Stopping)
    }
    async fn cluster(&self) -> Result<ClusterView, ApiError> {
        Ok(ClusterView {
            cluster: "c".to_owned(),
            epoch: 1,
            master: NodeId(1),
            address: "127.0.0.1:7117".to_owned(),
            build: "b".to_owned(),
            store: "memory".to_owned(),
            workers: 0,
            programs: Vec::new(),
            uptime_nanos: 0,
            min_workers: 2,
            ready: self.ready,
        })
    }
    fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        self.events.subscribe()
    }
    async fn events_since(&self, number: u64) -> Result<Vec<ClusterEvent>, ApiError> {
        Ok(self.past.iter().filter(|event| event.number > number).cloned().collect())
    }
    async fn worker_metrics(&self) -> Result<Vec<(String, String)>, ApiError> {
        Ok(Vec::new())
    }
}

pub(crate) fn fake() -> Fake {
    Fake { ready: true, events: broadcast::channel(16).0, past: Vec::new(), caller: None }
}

fn secret() -> Secret {
    Secret::from_bytes([5; 32])
}

fn guard() -> Guard {
    Guard {
        local: "127.0.0.1:7118".parse().unwrap(),
        hosts: Vec::new(),
        metrics_open: false,
        tokens: Arc::new(RwLock::new(Some(Tokens::derive(&secret())))),
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

pub(crate) async fn ask(face: Fake, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
    ask_as(Role::Submit, face, method, path, body).await
}

async fn ask_as(role: Role, face: Fake, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
    let token = Token::derive(&secret(), role);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .extension(Peer("10.0.0.7".parse().unwrap()))
        .header("host", "127.0.0.1:7118")
        .header("authorization", format!("Bearer {}", token.expose()));
    if let Some((media_type, _)) = &body {
        request = request.header("content-type", *media_type);
    }
    let request = request.body(body.map_or_else(Body::empty, |(_, body)| Body::from(body))).unwrap();
    let response = guarded(routes::master(face, Metrics::none()), guard()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 << 20)
        .await
        .map_or_else(|error| error.to_string(), |body| String::from_utf8_lossy(&body).into_owned());
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get(path: &str) -> Answer {
    ask(fake(), Method::GET, path, None).await
}

async fn submit(body: Value) -> Answer {
    ask(fake(), Method::POST, "/api/v1/steps", Some(("application/json", body.to_string()))).await
}

#[tokio::test]
async fn dead_letters_come_page_by_page() {
    let page = get("/api/v1/steps/1/dead-letters?from=5&limit=2").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let page = page.json();
    let told =
        |index: usize| (page[index]["number"].as_u64(), page[index]["kind"].as_str(), page[index]["text"].as_str());
    assert_eq!([told(0), told(1)], [5, 6].map(|number| (Some(number), Some("skipped"), Some("x"))));
    for query in ["limit=10001", "from=9007199254740992", "from=-1", "kind=skipped"] {
        let refused = get(&format!("/api/v1/steps/1/dead-letters?{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
    }
}

#[tokio::test]
async fn a_step_is_submitted_and_found() {
    let created = submit(json!({ "program": "p" })).await;
    assert_eq!((created.status, created.json()["id"].as_u64()), (201, Some(7)));
    assert_eq!(created.headers["location"], "/api/v1/steps/7");
    assert_eq!(get("/api/v1/steps/7").await.json()["state"], "PENDING");
    assert_eq!(ask(fake(), Method::POST, "/api/v1/steps/7/replay", None).await.json()["id"], 8);
}

#[tokio::test]
async fn the_master_is_told_who_drains_a_worker() {
    let drain = |role| ask_as(role, fake(), Method::POST, "/api/v1/workers/yam%202/drain", None);
    let refused = drain(Role::Admin).await;
    let caller = Caller::remote(CallerRole::Admin, "10.0.0.7");
    assert_eq!(refused.status, 404, "{}", refused.body);
    let message = refused.json()["message"].as_str().map(str::to_owned);
    assert_eq!(message, Some(ApiError::NoWorker(format!("yam 2 of {:?}", Some(caller))).to_string()));
    assert_eq!(drain(Role::Submit).await.status, 403);
}

#[tokio::test]
async fn refusals_have_a_kind_and_a_sentence() {
    for (path, status, kind) in [
        ("/api/v1/steps/11", 404, "not_found"),
        ("/api/v1/steps/eleven", 400, "invalid"),
        ("/api/v1/steps/1/audit", 404, "not_found"),
        ("/api/v1/workers", 503, "stopping"),
        ("/api/v1/receipts/nonsense", 404, "not_found"),
        ("/api/v1/steps/99999999999999999999", 404, "not_found"),
        ("/api/v1/steps/%FF", 400, "invalid"),
        ("/api/v1/steps/1/receipts?limit=10001", 400, "invalid"),
        ("/api/v1/steps/1/receipts?nod=x", 400, "invalid"),
        ("/api/v1/steps/1/result?format=xml", 400, "invalid"),
        ("/api/v1/nothing", 404, "not_found"),
        ("/../etc/passwd", 404, "not_found"),
        ("/metrics", 404, "not_found"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (status, Some(kind)), "{path}");
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    let conflict = ask(fake(), Method::POST, "/api/v1/steps/1/cancel", None).await;
    assert_eq!((conflict.status, conflict.json()["message"].as_str()), (409, Some("step 1 has ended")));
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_refused() {
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = ask(fake(), method, "/api/v1/steps", None).await;
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (405, Some("method_not_allowed")));
    }
    assert_eq!(ask(fake(), Method::POST, "/livez", None).await.status, 405);
}

#[tokio::test]
async fn submissions_are_checked_before_the_master_sees_them() {
    for (body, why) in [
        (json!({ "program": "a b" }), "letters, digits"),
        (json!({ "program": "/etc/passwd" }), "letters, digits"),
        (json!({ "program": "" }), "letters, digits"),
        (json!({ "program": "p", "label": "a\nb" }), "control characters"),
        (json!({ "program": "p", "key": "a\u{0}b" }), "control characters"),
        (json!({ "program": "p", "label": "x".repeat(257) }), "256 bytes"),
        (json!({ "program": "p", "prio": 1 }), "not a submission"),
    ] {
        let answer = submit(body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.body.contains(why), "{body}: {}", answer.body);
    }
    let unknown = submit(json!({ "program": "q" })).await;
    assert_eq!((unknown.status, unknown.json()["kind"].as_str()), (422, Some("unprocessable")));
    let huge = submit(json!({ "program": "p", "label": "x".repeat(2 << 20) })).await;
    assert_eq!((huge.status, huge.json()["kind"].as_str()), (413, Some("too_large")));
    let form = ask(fake(), Method::POST, "/api/v1/steps", Some(("text/plain", "{}".to_owned()))).await;
    assert_eq!(form.status, 415);
}

#[tokio::test]
async fn a_result_is_streamed_and_says_whether_it_is_partial() {
    let whole = get("/api/v1/steps/1/result").await;
    assert_eq!((whole.status, whole.body.lines().count()), (200, 100_000));
    assert_eq!(whole.body.lines().last(), Some("jsonl 99999"));
    assert_eq!(whole.headers[PARTIAL], "false");
    assert_eq!(whole.headers["content-type"], "application/x-ndjson");
    let partial = get("/api/v1/steps/2/result?format=tsv").await;
    assert_eq!(partial.headers[PARTIAL], "true");
    assert_eq!(partial.headers[rows::RECEIPTS_HEADER], "3/4");
    assert!(partial.body.starts_with("tsv 0\n"));
    assert_eq!(get("/api/v1/steps/1/result?format=report").await.body, "report\n");
    assert_eq!(get("/api/v1/steps/1/result?format=encoded").await.body, "encoded 100000");
}

const PARTIAL: &str = rows::PARTIAL_HEADER;

#[tokio::test]
async fn a_result_that_breaks_off_is_not_taken_for_whole() {
    let broken = get("/api/v1/steps/9/result?format=report").await;
    assert_eq!(broken.status, 200);
    assert!(broken.body.contains("no rows"), "the body ends with an error: {}", broken.body);
}

#[tokio::test]
async fn probes_say_whether_the_master_is_ready() {
    assert_eq!(get("/livez").await.status, 200);
    assert_eq!(get("/readyz").await.status, 200);
    let busy = ask(Fake { ready: false, ..fake() }, Method::GET, "/readyz", None).await;
    assert_eq!(busy.status, 503);
    assert!(busy.json()["message"].as_str().unwrap().contains("admin.min_workers"));
}

#[tokio::test]
async fn nothing_is_ever_a_page() {
    let answer = get("/api/v1/steps").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("access-control-allow-origin"));
    assert_eq!(answer.json()[0]["label"], "<script>alert(1)</script>");
}

fn event(number: u64) -> ClusterEvent {
    let kind = ClusterEventKind::Worker { name: format!("w{number}"), connected: true, reason: None };
    ClusterEvent { number, at: 0, kind }
}

/// Starts a server over `face`, asks for the events after `last`, and reads until `until` has come.
async fn events(face: Fake, last: &str, until: &str, publish: Option<ClusterEvent>) -> String {
    let config = AdminConfig { listen: "127.0.0.1:0".to_owned(), ..AdminConfig::default() };
    let tokens = Some(Tokens::derive(&secret()));
    let sender = face.events.clone();
    let server = AdminServer::master(&config, face, tokens, Metrics::none()).await.expect("it listens");
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let token = Token::derive(&secret(), Role::Read);
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nlast-event-id: {last}\r\n\r\n",
        token.expose()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut block = [0; 4096];
    let mut publish = publish;
    while !text.contains(until) {
        let length = stream.read(&mut block).await.unwrap();
        assert_ne!(length, 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&block[..length]));
        if let Some(event) = publish.take() {
            sender.send(event).unwrap();
        }
    }
    server.stop().await;
    text
}

#[tokio::test]
async fn a_subscriber_that_comes_back_gets_what_it_missed_and_then_what_happens() {
    let face = Fake { past: (1..=3).map(event).collect(), ..fake() };
    let text = events(face, "1", "\"w4\"", Some(event(4))).await;
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["2", "3", "4"], "{text}");
    assert!(text.contains("event: worker") && !text.contains("event: gap"));
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_named_as_a_gap() {
    let face = Fake { past: (5..=6).map(event).collect(), ..fake() };
    let text = events(face, "1", "\"w6\"", None).await;
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["4", "5", "6"], "{text}");
    assert!(text.contains("event: gap") && text.contains("{\"from\":2,\"to\":4}"), "{text}");
}

#[tokio::test]
async fn listening_beyond_loopback_is_refused_unless_plain_text_is_allowed() {
    let config = AdminConfig { listen: "0.0.0.0:0".to_owned(), ..AdminConfig::default() };
    let refused = AdminServer::master(&config, fake(), None, Metrics::none()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("security.insecure_plaintext")));
    let allowed = AdminConfig { insecure_plaintext: true, ..config };
    AdminServer::master(&allowed, fake(), None, Metrics::none()).await.expect("it listens").stop().await;
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let config = AdminConfig { listen: listen.clone(), ..AdminConfig::default() };
    let error = AdminServer::worker(&config, || true, None, Metrics::none()).await.expect_err("it is taken");
    assert!(error.to_string().contains(&listen), "{error}");
}

#[tokio::test]
async fn a_worker_serves_its_probes_and_nothing_else() {
    let routes = guarded(worker_routes(Arc::new(|| false), Metrics::none()), guard());
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/api/v1/steps", 401), ("/metrics", 404)] {
        let request = Request::builder().uri(path).header("host", "localhost:7118").body(Body::empty()).unwrap();
        assert_eq!(routes.clone().oneshot(request).await.unwrap().status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn stopping_ends_an_open_stream() {
    let config = AdminConfig { listen: "127.0.0.1:0".to_owned(), ..AdminConfig::default() };
    let server = AdminServer::master(&config, fake(), None, Metrics::none()).await.expect("it listens");
    let mut idle = TcpStream::connect(server.local_addr()).await.unwrap();
    server.stop().await;
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap_or_default(), 0);
}

//! Logs: human on a terminal, JSON on request, each line with its node; and the last lines, kept for failures.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines that a node keeps for the failures it reports.
const TAIL_LINES: usize = 20;
/// Bytes of a line that are kept.
const TAIL_LINE_BYTES_MAX: usize = 512;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The last lines that this process logged, at any level from `info` up.
#[derive(Debug, Clone, Default)]
pub struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The lines as the function that a node asks for them.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
        let tail = self.clone();
        Arc::new(move || tail.lines())
    }

    fn push(&self, line: &str) {
        let end = line.floor_char_boundary(TAIL_LINE_BYTES_MAX);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.get(..end).unwrap_or_default().to_owned());
    }
}

/// Collects one event's line.
#[derive(Debug)]
struct TailLine {
    tail: LogTail,
    bytes: Vec<u8>,
}

impl Write for TailLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TailLine {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.bytes).lines() {
            self.tail.push(line);
        }
    }
}

/// Writes into the tail.
struct TailWriter(LogTail);

impl<'a> MakeWriter<'a> for TailWriter {
    type Writer = TailLine;

    fn make_writer(&'a self) -> TailLine {
        TailLine { tail: self.0.clone(), bytes: Vec::new() }
    }
}

/// Installs the log of this process, unless the program has installed a subscriber of its own: that is used then, nothing is
/// installed, and the tail stays empty.
///
/// # Errors
/// `filter` is no level and no list of `target=level`.
pub(crate) fn install(filter: &str, format: LogFormat, node: Option<&str>) -> Result<LogTail, String> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        format!("the log level {filter:?} is wrong: it is error, warn, info, debug, trace or a list of target=level ({error})")
    })?;
    let tail = LogTail::default();
    let keep = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(TailWriter(tail.clone()))
        .with_filter(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let node = node.map(str::to_owned);
    let show: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Human => {
            let event = HumanLine { node, inner: Format::default() };
            lines.with_ansi(io::stderr().is_terminal()).event_format(event).with_filter(filter).boxed()
        }
        LogFormat::Json => {
            let event = JsonLine { node, inner: Format::default().json().flatten_event(true) };
            lines.fmt_fields(JsonFields::new()).event_format(event).with_filter(filter).boxed()
        }
    };
    let log = Dispatch::new(tracing_subscriber::registry().with(show).with(keep));
    if tracing::dispatcher::set_global_default(log.clone()).is_err() {
        return Ok(LogTail::default());
    }
    // What libraries say through `log` comes here, too, unless the program has a logger of its own. That the subscriber is set, as
    // it is since the lines above, is reported as an error after that.
    log.try_init().ok();
    Ok(tail)
}

/// `NODE` before the usual line.
struct HumanLine {
    node: Option<String>,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for HumanLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        if let Some(node) = &self.node {
            write!(out, "{node} ")?;
        }
        self.inner.format_event(ctx, out, event)
    }
}

/// `"node"` as the first field of the usual object.
struct JsonLine {
    node: Option<String>,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let Some(node) = &self.node else { return self.inner.format_event(ctx, out, event) };
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(out, "{{\"node\":{},{rest}", serde_json::Value::from(node.as_str())),
            None => out.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let tail = LogTail::default();
        let log = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(TailWriter(tail.clone()))
            .with_filter(LevelFilter::INFO);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            for number in 0..TAIL_LINES + 3 {
                tracing::info!(number, "line");
            }
            tracing::debug!("not this");
        });
        let lines = tail.reader()();
        assert_eq!(lines.len(), TAIL_LINES);
        assert!(lines[0].contains("number=3") && lines[TAIL_LINES - 1].contains("number=22"), "{lines:?}");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let tail = LogTail::default();
        tail.push(&"é".repeat(TAIL_LINE_BYTES_MAX));
        assert_eq!(tail.lines()[0].len(), TAIL_LINE_BYTES_MAX);
    }

    #[test]
    fn a_json_line_starts_with_its_node() {
        let tail = LogTail::default();
        let event = JsonLine { node: Some("w\"1".to_owned()), inner: Format::default().json().flatten_event(true) };
        let log = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .with_writer(TailWriter(tail.clone()))
            .event_format(event);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || tracing::info!(step = 3, "ran"));
        let line: serde_json::Value = serde_json::from_str(&tail.lines()[0]).expect("a JSON object");
        assert_eq!(
            (line["node"].as_str(), line["step"].as_u64(), line["message"].as_str()),
            (Some("w\"1"), Some(3), Some("ran"))
        );
    }

    /// A logger of a program's own.
    struct Own(Mutex<Vec<String>>);

    impl log::Log for Own {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    static OWN: Own = Own(Mutex::new(Vec::new()));

    /// The one test here that installs something in the process.
    #[test]
    fn a_logger_of_the_programs_own_stays_and_costs_the_node_no_line() {
        log::set_logger(&OWN).expect("no other test sets one");
        log::set_max_level(log::LevelFilter::Info);
        let tail = install("error", LogFormat::Human, None).unwrap();
        tracing::info!("from the node");
        log::info!("from a library");
        assert!(tail.lines().iter().any(|line| line.ends_with("from the node")), "{:?}", tail.lines());
        assert!(OWN.0.lock().unwrap().iter().any(|line| line == "from a library"));
        // The subscriber that is there now is used from here on, and another one would stay empty.
        let second = install("error", LogFormat::Human, None).unwrap();
        tracing::info!("and again");
        assert!(tail.lines().iter().any(|line| line.ends_with("and again")), "{:?}", tail.lines());
        assert_eq!(second.lines(), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_level_is_refused() {
        assert!(install("no=such=thing", LogFormat::Human, None).unwrap_err().contains("error, warn, info"));
    }
}

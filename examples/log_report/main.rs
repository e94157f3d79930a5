//! Reports the requests of several servers from their access logs: by service, hour and status how many there were, how long they
//! took together and at most, and the quantiles of that.
//!
//! `cargo run --release --example log_report -- run --input 'logs/*/access.log*' --output report` writes it as CSV; compressed logs
//! are read as they are. `--param day=2026-11-24` reports that day alone. [`log_report.md`](../log_report.md) goes through it.
//!
//! What it shows: parameters that are checked; lines that cannot be read, which are set aside one by one and not the whole chunk;
//! a small table that is joined in memory; and a reduction whose values are more than numbers.

mod latencies;
mod line;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;

use elastic_flow::dataflow::params::Duration;
use elastic_flow::prelude::*;
use serde::{Deserialize, Serialize};

use latencies::Latencies;
use line::Request;

/// Which service answers what, by the first part of the path.
///
/// The flow function runs again on every worker, and each of them has to join with the same table. A file that is read there would
/// be another one on each server; this is part of the program, and a worker of another program is given no work.
const SERVICES: &str = include_str!("services.csv");
/// The service of a path that is not in the table.
const UNKNOWN: &str = "unknown";
/// Rows that are shown on a terminal.
const SHOWN: usize = 10;

/// What `--param` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// Only the requests of this day, in UTC.
    day: Option<Day>,
    /// How long every chunk sleeps first, for walk-throughs.
    slow: Option<Duration>,
}

/// A day such as `2026-11-24`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Day(String);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits =
            |from: usize, to: usize| text.get(from..to).is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
        let parts = digits(0, 4) && digits(5, 7) && digits(8, 10);
        let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
        if text.len() == 10 && parts && dashes {
            return Ok(Self(text));
        }
        Err(format!("{text:?} is not a day: write it as 2026-11-24"))
    }
}

/// What the requests are reported by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Group {
    service: Text,
    hour: Text,
    status: u16,
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    service: Text,
    hour: Text,
    status: u16,
    requests: u64,
    micros_sum: u64,
    micros_max: u64,
    /// Half of the requests took no longer, within 1 %.
    micros_p50: f64,
    micros_p90: f64,
    micros_p99: f64,
}

/// The table of services, by path.
fn services() -> BTreeMap<Text, Text> {
    SERVICES
        .lines()
        .skip(1)
        .filter_map(|row| row.split_once(','))
        .map(|(path, name)| (path.into(), name.into()))
        .collect()
}

/// A line, or why it is set aside: the rest of its chunk counts all the same.
fn parse(line: Text) -> FlowResult<Request> {
    Request::parse(line.as_str().or_skip()?).or_skip()
}

fn report_requests(lines: Flow<Text>, params: Params) -> Flow<(Group, Latencies)> {
    let Params { day, slow } = params;
    // Straight behind the source, so that a line that is set aside is listed with its text and its place.
    let requests = lines.try_map(parse);
    match slow {
        None => reduce(requests, day),
        Some(slow) => {
            let sleep = move |requests| {
                thread::sleep(*slow);
                requests
            };
            reduce(requests.map_batch(usize::MAX, sleep), day)
        }
    }
}

fn reduce<C>(requests: Flow<Request, C>, day: Option<Day>) -> Flow<(Group, Latencies)>
where
    C: Chain<Item = Request>,
{
    let services = services();
    requests
        .filter(move |it| day.as_ref().is_none_or(|Day(day)| it.hour.starts_with(day.as_bytes())))
        .map(move |Request { hour, path, status, micros }| {
            let service = services.get(&path).cloned().unwrap_or_else(|| UNKNOWN.into());
            (Group { service, hour, status }, micros)
        })
        .fold_by_key(Latencies::default, Latencies::add, Latencies::merge)
}

/// Makes the rows of the report, in order, once all requests are reduced.
struct Report;

impl Aggregate for Report {
    type Item = (Group, Latencies);
    type State = Vec<Row>;
    type Output = Vec<Row>;

    fn start(&self) -> Vec<Row> {
        Vec::new()
    }

    fn merge(&self, rows: &mut Vec<Row>, (group, latencies): (Group, Latencies), _: Option<ReceiptId>) {
        let Group { service, hour, status } = group;
        let [micros_p50, micros_p90, micros_p99] = [0.5, 0.9, 0.99].map(|share| latencies.quantile(share));
        let Latencies { requests, micros_sum, micros_max, .. } = latencies;
        rows.push(Row { service, hour, status, requests, micros_sum, micros_max, micros_p50, micros_p90, micros_p99 });
    }

    fn finish(&self, mut rows: Vec<Row>) -> Vec<Row> {
        rows.sort_unstable_by(|a, b| (&a.service, &a.hour, a.status).cmp(&(&b.service, &b.hour, b.status)));
        rows
    }
}

/// The rows as CSV, with a head. No cell has a comma or a quote: services are ours, the rest are numbers and times.
fn write_csv(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "service,hour,status,requests,micros_sum,micros_max,micros_p50,micros_p90,micros_p99")?;
    for row in rows {
        let (service, hour) = (row.service.to_str_lossy(), row.hour.to_str_lossy());
        let Row { status, requests, micros_sum, micros_max, micros_p50, micros_p90, micros_p99, .. } = row;
        write!(out, "{service},{hour},{status},{requests},{micros_sum},{micros_max},")?;
        writeln!(out, "{micros_p50:.1},{micros_p90:.1},{micros_p99:.1}")?;
    }
    Ok(())
}

/// The groups with the slowest tenth, for people.
fn show(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut slowest: Vec<&Row> = rows.iter().collect();
    slowest.sort_by(|a, b| b.micros_p90.total_cmp(&a.micros_p90));
    for row in slowest.into_iter().take(SHOWN) {
        let (service, hour) = (row.service.to_str_lossy(), row.hour.to_str_lossy());
        let millis = row.micros_p90 / 1_000.0;
        writeln!(
            out,
            "{service:<10} {hour} {} {:>9} requests, 90 % within {millis:>9.1} ms",
            row.status, row.requests
        )?;
    }
    let requests: u64 = rows.iter().map(|row| row.requests).sum();
    writeln!(out, "{requests} requests in {} groups", rows.len())
}

fn main() -> ExitCode {
    let program = match TypedProgram::new("log_report", report_requests) {
        Ok(program) => program,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            return ExitCode::from(2);
        }
    };
    let program = program.aggregate(Report);
    App::new().register(program.report(|rows, out| show(rows, out)).output(|rows, out| write_csv(rows, out))).main()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, path: &str, status: u16, micros: u64) -> String {
        format!("::1 - - [{time} +0000] \"GET {path} HTTP/2\" {status} 1 \"-\" \"-\" {micros}")
    }

    fn lines() -> Vec<Text> {
        vec![
            line("24/Nov/2026:13:00:00", "/cart/1", 200, 100).into(),
            line("24/Nov/2026:13:59:59", "/checkout", 200, 300).into(),
            "not a line of a log".into(),
            line("24/Nov/2026:14:00:00", "/cart/2", 200, 7).into(),
            line("24/Nov/2026:13:30:00", "/cart/3", 500, 9).into(),
            line("23/Nov/2026:13:30:00", "/favicon.ico", 404, 0).into(),
            Text::from(&b"\xff"[..]),
        ]
    }

    fn reported(params: &[(&str, &str)]) -> String {
        let program = TypedProgram::new("log_report", report_requests).unwrap().aggregate(Report);
        let rows = program.on_with(params.iter().copied(), lines()).unwrap();
        let mut csv = Vec::new();
        write_csv(&rows, &mut csv).unwrap();
        String::from_utf8(csv).unwrap()
    }

    const HEAD: &str = "service,hour,status,requests,micros_sum,micros_max,micros_p50,micros_p90,micros_p99\n";

    #[test]
    fn requests_are_reported_by_service_hour_and_status() {
        let rows = "shop,2026-11-24T13,200,2,400,300,100.5,100.5,100.5\n\
                    shop,2026-11-24T13,500,1,9,9,8.9,8.9,8.9\n\
                    shop,2026-11-24T14,200,1,7,7,7.0,7.0,7.0\n\
                    unknown,2026-11-23T13,404,1,0,0,0.0,0.0,0.0\n";
        assert_eq!(reported(&[]), format!("{HEAD}{rows}"));
    }

    #[test]
    fn a_day_leaves_out_all_others() {
        assert_eq!(reported(&[("day", "2026-11-23")]), format!("{HEAD}unknown,2026-11-23T13,404,1,0,0,0.0,0.0,0.0\n"));
        assert_eq!(reported(&[("day", "2026-11-25")]), HEAD);
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(Day::try_from("2026-11-24".to_owned()), Ok(Day("2026-11-24".to_owned())));
        for wrong in ["", "today", "24.11.2026", "2026-11-2", "2026-11-241", "2026/11/24", "2026-1é-24"] {
            assert!(Day::try_from(wrong.to_owned()).unwrap_err().contains("2026-11-24"), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_gives_the_same_and_accounts_for_every_line() {
        let program = TypedProgram::new("log_report", report_requests).unwrap().aggregate(Report);
        let settings = elastic_flow::orchestrator::Settings { max_skips: 2, chunk_items: 1, ..Default::default() };
        let run = Cluster::local(2).settings(settings).run(&program, lines()).unwrap();
        assert_eq!(run.output, program.on(lines()).unwrap());
        assert_eq!(run.step.state, StepState::CompletedWithSkips);
        assert_eq!((run.audit.rows.aggregated.entries, run.audit.rows.skipped.entries), (7, 2));
        assert!(run.audit.balanced(), "{}", run.audit);
    }
}

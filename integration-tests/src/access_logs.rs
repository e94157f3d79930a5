//! Access logs of several servers, and the report that SQLite makes of them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test without its input has failed")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::place::Place;

/// What `cargo xtask access-logs` runs: one way to make such logs, for people and tests.
#[path = "../../xtask/src/access_logs.rs"]
mod xtask;

/// The table that the report joins with.
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/log_report/services.csv");
/// Makes the report with SQLite, as Python's `sqlite3` module has it.
const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/oracle_report.py");
/// How far a quantile may be from the true one, in parts of that; and half of the last digit that is written.
const QUANTILE_ERROR: f64 = 0.01;
const ROUNDING: f64 = 0.051;

/// Logs in the folders `servers/server-1` and so on.
#[derive(Debug)]
pub struct AccessLogs {
    /// Lines that nobody can read.
    pub broken: u64,
    /// All lines.
    pub lines: u64,
    folder: PathBuf,
}

impl AccessLogs {
    /// Logs of `servers` servers, `lines` lines each.
    ///
    /// # Panics
    /// They cannot be written.
    #[must_use]
    pub fn write(place: &Place, servers: u64, lines: u64, seed: u64) -> Self {
        let folder = place.path("servers");
        let numbers = [("--servers", servers), ("--lines", lines), ("--seed", seed)];
        let mut args: Vec<String> =
            numbers.into_iter().flat_map(|(flag, number)| [flag.to_owned(), number.to_string()]).collect();
        args.extend(["--output".to_owned(), place.text("servers")]);
        let logs = xtask::AccessLogs::from_args(&args).expect("these are its arguments");
        let written = logs.write().expect("the logs are written");
        Self { broken: written.broken(), lines: servers * lines, folder }
    }

    /// A glob of all of them.
    ///
    /// # Panics
    /// The temporary folder's name is not UTF-8.
    #[must_use]
    pub fn glob(&self) -> String {
        format!("{}/*/access.log*", self.folder.to_str().expect("a plain name"))
    }

    /// The folder of a server, from 1.
    #[must_use]
    pub fn server(&self, number: usize) -> PathBuf {
        self.folder.join(format!("server-{number}"))
    }

    /// The files of some servers, as Python can read them: it has no zstd of its own.
    fn readable(&self, place: &Place, servers: &[usize]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for server in servers {
            for entry in fs::read_dir(self.server(*server)).expect("a server's folder") {
                let path = entry.expect("its files").path();
                if path.extension().is_some_and(|it| it == "zst") {
                    let plain = place.path(&format!("server-{server}-plain"));
                    let text = zstd::decode_all(File::open(path).expect("a log")).expect("a log of zstd");
                    fs::write(&plain, text).expect("a file of the test");
                    files.push(plain);
                } else {
                    files.push(path);
                }
            }
        }
        files
    }

    /// What SQLite reports of some servers' logs, of one day or, where that is empty, of all.
    ///
    /// # Panics
    /// There is no Python.
    #[must_use]
    pub fn oracle(&self, place: &Place, servers: &[usize], day: &str) -> Expected {
        let mut command = place.command("python3");
        command.args([ORACLE, SERVICES, day]).args(self.readable(place, servers));
        let output = command.output().expect("Python 3, which the tests need");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a report")
    }
}

/// A row of the report: service, hour and status; count, sum and maximum; the three quantiles.
type Row<Q> = (String, String, u16, u64, u64, u64, Q, Q, Q);

/// What SQLite reports.
#[derive(Debug, Deserialize)]
pub struct Expected {
    /// Lines that are none of an access log.
    pub broken: u64,
    rows: Vec<Row<u64>>,
}

impl Expected {
    /// Compares a report that the program wrote: all of it is equal, but for the quantiles, which are within the error that their
    /// sketch states.
    ///
    /// # Panics
    /// It is another one.
    #[track_caller]
    pub fn assert_reported(&self, report: &Path) {
        let text = fs::read_to_string(report).expect("the program's report");
        let (head, rows) = text.split_once('\n').expect("a head");
        assert_eq!(head, "service,hour,status,requests,micros_sum,micros_max,micros_p50,micros_p90,micros_p99");
        let rows: Vec<Row<f64>> = rows.lines().map(row).collect();
        assert!(!self.rows.is_empty(), "there is something to compare");
        // Row by row: the first difference says more than two long reports.
        for (found, expected) in rows.iter().zip(&self.rows) {
            let (service, hour, status, requests, sum, max, ..) = expected;
            let exact = (&found.0, &found.1, &found.2, &found.3, &found.4, &found.5);
            assert_eq!(exact, (service, hour, status, requests, sum, max));
            for (found, exact) in [(found.6, expected.6), (found.7, expected.7), (found.8, expected.8)] {
                let exact = exact as f64;
                let off = (found - exact).abs();
                assert!(off <= exact * QUANTILE_ERROR + ROUNDING, "{found} for {exact} of {expected:?}");
            }
        }
        assert_eq!(rows.len(), self.rows.len(), "rows");
    }
}

fn row(line: &str) -> Row<f64> {
    let cells: Vec<&str> = line.split(',').collect();
    let [service, hour, status, requests, sum, max, p50, p90, p99] = cells[..] else { panic!("{line}") };
    let number = |text: &str| text.parse::<u64>().expect("a whole number");
    let quantile = |text: &str| text.parse::<f64>().expect("a number");
    let status = status.parse().expect("a status");
    (
        service.to_owned(),
        hour.to_owned(),
        status,
        number(requests),
        number(sum),
        number(max),
        quantile(p50),
        quantile(p90),
        quantile(p99),
    )
}

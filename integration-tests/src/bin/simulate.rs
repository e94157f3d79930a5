//! Runs seeds of ring 1: `simulate --seeds N [--from S] [--bug NAME]`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use elastic_flow_integration_tests::sim::{self, Bug, Summary, Violation};

struct Args {
    seeds: u64,
    from: u64,
    bug: Option<Bug>,
}

fn args() -> anyhow::Result<Args> {
    let mut parsed = Args { seeds: 2_000, from: 0, bug: None };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().with_context(|| format!("{flag} takes a value"))?;
        match flag.as_str() {
            "--seeds" => parsed.seeds = value.parse().with_context(|| format!("--seeds {value}: not a number"))?,
            "--from" => parsed.from = value.parse().with_context(|| format!("--from {value}: not a number"))?,
            "--bug" => {
                let bug = Bug::ALL.into_iter().find(|it| it.name() == value);
                parsed.bug =
                    Some(bug.with_context(|| format!("--bug {value}: known are {:?}", Bug::ALL.map(Bug::name)))?);
            }
            other => bail!("{other}: known are --seeds N, --from S and --bug NAME"),
        }
    }
    Ok(parsed)
}

#[expect(clippy::print_stdout, reason = "a program whose output is its report")]
fn main() -> anyhow::Result<ExitCode> {
    let args = args()?;
    let (next, sum) = (AtomicU64::new(args.from), Mutex::new((Summary::default(), Vec::<Violation>::new())));
    let end = args.from.saturating_add(args.seeds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let result = sim::run(seed, args.bug);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(summary) => sum.0 += summary,
                        Err(violation) => sum.1.push(violation),
                    }
                }
            });
        }
    });
    let (summary, mut violations) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    violations.sort_by_key(|it| it.seed);
    println!("{} seeds from {}: {summary:#?}", args.seeds, args.from);
    for violation in violations.iter().take(10) {
        println!("VIOLATED {violation}");
        println!("  again with: cargo xtask simulate --seeds 1 --from {}", violation.seed);
    }
    println!("{} passed, {} failed", args.seeds - violations.len() as u64, violations.len());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

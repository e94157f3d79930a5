//! Shows interceptors: prints what happens to every chunk of a step, and keeps a tally.
//!
//! `cargo run --example interceptor` runs a master and two workers in this process, over numbers of which one fails the first time
//! it is tried, so that there is a failure and a retry to see. The hooks of all three nodes are one object here; on real servers
//! every process has its own: `App::new().interceptor("tally", Tally::default())` registers it, and `interceptors = ["tally"]` in
//! the configuration switches it on.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use elastic_flow::orchestrator::Settings;
use elastic_flow::prelude::*;

/// Numbers that the step takes the squares of.
const NUMBERS: u64 = 12_000;
/// The one that fails the first time.
const STUMBLES_AT: u64 = 7_777;

/// How often each hook was called on each node.
#[derive(Debug, Default)]
struct Tally {
    calls: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// Whether the events are printed as well.
    prints: bool,
}

impl Tally {
    fn printing() -> Self {
        Self { prints: true, ..Self::default() }
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str), u64>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a hook was called, on all nodes together.
    fn of(&self, hook: &str) -> u64 {
        self.calls().iter().filter(|((_, name), _)| *name == hook).map(|(_, times)| times).sum()
    }

    fn count(&self, node: &str, hook: &'static str) {
        *self.calls().entry((node.to_owned(), hook)).or_default() += 1;
    }

    fn chunk(&self, hook: &'static str, event: &ChunkEvent) {
        self.count(&event.node, hook);
        let peer = event.peer.as_ref().map_or_else(String::new, |it| format!(", with {it}"));
        let items = event.entries.map_or_else(String::new, |it| format!(", {it} items"));
        let error = event.error.as_ref().map_or_else(String::new, |it| format!(": {it}"));
        self.print(&format!(
            "{:<9} {hook:<12} {}{peer}{items}, {} bytes{error}",
            event.node, event.receipt, event.bytes
        ));
    }

    fn print(&self, line: &str) {
        if self.prints {
            // Nobody may be reading any more; a hook changes nothing then either.
            writeln!(io::stdout(), "{line}").ok();
        }
    }

    fn report(&self, out: &mut dyn Write) -> io::Result<()> {
        for ((node, hook), times) in self.calls().iter() {
            writeln!(out, "{node:<9} {hook:<12} {times:>6}")?;
        }
        Ok(())
    }
}

impl Interceptor for Tally {
    fn distributed(&self, event: &ChunkEvent) {
        self.chunk("distributed", event);
    }
    fn sent(&self, event: &ChunkEvent) {
        self.chunk("sent", event);
    }
    fn received(&self, event: &ChunkEvent) {
        self.chunk("received", event);
    }
    fn processed(&self, event: &ChunkEvent) {
        self.chunk("processed", event);
    }
    fn aggregated(&self, event: &ChunkEvent) {
        self.chunk("aggregated", event);
    }
    fn retried(&self, event: &ChunkEvent) {
        self.chunk("retried", event);
    }
    fn failed(&self, event: &ChunkEvent) {
        self.chunk("failed", event);
    }

    fn chunk_complete(&self, event: &ChunkEvent, counts: Counts) {
        self.count(&event.node, "complete");
        let so_far = if counts.source_exhausted { "" } else { " so far" };
        let Counts { conceived, aggregated, set_aside, .. } = counts;
        self.print(&format!(
            "{:<9} complete     {}: {aggregated} aggregated + {set_aside} set aside of {conceived} chunks{so_far}",
            event.node, event.receipt
        ));
    }

    fn step_changed(&self, step: StepId, from: Option<StepState>, to: StepState) {
        self.count("master", "step changed");
        let from = from.map_or_else(|| "new".to_owned(), |it| it.to_string());
        self.print(&format!("master    step {step}: {from} -> {to}"));
    }
}

/// Sums squares on two workers, and tells `tally` of everything.
fn sum_of_squares(tally: &Arc<Tally>) -> Result<u64, Box<dyn Error>> {
    let stumbled = AtomicBool::new(false);
    let square = move |n: u64| {
        if n == STUMBLES_AT && !stumbled.swap(true, Ordering::Relaxed) {
            return Err(format!("{n} fails the first time"));
        }
        Ok(n * n)
    };
    // A flow may be built more than once, on every node and for every step: what it closes over is shared.
    let square = Arc::new(square);
    let program = TypedProgram::new("sum_of_squares", move |numbers: Flow<u64>| {
        let square = Arc::clone(&square);
        numbers.try_map(move |n| square(n)).sum()
    })?;
    let settings = Settings { chunk_items: 1_000, ..Settings::default() };
    let run = Cluster::local(2).settings(settings).interceptor(Arc::<Tally>::clone(tally)).run(&program, 0..NUMBERS)?;
    Ok(run.output)
}

fn main() -> ExitCode {
    let tally = Arc::new(Tally::printing());
    let shown = sum_of_squares(&tally).and_then(|sum| {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "\nthe sum is {sum}; {} chunks aggregated, {} retried\n",
            tally.of("aggregated"),
            tally.of("retried")
        )?;
        Ok(tally.report(&mut out)?)
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_aggregated_once_though_one_has_to_be_tried_again() {
        let tally = Arc::new(Tally::default());
        let sum = sum_of_squares(&tally).unwrap();
        assert_eq!(sum, (0..NUMBERS).map(|n| n * n).sum::<u64>());
        let chunks = NUMBERS / 1_000;
        assert_eq!((tally.of("aggregated"), tally.of("complete")), (chunks, chunks));
        assert_eq!(tally.of("retried"), 1);
        assert_eq!(tally.calls().get(&("master".to_owned(), "failed")), Some(&1));
        assert!(tally.of("distributed") > chunks, "a chunk that is tried again is distributed again");
        assert_eq!(tally.of("step changed"), 3, "pending, running, completed");
    }
}

//! The test program in a process that has telemetry of its own: a metrics recorder, whose series it tells at its end, and a log.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() -> anyhow::Result<ExitCode> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let recorded = recorder.handle();
    metrics::set_global_recorder(recorder).context("no recorder")?;
    let marked = || {
        let mut out = io::stderr();
        out.write_all(b"own log: ").ok();
        out
    };
    let log = tracing_subscriber::fmt().with_writer(marked).with_ansi(false).finish();
    tracing::subscriber::set_global_default(log).context("no log")?;

    let code = elastic_flow_integration_tests::testbed::main::<1>();

    io::stderr().write_all(recorded.render().as_bytes())?;
    Ok(code)
}

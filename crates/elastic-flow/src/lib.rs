//! Typed flows over a cluster of servers, with a receipt for every chunk.
//!
//! A program is a function from a typed flow to a flow, registered under a name. The same binary runs on every server: the master
//! cuts the source into chunks and distributes them, workers run the flow, results come back and are merged as they arrive, and a
//! step ends with an audit that reconciles every receipt.
//!
//! ```
//! use elastic_flow::prelude::*;
//!
//! fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
//!     lines.words().to_ascii_lowercase().counts()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let program = TypedProgram::new("word_count", count_words)?;
//!
//! // In a plain unit test, in the calling thread:
//! assert_eq!(program.on(["To be or", "not to be"])?.len(), 4);
//!
//! // On a master and two workers in this process:
//! let run = Cluster::local(2).run(&program, ["To be or", "not to be"])?;
//! assert!(run.output.contains(&("to".into(), 2)));
//! assert!(run.audit.balanced());
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `app` (on by default), `App::new().program("word_count", count_words).main()` is a whole command line: `run`
//! starts a cluster on this machine, `master` and `worker` start real nodes, `submit`, `audit`, `replay` and others speak to them.
//!
//! Used as a library, nothing is installed in the process: series go to the `metrics` recorder and events to the `tracing`
//! subscriber that are there, if any. `Metrics::install()` and `render()` of the module `metrics` are for a program with an HTTP
//! server of its own.
//!
//! This crate has no logic of its own: each layer is a crate, and a module here.

#[cfg(feature = "admin")]
pub use elastic_flow_admin as admin;
#[cfg(feature = "admin")]
pub use elastic_flow_admin::metrics;
#[cfg(feature = "app")]
pub use elastic_flow_app as app;
#[cfg(feature = "app")]
pub use elastic_flow_app::worker_main;
pub use elastic_flow_clock as clock;
pub use elastic_flow_dataflow as dataflow;
pub use elastic_flow_orchestrator as orchestrator;
pub use elastic_flow_orchestrator::handle::blocking;
pub use elastic_flow_queue as queue;
pub use elastic_flow_receipt as receipt;
pub use elastic_flow_store as store;
#[cfg(feature = "store-fs")]
pub use elastic_flow_store_fs as store_fs;
#[cfg(feature = "store-rocksdb")]
pub use elastic_flow_store_rocksdb as store_rocksdb;
pub use elastic_flow_transport as transport;
pub use elastic_flow_wire as wire;

/// What a program usually needs.
pub mod prelude {
    pub use std::process::ExitCode;

    #[cfg(feature = "app")]
    pub use elastic_flow_app::App;
    #[cfg(all(feature = "app", feature = "admin"))]
    pub use elastic_flow_app::Connect;
    #[cfg(feature = "app")]
    pub use elastic_flow_app::Spawn;
    pub use elastic_flow_dataflow::aggregate::{self, Aggregate};
    pub use elastic_flow_dataflow::source::SourceSpec;
    pub use elastic_flow_dataflow::{
        Chain, Flow, FlowError, FlowResult, FlowResultExt, Format, Inputs, Single, Text, TypedProgram,
    };
    pub use elastic_flow_orchestrator::{
        ChunkEvent, Cluster, ClusterHandle, Counts, Finished, Interceptor, Partial, RunError, StepError, StepHandle,
        StepRequest,
    };
    pub use elastic_flow_queue::{StepErrorKind, StepState};
    pub use elastic_flow_receipt::{Audit, ReceiptId, StepId};
}

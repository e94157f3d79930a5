//! One file a command, or a family of them.

#[cfg(feature = "admin")]
mod ask;
mod completions;
mod config;
mod explain;
mod key;
mod master;
mod receipt;
mod run;
mod start;
mod store;
#[cfg(feature = "admin")]
mod token;
mod worker;

use std::future::Future;

pub(crate) use master::start_failure;

use crate::app::App;
use crate::args::{Cli, Command, ConfigCommand};
use crate::exit_code::Failure;

/// Runs a command and gives its exit code; `program` is what people call this binary.
pub(crate) fn dispatch(app: &App, cli: &Cli, program: &str) -> Result<u8, Failure> {
    let common = &cli.common;
    match &cli.command {
        Command::Run(args) => run::run(app, common, args),
        Command::Start(args) => start::start(app, common, args),
        Command::Master(args) => master::master(app, common, args),
        Command::Worker(args) => worker::worker(app, common, args),
        #[cfg(feature = "admin")]
        Command::Submit(args) => ask::submit(app, common, args),
        #[cfg(feature = "admin")]
        Command::Steps(url) => ask::steps(app, common, url),
        #[cfg(feature = "admin")]
        Command::Step(args) => ask::step(app, common, args),
        #[cfg(feature = "admin")]
        Command::Cancel(args) => ask::cancel(app, common, args),
        #[cfg(feature = "admin")]
        Command::Replay(args) => ask::replay(app, common, args),
        #[cfg(feature = "admin")]
        Command::Result(args) => ask::result(app, common, args),
        #[cfg(feature = "admin")]
        Command::Audit(args) => ask::audit(app, common, args),
        #[cfg(feature = "admin")]
        Command::Receipts(args) => ask::receipts(app, common, args),
        #[cfg(feature = "admin")]
        Command::DeadLetters(args) => ask::dead_letters(app, common, args),
        #[cfg(feature = "admin")]
        Command::Workers(url) => ask::workers(app, common, url),
        #[cfg(feature = "admin")]
        Command::Drain(args) => ask::drain(app, common, args),
        Command::Receipt(args) => receipt::receipt(app, common, args),
        Command::Explain(args) => explain::explain(app, common, args),
        Command::Key(args) => key::key(common, args),
        #[cfg(feature = "admin")]
        Command::Token(args) => token::token(app, common, args),
        Command::Config(ConfigCommand::Check) => config::check(app, common),
        Command::Config(ConfigCommand::Show) => config::show(app, common),
        Command::Store(command) => store::store(app, common, command),
        Command::Completions(args) => completions::completions(program, args),
    }
}

/// Runs a node's future on a runtime for I/O; compute and heartbeats have threads of their own.
pub(crate) fn block_on<T>(threads: usize, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("elastic-flow-io")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(future);
    // What still runs is user code or a blocked write, which ends with the process.
    runtime.shutdown_background();
    result
}

//! The command line that every Elastic Flow program gets: configuration, keys, launching, logging, progress, exit codes.
//!
//! A program's `main` is one expression: `App::new().program("word_count", count_words).main()`. Of all layers this is the one
//! that installs things in the process (the log, the metrics recorder, signal handlers), reads the environment, starts processes
//! and prints; what it asks of the layers below, it asks through their public faces.
//!
//! Modules in reading order:
//! - [`app`]: the builder; `args`: the command line; `commands`: one file a command; `context`: what they start from;
//! - [`config`]: file, environment and flags, checked as a whole; `paths`: the user's folders;
//! - [`key_file`]: where a secret lies; `keys`: those of a node, and how they are replaced; `exposure`: what takes a key;
//! - `limits`: what the system lets a node have;
//! - `children`: worker processes; `processes`: a cluster of this process and those; `signals`: stopping and new keys; `face`: the HTTP face; `client`: asking a master;
//!   `remote`: typed handles on one;
//! - [`logging`], `progress`, `output`, `tables`: what people and programs get to see;
//! - [`exit_code`], [`build_id`], [`stores`].

pub mod app;
mod args;
pub mod build_id;
mod children;
#[cfg(feature = "admin")]
mod client;
mod commands;
pub mod config;
mod context;
pub mod exit_code;
mod exposure;
#[cfg(feature = "admin")]
mod face;
mod inputs;
pub mod key_file;
mod keys;
mod limits;
pub mod logging;
mod output;
mod paths;
mod processes;
mod progress;
#[cfg(feature = "admin")]
mod remote;
mod signals;
pub mod stores;
#[cfg(feature = "admin")]
mod tables;

pub use app::App;
#[cfg(feature = "admin")]
pub use client::UrlError;
pub use logging::{LogFormat, LogTail};
pub use processes::{BlockingProcessCluster, ProcessCluster, Processes, Spawn, worker_main};
#[cfg(feature = "admin")]
pub use remote::{Connect, ConnectError};
pub use stores::StoreFactory;

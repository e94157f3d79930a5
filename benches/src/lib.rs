//! What the benches share: a word count written by hand, the programs that are held against it, and how pairs of runs are measured.
//!
//! - [`mod@reference`]: the same work by hand: a master and two processes of one thread, over sockets;
//! - [`programs`]: the same work as programs of Elastic Flow;
//! - [`corpus`]: the text that both read;
//! - [`process`]: runs of a process, with their time, CPU time and memory;
//! - [`statistics`]: medians and quartiles;
//! - [`end_to_end`]: the lines of `--bench end_to_end`.

pub mod corpus;
pub mod end_to_end;
pub mod process;
pub mod programs;
pub mod reference;
pub mod statistics;

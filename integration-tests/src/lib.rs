//! What the integration tests share: the simulator of ring 1, and for real processes a test program, a harness that starts and
//! stops it, corpora, and an oracle of another make.
#![allow(clippy::indexing_slicing, reason = "a test tool: a wrong index is a bug in it and is to be seen")]

pub mod access_logs;
pub mod cluster;
pub mod corpus;
pub mod http;
#[cfg(target_os = "linux")]
pub mod namespaces;
pub mod oracle_words;
pub mod outside;
pub mod place;
pub mod process;
pub mod sim;
pub mod sources;
pub mod testbed;
pub mod throttle;
pub mod wait;

/// The documentation's Rust blocks are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/parts.md")]
pub mod parts {}

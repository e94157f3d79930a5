//! What the integration tests share: the simulator of ring 1.
#![allow(clippy::indexing_slicing, reason = "a test tool: a wrong index is a bug in it and is to be seen")]

pub mod sim;

//! Tests that take several modules together.

mod codec;
mod frames;
mod golden;
mod handshake;
mod samples;
mod streams;

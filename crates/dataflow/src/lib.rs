//! To be written.
#![allow(missing_docs, reason = "being written")]

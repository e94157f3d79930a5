//! The HTTP face of a node: the master's API, `/metrics`, `/livez` and `/readyz`.
//!
//! It knows nothing of how a cluster works: it asks a [`Face`], which the master's handle implements, and turns answers into JSON,
//! rows or server-sent events. Every request but the two probes (and, on loopback, `/metrics`) carries a bearer token of a role,
//! derived from the cluster's secret; Host and Origin are checked first, no cookie is ever set or read.
//!
//! Modules in reading order:
//! - `server`: listening, limits of connections, the probes; `routes`: every operation, in the list of which the router and the
//!   OpenAPI document are made; `endpoint`: one of them; `said`: what its handler's types say of it;
//! - `guard`: Host, Origin, token, the headers of every answer; [`token`]: roles and tokens;
//! - `api`: one handler a route; `rows`: results, streamed; `events`: server-sent events; `error`: what a refusal looks like;
//! - [`metrics`]: the recorder and every series; `merge`: the workers' series under the master's.

mod api;
mod endpoint;
mod error;
mod events;
mod face;
mod guard;
mod merge;
pub mod metrics;
mod routes;
mod rows;
mod said;
mod series;
mod server;
pub mod token;

pub use error::ErrorBody;
pub use events::GapEvent;
pub use face::Face;
pub use metrics::{Metrics, SERIES, Series, SeriesKind, describe_metrics};
pub use rows::{PARTIAL_HEADER, RECEIPTS_HEADER};
pub use server::{AdminConfig, AdminError, AdminServer};
pub use token::{Role, Token, Tokens};

//! Results as rows, streamed: written by a blocking thread into a short queue, never held whole.

use std::io::{self, BufWriter, Write};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use elastic_flow_dataflow::format::Format;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::api::step_id;
use crate::error::Refusal;
use crate::face::Face;

/// Bytes that leave at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks between the writer and the socket.
const BLOCKS_AHEAD: usize = 4;

/// `true` where the step has not ended and the rows are the aggregate so far.
pub const PARTIAL_HEADER: &str = "elastic-flow-partial";
/// Receipts in the aggregate and receipts conceived, as `aggregated/conceived`.
pub const RECEIPTS_HEADER: &str = "elastic-flow-receipts";

/// `?format=`: a format of rows, `report` for what the program prints, `output` for what it writes into files.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ResultQuery {
    format: Option<String>,
}

/// What is written.
enum Shape {
    Rows(Format),
    Report,
    Output,
}

impl Shape {
    fn parse(query: &ResultQuery) -> Result<Self, Refusal> {
        match query.format.as_deref() {
            None => Ok(Self::Rows(Format::Jsonl)),
            Some("report") => Ok(Self::Report),
            Some("output") => Ok(Self::Output),
            Some(text) => text.parse().map(Self::Rows).map_err(|error| Refusal::invalid(format!("{error}"))),
        }
    }

    fn media_type(&self) -> &'static str {
        match self {
            Self::Rows(Format::Jsonl) => "application/x-ndjson",
            Self::Rows(Format::Json) => "application/json",
            Self::Rows(Format::Tsv) => "text/tab-separated-values; charset=utf-8",
            Self::Rows(Format::Csv) => "text/csv; charset=utf-8",
            Self::Rows(_) | Self::Report | Self::Output => "text/plain; charset=utf-8",
        }
    }
}

pub(crate) async fn result<F: Face>(
    State(face): State<F>,
    Path(id): Path<String>,
    query: Result<Query<ResultQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    let shape = Shape::parse(&query)?;
    let view = face.result(step_id(&id)?).await?;
    let media_type = shape.media_type();
    let partial = if view.complete { "false" } else { "true" };
    let receipts = format!("{}/{}", view.receipts, view.receipts_conceived);

    let (blocks, queue) = mpsc::channel(BLOCKS_AHEAD);
    // The writer ends by itself: with the rows, or when the body is dropped and its next block finds no receiver.
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(BLOCK_BYTES, BlockWriter(blocks.clone()));
        let written = match shape {
            Shape::Rows(format) => view.output.write(format, &mut out),
            Shape::Report => view.output.report(&mut out),
            Shape::Output => view.output.output(&mut out),
        };
        if let Err(error) = written.and_then(|()| out.flush()) {
            // A body that ends with an error is cut off, so that nobody takes it for whole.
            blocks.blocking_send(Err(error)).ok();
        }
    });

    let rows = stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|block| (block, queue)) });
    let mut response = Body::from_stream(rows).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(HeaderName::from_static(PARTIAL_HEADER), HeaderValue::from_static(partial));
    if let Ok(value) = HeaderValue::try_from(receipts) {
        headers.insert(HeaderName::from_static(RECEIPTS_HEADER), value);
    }
    Ok(response)
}

/// Hands blocks to the body; waits while it is behind.
struct BlockWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for BlockWriter {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Ok(Bytes::copy_from_slice(block))).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

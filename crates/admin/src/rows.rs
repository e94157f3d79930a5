//! Results as rows, streamed: written by a blocking thread into a short queue, never held whole.

use std::io::{self, BufWriter, Write};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use elastic_flow_dataflow::format::Format;
use elastic_flow_dataflow::seam::StepOutput;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::error::Refusal;
use crate::face::Face;
use crate::routes::Master;
use crate::said::{Answer, Asked, JSON, Said, StepNumber, string};

/// Bytes that leave at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks between the writer and the socket.
const BLOCKS_AHEAD: usize = 4;

/// `true` where the step has not ended and the rows are the aggregate so far.
pub const PARTIAL_HEADER: &str = "elastic-flow-partial";
/// Receipts in the aggregate and receipts conceived, as `aggregated/conceived`.
pub const RECEIPTS_HEADER: &str = "elastic-flow-receipts";

/// How a result is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ResultQuery {
    /// A format of rows, `report` for what the program prints, `output` for what it writes into files, `encoded` for typed handles.
    format: ResultFormat,
}

/// What is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ResultFormat {
    /// A JSON value a line.
    #[default]
    Jsonl,
    /// One JSON array.
    Json,
    /// Cells parted by tabs.
    Tsv,
    /// Cells parted by commas.
    Csv,
    /// What the program prints.
    Report,
    /// What the program writes into files.
    Output,
    /// The whole output, for a program that has its type.
    Encoded,
}

impl ResultFormat {
    fn write(self, result: &dyn StepOutput, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Jsonl => result.write(Format::Jsonl, out),
            Self::Json => result.write(Format::Json, out),
            Self::Tsv => result.write(Format::Tsv, out),
            Self::Csv => result.write(Format::Csv, out),
            Self::Report => result.report(out),
            Self::Output => result.output(out),
            Self::Encoded => result.encode(out),
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Tsv => "text/tab-separated-values; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Report | Self::Output => "text/plain; charset=utf-8",
            Self::Encoded => "application/octet-stream",
        }
    }
}

/// A result on its way out.
#[derive(Debug)]
pub(crate) struct Rows(Response);

impl IntoResponse for Rows {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answer for Rows {
    fn describe(said: &mut Said<'_>) {
        let text = json!({ "schema": string() });
        let header = |description: &str| json!({ "description": description, "schema": string() });
        let response = json!({
            "description": "The rows, streamed; an answer that breaks off is not whole.",
            "content": {
                "application/x-ndjson": text,
                JSON: { "schema": { "type": "array" } },
                "text/tab-separated-values": text,
                "text/csv": text,
                "text/plain": text,
                "application/octet-stream": text,
            },
            "headers": {
                PARTIAL_HEADER: header("`true` where the step has not completed."),
                RECEIPTS_HEADER: header("Receipts in the aggregate and receipts conceived: `aggregated/conceived`."),
            },
        });
        said.success = (StatusCode::OK, response);
    }
}

pub(crate) async fn result<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
    Asked(query): Asked<ResultQuery>,
) -> Result<Rows, Refusal> {
    let format = query.format;
    let view = face.result(step).await?;
    let media_type = format.media_type();
    let partial = if view.complete { "false" } else { "true" };
    let receipts = format!("{}/{}", view.receipts, view.receipts_conceived);

    let (blocks, queue) = mpsc::channel(BLOCKS_AHEAD);
    // The writer ends by itself: with the rows, or when the body is dropped and its next block finds no receiver.
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(BLOCK_BYTES, BlockWriter(blocks.clone()));
        let written = format.write(view.output.as_ref().as_ref(), &mut out);
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
    Ok(Rows(response))
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

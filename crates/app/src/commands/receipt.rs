//! `receipt`: what a receipt's text says, and what a master knows of it.

use elastic_flow_receipt::ReceiptId;

use crate::app::App;
use crate::args::{Common, Receipt};
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, Failure};
use crate::output;

pub(crate) fn receipt(app: &App, common: &Common, args: &Receipt) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    let id: ReceiptId = args.text.parse().map_err(|error| Failure::usage(format!("{}: {error}", args.text)))?;
    let known = known_to_master(&context, args, id);
    if common.json {
        let (known, unknown) = match known {
            Ok(view) => (Some(view), None),
            Err(reason) => (None, Some(reason)),
        };
        output::json_line(&serde_json::json!({
            "receipt": id.to_string(),
            "step": id.step.0,
            "stage": id.stage.0,
            "round": id.round,
            "partition": id.partition,
            "sequence": id.sequence,
            "check": format!("{:08x}", id.check),
            "known": known,
            "unknown_because": unknown,
        }))?;
        return Ok(COMPLETED);
    }
    output::to_stdout(|out| {
        writeln!(out, "receipt    {id}")?;
        writeln!(out, "step       {}", id.step.0)?;
        writeln!(out, "stage      {}", id.stage.0)?;
        writeln!(out, "round      {}", id.round)?;
        writeln!(out, "partition  {}", id.partition)?;
        writeln!(out, "sequence   {}", id.sequence)?;
        writeln!(out, "check      {:08x}", id.check)?;
        match known {
            Ok(view) => write_known(out, &view),
            Err(reason) => writeln!(out, "known      nothing more: {reason}"),
        }
    })?;
    Ok(COMPLETED)
}

fn write_known(
    out: &mut dyn std::io::Write,
    view: &elastic_flow_orchestrator::api::ReceiptView,
) -> std::io::Result<()> {
    let entries = view.entries.map_or_else(|| "not known yet".to_owned(), |entries| entries.to_string());
    writeln!(out, "station    {}", view.station)?;
    writeln!(out, "node       {}", view.node.as_deref().unwrap_or("-"))?;
    writeln!(out, "conceived  {}", output::time(view.conceived_at))?;
    writeln!(out, "bytes      {}", view.bytes)?;
    writeln!(out, "entries    {entries}")?;
    writeln!(out, "attempts   {} ({} failed, {} lost)", view.attempts, view.failures, view.losses)?;
    for (name, offset, length) in &view.covers {
        writeln!(out, "covers     {name} from {offset}, {length} long")?;
    }
    match &view.error {
        Some(error) => writeln!(out, "error      {error}"),
        None => Ok(()),
    }
}

#[cfg(feature = "admin")]
fn known_to_master(
    context: &Context<'_>,
    args: &Receipt,
    id: ReceiptId,
) -> Result<elastic_flow_orchestrator::api::ReceiptView, String> {
    let client = crate::client::Client::new(context, &args.url.admin, elastic_flow_admin::Role::Read)
        .map_err(|failure| failure.to_string())?;
    client.get(&format!("/receipts/{id}")).map_err(|error| Failure::from(error).to_string())
}

#[cfg(not(feature = "admin"))]
fn known_to_master(
    _context: &Context<'_>,
    _args: &Receipt,
    _id: ReceiptId,
) -> Result<elastic_flow_orchestrator::api::ReceiptView, String> {
    Err("this program was built without the HTTP interface".to_owned())
}

//! `key new`: a file with a fresh key.

use elastic_flow_wire::with_causes;

use crate::args::{Common, Key};
use crate::exit_code::{COMPLETED, Failure};
use crate::{key_file, output};

pub(crate) fn key(common: &Common, command: &Key) -> Result<u8, Failure> {
    let Key::New { file } = command;
    key_file::create(file).map_err(|error| Failure::usage(with_causes(&error)))?;
    if common.json {
        output::json_line(&serde_json::json!({ "key_file": file }))?;
    } else {
        output::to_stdout(|out| {
            writeln!(out, "made {}: copy it to every server, and name it in security.key_file", file.display())
        })?;
    }
    Ok(COMPLETED)
}

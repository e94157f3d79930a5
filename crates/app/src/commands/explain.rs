//! `explain`: the plan of a program.

use crate::app::App;
use crate::args::{Common, Explain};
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, Failure};
use crate::{inputs, output};

pub(crate) fn explain(app: &App, common: &Common, args: &Explain) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    let program = context.program(args.program.as_deref())?;
    let params = inputs::params(program.as_ref(), &args.params)?;
    let plan = inputs::prepared(program.as_ref(), &params)?.plan;
    if common.json {
        output::json_line(&plan)?;
    } else {
        output::to_stdout(|out| out.write_all(plan.explain().as_bytes()))?;
    }
    Ok(COMPLETED)
}

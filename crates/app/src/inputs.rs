//! A step as a command line names it.

#[cfg(feature = "admin")]
use std::path::Path;

use elastic_flow_dataflow::params::Params;
use elastic_flow_dataflow::seam::{Prepared, Program};
#[cfg(feature = "admin")]
use elastic_flow_dataflow::source::STANDARD_INPUT;
use elastic_flow_dataflow::source::{InputNames, SourceSpec};

use crate::args::StepArgs;
use crate::exit_code::Failure;

/// The name of the input of a flow function that takes one flow.
const ONLY_INPUT: &str = "input";

/// Named inputs of a step.
pub(crate) type Inputs = Vec<(String, SourceSpec)>;

/// Reads `--param key=value`, and has the program check them.
pub(crate) fn params(program: &dyn Program, texts: &[String]) -> Result<Params, Failure> {
    let params = Params::parse(texts).map_err(|error| Failure::usage(format!("--param: {error}")))?;
    prepared(program, &params)?;
    Ok(params)
}

/// The program with its parameters.
pub(crate) fn prepared(program: &dyn Program, params: &Params) -> Result<Prepared, Failure> {
    program.prepare(params).map_err(|error| Failure::usage(format!("program {}: {error}", program.name())))
}

/// Reads `--input`; what has no name is the program's only input.
pub(crate) fn inputs(program: &dyn Program, args: &StepArgs, params: &Params) -> Result<Inputs, Failure> {
    let named = InputNames::parse(&args.input).map_err(|error| Failure::usage(format!("--input: {error}")))?;
    let named = named.into_inputs();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = prepared(program, params)?.plan.inputs;
    if known.is_empty() {
        // A flow function of one flow does not name it.
        known.push(ONLY_INPUT.to_owned());
    }
    let mut inputs = Inputs::new();
    for (name, spec) in named {
        let name = match (name, known.as_slice()) {
            (Some(name), _) if known.contains(&name) => name,
            (Some(name), _) => {
                let message = format!("program {} has no input {name:?}: it has {}", program.name(), known.join(", "));
                return Err(Failure::usage(message));
            }
            (None, [only]) => only.clone(),
            (None, _) => {
                let message = format!("which input? write NAME=PATH with one of {}", known.join(", "));
                return Err(Failure::usage(message));
            }
        };
        if inputs.iter().any(|(taken, _)| *taken == name) {
            return Err(Failure::usage(format!("input {name:?} is given both with its name and without")));
        }
        inputs.push((name, spec));
    }
    Ok(inputs)
}

/// Inputs for a cluster on this machine: whatever its workers are, there is one disk.
pub(crate) fn on_one_server(inputs: Inputs) -> Inputs {
    inputs.into_iter().map(|(name, spec)| (name, spec.on_one_server())).collect()
}

/// Inputs for a master that runs elsewhere, or in another folder: paths are made absolute, and there is no standard input.
#[cfg(feature = "admin")]
pub(crate) fn for_another_process(inputs: Inputs, folder: &Path) -> Result<Inputs, Failure> {
    let absolute = |path: String| -> Result<String, Failure> {
        if path == STANDARD_INPUT {
            let message = "standard input is read by `run` alone: a master that runs already has another one";
            return Err(Failure::usage(message));
        }
        if Path::new(&path).is_absolute() {
            return Ok(path);
        }
        let joined = folder.join(path.strip_prefix("./").unwrap_or(&path));
        joined.into_os_string().into_string().map_err(|_| Failure::usage("the folder's name is not UTF-8"))
    };
    inputs
        .into_iter()
        .map(|(name, mut spec)| {
            if let SourceSpec::Lines { paths } = &mut spec {
                for path in paths {
                    *path = absolute(std::mem::take(path))?;
                }
            }
            Ok((name, spec))
        })
        .collect()
}

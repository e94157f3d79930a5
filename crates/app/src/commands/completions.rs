//! `completions`: what makes a shell complete the command line.

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::exit_code::{COMPLETED, Failure};
use crate::output;

pub(crate) fn completions(program: &str, args: &Completions) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), program, &mut script);
    output::to_stdout(|out| out.write_all(&script))?;
    Ok(COMPLETED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_program_by_its_own_name() {
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "word_count", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("word_count") && script.contains("completions"), "{shell}");
        }
    }
}

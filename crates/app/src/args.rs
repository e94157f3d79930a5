//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::logging::LogFormat;

/// A program on Elastic Flow: runs here with a cluster of its own, or on the servers of one.
///
/// Exit codes: 0 completed; 1 failed; 2 usage or configuration; 3 master not reached, or it refused; 4 completed with skips;
/// 5 cancelled.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// The configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets a key of the configuration
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Prints JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What is logged: error, warn, info, debug, trace, or a list of target=level; else ELASTIC_FLOW_LOG
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a master and workers here, runs one step, prints its result, and leaves nothing behind
    Run(Run),
    /// Runs whatever [servers] of the configuration says this server is: the same command on every server
    Start(Start),
    /// Runs a master until it is stopped
    Master(Master),
    /// Runs a worker until it is stopped
    Worker(Worker),
    /// Submits a step to a running master
    #[cfg(feature = "admin")]
    Submit(Submit),
    /// Lists the steps of a running master
    #[cfg(feature = "admin")]
    Steps(AdminUrl),
    /// Shows a step
    #[cfg(feature = "admin")]
    Step(OneStep),
    /// Cancels a step: a running one stops after the chunks in hand
    #[cfg(feature = "admin")]
    Cancel(OneStep),
    /// Makes a new step of what a step set aside or did not finish
    #[cfg(feature = "admin")]
    Replay(Replay),
    /// Prints a step's result; of a running one, what is there so far
    #[cfg(feature = "admin")]
    Result(ResultArgs),
    /// Proves that every receipt of a step is accounted for, or names those that are not
    #[cfg(feature = "admin")]
    Audit(OneStep),
    /// Lists the receipts of a step
    #[cfg(feature = "admin")]
    Receipts(Receipts),
    /// Lists what a step set aside: items that its program skipped, and chunks
    #[cfg(feature = "admin")]
    DeadLetters(OneStep),
    /// Lists the workers of a running master
    #[cfg(feature = "admin")]
    Workers(AdminUrl),
    /// Gives a worker no more work; it finishes what it has, and stays connected until it is stopped
    #[cfg(feature = "admin")]
    Drain(Drain),
    /// Decodes a receipt, and prints what a running master knows of it
    Receipt(Receipt),
    /// Prints the plan of a program
    Explain(Explain),
    /// Makes keys
    #[command(subcommand)]
    Key(Key),
    /// Prints the bearer token that the HTTP interface takes, derived from the key
    #[cfg(feature = "admin")]
    Token(Token),
    /// Checks and shows the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Looks at the store of a stopped master, and tidies it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Prints what makes a shell complete this command line
    Completions(Completions),
}

/// What a step runs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StepArgs {
    /// The program, where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
    /// An input: a path, a glob, range:START..END, or - for standard input; several join [default: the program's]
    #[arg(long, value_name = "[NAME=]INPUT", num_args = 1..)]
    pub(crate) input: Vec<String>,
    /// A parameter of the program
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
}

/// Where rows go, and how they look.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArgs {
    /// Writes the rows to a file, whole or not at all
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// jsonl, json, tsv or csv [default: by the ending of FILE, else as the program does; here its report]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) step: StepArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: u32,
    /// Compute threads of each worker [default: the cores, shared]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: Option<u32>,
    /// Listens for the HTTP interface while it runs
    #[cfg(feature = "admin")]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// Where steps and payloads are kept: memory, fs:DIR, rocksdb:DIR or a registered name [default: memory]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

/// Where a node is found.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// Where a master takes workers [default: 127.0.0.1:7117], or a worker others, for exchanges [default: a port that the system
    /// chooses]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The address that others are told, if it is another than the one that it listens on or connects from
    #[arg(long, value_name = "ADDR")]
    pub(crate) advertise: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Start {
    /// Its entry in [servers] of the configuration [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Master {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where the HTTP interface listens [default: 127.0.0.1:7118]
    #[cfg(feature = "admin")]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// Where steps and payloads are kept: memory, fs:DIR, rocksdb:DIR or a registered name
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Its name; an entry of [servers] in the configuration fills in the rest
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Worker {
    /// The master's address [default: that of the master in [servers], else 127.0.0.1:7117]
    #[arg(long, value_name = "ADDR")]
    pub(crate) master: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Its name; an entry of [servers] in the configuration fills in the rest [default: the host's name and process id]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Compute threads [default: the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: Option<u32>,
    /// Listens for /metrics, /livez and /readyz
    #[cfg(feature = "admin")]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// Takes key and master's address from standard input, whose end ends this process
    #[arg(long, hide = true)]
    pub(crate) key_stdin: bool,
    /// Records metrics, which its master serves
    #[cfg(feature = "admin")]
    #[arg(long, hide = true, requires = "key_stdin")]
    pub(crate) metrics: bool,
}

/// Which master.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdminUrl {
    /// The master's HTTP interface
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7118")]
    pub(crate) admin: String,
}

/// When a failed step goes on with the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailureArg {
    /// The next step runs
    #[default]
    Continue,
    /// Pending steps are cancelled, and the queue waits for new ones
    CancelAndWait,
    /// The cluster stops
    Terminate,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) step: StepArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) url: AdminUrl,
    /// What happens to the queue when the step fails
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_failure: OnFailureArg,
    /// Submitting twice under one key makes one step
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// A text for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Goes on without servers that are missing, where each_worker reads their disks; ends with exit code 4 and names them
    #[arg(long)]
    pub(crate) allow_missing_servers: bool,
    /// Waits for the end of the step, prints its result, and ends with its exit code
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OneStep {
    /// The step's number
    pub(crate) id: u64,
    #[command(flatten)]
    pub(crate) url: AdminUrl,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Drain {
    /// The worker's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) url: AdminUrl,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) step: OneStep,
    /// Waits for the end of the new step and ends with its exit code
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ResultArgs {
    #[command(flatten)]
    pub(crate) step: OneStep,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Receipts {
    #[command(flatten)]
    pub(crate) step: OneStep,
    /// Goes on as receipts move, until the step ends
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only those last seen on this node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Only those at this station
    #[arg(long, value_name = "STATION")]
    pub(crate) station: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Receipt {
    /// The receipt's text
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) url: AdminUrl,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Explain {
    /// The program, where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
    /// A parameter of the program
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Makes a file with a new random key, readable by its owner alone
    New {
        /// Where
        file: PathBuf,
    },
}

/// What a token allows.
#[cfg(feature = "admin")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenRole {
    /// To look
    Read,
    /// To submit, cancel and replay steps as well
    Submit,
    /// Everything: to drain workers as well
    Admin,
}

#[cfg(feature = "admin")]
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// What it allows
    #[arg(value_enum)]
    pub(crate) role: TokenRole,
}

/// Which store.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// The store: fs:DIR, rocksdb:DIR or a registered name [default: the configured one, as for master]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Prints what each step takes: journal, payloads, results
    Du(StoreArgs),
    /// Reads everything and verifies each checksum; ends with 1 if something is not as it was written
    Check(StoreArgs),
    /// Removes what no step needs any more, and prints it
    Gc {
        #[command(flatten)]
        store: StoreArgs,
        /// Removes nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Reads file, environment and --set, and names everything that is wrong; then lists the addresses of every server
    Check,
    /// Prints the configuration as it is in force, as TOML, with the origin of every value
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_flags_stand_before_or_behind_the_command() {
        for line in [["prog", "--set", "a=b", "run", "--json"], ["prog", "run", "--json", "--set", "a=b"]] {
            let cli = Cli::try_parse_from(line).expect("it parses");
            assert_eq!((cli.common.json, cli.common.sets), (true, vec!["a=b".to_owned()]));
        }
    }

    #[test]
    fn run_takes_several_inputs_and_has_two_workers() {
        let cli = Cli::try_parse_from(["prog", "run", "--input", "a", "b", "--input", "x=c", "--param", "k=v"])
            .expect("it parses");
        let Command::Run(run) = cli.command else { panic!("it is run") };
        assert_eq!(
            (run.workers, run.step.input, run.step.params),
            (2, vec!["a".into(), "b".into(), "x=c".into()], vec!["k=v".to_owned()])
        );
        assert_eq!(Cli::try_parse_from(["prog", "run", "--workers", "0"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["prog", "fly"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn numbers_of_workers_and_threads_have_limits() {
        let taken = |line: &[&str]| Cli::try_parse_from([&["prog"], line].concat()).is_ok();
        for right in [["run", "--workers", "256"], ["run", "--slots", "1024"], ["worker", "--slots", "1024"]] {
            assert!(taken(&right), "{right:?}");
        }
        for (command, flag, values) in [
            ("run", "--workers", ["0", "257"]),
            ("run", "--slots", ["0", "1025"]),
            ("worker", "--slots", ["0", "1025"]),
        ] {
            for value in values {
                assert!(!taken(&[command, flag, value]), "{command} {flag} {value}");
            }
        }
    }

    #[cfg(feature = "admin")]
    #[test]
    fn a_master_is_asked_where_it_listens_by_default() {
        let Command::Steps(url) = Cli::try_parse_from(["prog", "steps"]).expect("it parses").command else {
            panic!("it is steps")
        };
        assert_eq!(url.admin, format!("http://{}", crate::config::Config::default().admin.listen));
        let Command::Submit(submit) = Cli::try_parse_from(["prog", "submit"]).expect("it parses").command else {
            panic!("it is submit")
        };
        assert_eq!((submit.on_failure, submit.wait), (OnFailureArg::Continue, false));
        assert!(Cli::try_parse_from(["prog", "worker", "--metrics"]).is_err(), "without a parent to serve them");
    }
}

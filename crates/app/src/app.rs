//! The builder that a program's `main` calls.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use elastic_flow_dataflow::Data;
use elastic_flow_dataflow::program::{IntoProgram, TypedProgram};
use elastic_flow_dataflow::seam::Program;
use elastic_flow_dataflow::source::Window;
use elastic_flow_orchestrator::master::Distribute;
use elastic_flow_orchestrator::{Interceptor, MakeItems, MakeMethod, MakeMonitor, MethodKind, Monitor, Programs};

use crate::args::Cli;
use crate::commands;
use crate::config::{DEFAULT_MONITOR, LEAST_OPEN_RECEIPTS, ROUND_ROBIN};
use crate::exit_code::{self, Failure};
use crate::output;
use crate::stores::StoreFactory;

/// A program: what it registers, and its command line.
///
/// What is wrong with a registration (a name taken twice, a flow that cannot be planned) is said by [`App::main`], with exit
/// code 2, so that `main` stays one expression.
#[derive(Default)]
pub struct App {
    programs: Programs,
    interceptors: BTreeMap<String, Arc<dyn Interceptor>>,
    stores: BTreeMap<String, StoreFactory>,
    methods: BTreeMap<String, MakeMethod>,
    monitors: BTreeMap<String, MakeMonitor>,
    wrong: Vec<String>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("programs", &self.programs.names())
            .field("interceptors", &self.interceptors.keys())
            .field("stores", &self.stores.keys())
            .field("methods", &self.methods.keys())
            .field("monitors", &self.monitors.keys())
            .finish_non_exhaustive()
    }
}

impl App {
    /// A program with nothing registered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a flow function under a name, with defaults for all else.
    ///
    /// It runs again on each node, and has to give the same flow there: see [`IntoProgram`]. Values reach its closures by capture.
    #[must_use]
    pub fn program<M, P: IntoProgram<M, Element: Data>>(mut self, name: &str, flow: P) -> Self {
        match TypedProgram::new(name, flow) {
            Ok(program) => self.register(program),
            Err(error) => {
                self.wrong.push(format!("program {name:?}: {error}"));
                self
            }
        }
    }

    /// Registers a program that was built with options of its own.
    #[must_use]
    pub fn register(mut self, program: impl Program) -> Self {
        if let Err(error) = self.programs.register(Arc::new(program)) {
            self.wrong.push(error.to_string());
        }
        self
    }

    /// Registers an iterator that is made anew each time, for inputs that name it with `registered:NAME`.
    #[must_use]
    pub fn source(mut self, name: &str, make: MakeItems) -> Self {
        if let Err(error) = self.programs.register_source(name, make) {
            self.wrong.push(error.to_string());
        }
        self
    }

    /// Registers an interceptor; the configuration's `interceptors` says which are used.
    #[must_use]
    pub fn interceptor(mut self, name: &str, interceptor: impl Interceptor) -> Self {
        if self.interceptors.insert(name.to_owned(), Arc::new(interceptor)).is_some() {
            self.wrong.push(format!("interceptor {name:?} is registered twice"));
        }
        self
    }

    /// Registers a store, for `--store NAME` and `NAME:ARGUMENT`.
    #[must_use]
    pub fn store(mut self, name: &str, factory: StoreFactory) -> Self {
        if ["memory", "fs", "rocksdb"].contains(&name) || self.stores.insert(name.to_owned(), factory).is_some() {
            self.wrong.push(format!("store {name:?} is taken: give it another name"));
        }
        self
    }

    /// Registers a way to pick workers, for `distribute.method`; each master makes one anew.
    #[must_use]
    pub fn distribute<M: Distribute + 'static>(
        mut self,
        name: &str,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        let taken = [LEAST_OPEN_RECEIPTS, ROUND_ROBIN].contains(&name);
        if taken || self.methods.insert(name.to_owned(), MakeMethod::new(make)).is_some() {
            self.wrong.push(format!("distribution method {name:?} is taken: give it another name"));
        }
        self
    }

    /// Registers a heartbeat monitor, for `heartbeat.monitor`: it says which of the connected workers count as living. See
    /// [`Monitor`], where one is shown that reads their names from a file.
    #[must_use]
    pub fn monitor<M: Monitor>(mut self, name: &str, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let taken = name == DEFAULT_MONITOR;
        if taken || self.monitors.insert(name.to_owned(), MakeMonitor::new(make)).is_some() {
            self.wrong.push(format!("heartbeat monitor {name:?} is taken: give it another name"));
        }
        self
    }

    /// Registers a window, for `distribute.window`: a chunk may end only between two neighbours for which `ends(before, after)` is
    /// true, and at the end of a file or of the source. So all consecutive items of one window are in one chunk.
    ///
    /// `ends` is over `[u8]` for lines, which it gets without their line end, over `u64` for ranges, else over the items of the
    /// iterator; see [`Window`]. It is asked on the master, about places where a chunk has its size; from there the cut moves
    /// forward to the first one that is allowed. A step whose source gives something else fails by name when it is opened.
    ///
    /// A step keeps the window that it was submitted under: a master that restarts with another configuration cuts the rest of it
    /// like its beginning. Where it restarts with another function under that name, what is cut already stays as it is.
    ///
    /// ```
    /// use elastic_flow_app::App;
    /// use elastic_flow_dataflow::{Flow, Text};
    ///
    /// /// A line starts with its time, such as 2024-05-01T13:37:00.
    /// fn by_hour(before: &[u8], after: &[u8]) -> bool {
    ///     before.get(..13) != after.get(..13)
    /// }
    ///
    /// // The longest line of each hour: every chunk has all lines of an hour, or none.
    /// let longest = |lines: Flow<Text>| {
    ///     lines.map_batch(usize::MAX, |chunk: Vec<Text>| {
    ///         let hours = chunk.chunk_by(|before, after| !by_hour(before, after));
    ///         hours.filter_map(|hour| hour.iter().max_by_key(|line| line.len()).cloned()).collect::<Vec<_>>()
    ///     })
    /// };
    /// let app = App::new().program("longest", longest).window("by_hour", by_hour);
    /// // As `main` does, of the line that the process was started with.
    /// let line = ["longest", "config", "check", "--set", "distribute.window=by_hour"];
    /// assert_eq!(app.main_from(line), std::process::ExitCode::SUCCESS);
    /// ```
    #[must_use]
    pub fn window<T: ?Sized + 'static>(
        mut self,
        name: &str,
        ends: impl Fn(&T, &T) -> bool + Send + Sync + 'static,
    ) -> Self {
        if let Err(error) = self.programs.register_window(Window::new(name, ends)) {
            self.wrong.push(error.to_string());
        }
        self
    }

    /// Runs the command line of this process. The last thing in `main`.
    #[must_use]
    pub fn main(self) -> ExitCode {
        self.main_from(std::env::args_os())
    }

    /// Runs a command line; its first item is the program's name.
    #[must_use]
    pub fn main_from<I, T>(self, line: I) -> ExitCode
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        ExitCode::from(self.run_line(line.into_iter().map(Into::into).collect()))
    }

    /// Runs a command line, and gives the exit code.
    pub(crate) fn run_line(&self, line: Vec<OsString>) -> u8 {
        let program =
            line.first().map(Path::new).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let cli = match Cli::try_parse_from(line) {
            Ok(cli) => cli,
            Err(error) => {
                // Help and version go to standard output with 0, all else to standard error with 2.
                error.print().ok();
                return u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE);
            }
        };
        match self.check().and_then(|()| commands::dispatch(self, &cli, program.as_deref().unwrap_or("program"))) {
            Ok(code) => code,
            Err(failure) => {
                output::complain(&failure.to_string());
                failure.code()
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), Failure> {
        if cfg!(panic = "abort") {
            return Err(Failure::usage(
                "this program was built with panic = \"abort\", so that one bad item would end a whole node: build it with \
                 panic = \"unwind\"",
            ));
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(Failure::usage(self.wrong.join("\n"))) }
    }

    pub(crate) fn programs(&self) -> Result<Arc<Programs>, Failure> {
        Ok(Arc::new(self.programs.clone()))
    }

    pub(crate) fn find_interceptor(&self, name: &str) -> Result<Arc<dyn Interceptor>, Failure> {
        let unknown = || unknown("interceptors names", name, self.interceptors.keys().map(String::as_str));
        self.interceptors.get(name).map(Arc::clone).ok_or_else(unknown)
    }

    pub(crate) fn find_method(&self, name: &str) -> Result<MethodKind, Failure> {
        match (name, self.methods.get(name)) {
            (LEAST_OPEN_RECEIPTS, _) => Ok(MethodKind::LeastOpenReceipts),
            (ROUND_ROBIN, _) => Ok(MethodKind::RoundRobin),
            (_, Some(make)) => Ok(MethodKind::Custom(make.clone())),
            (_, None) => {
                let own = self.methods.keys().map(String::as_str);
                Err(unknown("distribute.method is", name, [LEAST_OPEN_RECEIPTS, ROUND_ROBIN].into_iter().chain(own)))
            }
        }
    }

    /// None for the default one.
    pub(crate) fn find_monitor(&self, name: &str) -> Result<Option<MakeMonitor>, Failure> {
        match (name, self.monitors.get(name)) {
            (DEFAULT_MONITOR, _) => Ok(None),
            (_, Some(make)) => Ok(Some(make.clone())),
            (_, None) => {
                let own = self.monitors.keys().map(String::as_str);
                Err(unknown("heartbeat.monitor is", name, [DEFAULT_MONITOR].into_iter().chain(own)))
            }
        }
    }

    pub(crate) fn find_window(&self, name: &str) -> Result<(), Failure> {
        if self.programs.window(name).is_some() {
            return Ok(());
        }
        let known = self.programs.window_names();
        Err(unknown("distribute.window is", name, known.iter().map(String::as_str)))
    }

    pub(crate) fn find_store(&self, name: &str) -> Option<&StoreFactory> {
        self.stores.get(name)
    }

    pub(crate) fn unknown_store(&self, name: &str) -> Failure {
        unknown("the store is", name, self.known_stores())
    }

    /// For messages.
    pub(crate) fn known_stores(&self) -> Vec<&str> {
        let mut known = vec!["memory"];
        known.extend(cfg!(feature = "store-fs").then_some("fs:DIR"));
        known.extend(cfg!(feature = "store-rocksdb").then_some("rocksdb:DIR"));
        known.extend(self.stores.keys().map(String::as_str));
        known
    }
}

/// What to say of a name under which there is nothing: what is there, the nearest first, which is what was meant, if any.
fn unknown<'a>(said: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Failure {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_by_key(|it| strsim::damerau_levenshtein(it.split(':').next().unwrap_or(it), name));
    match known.as_slice() {
        [] => Failure::usage(format!("{said} {name:?}, but this program has registered none")),
        known => Failure::usage(format!("{said} {name:?}, but has to be one of {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use elastic_flow_dataflow::{Flow, Text};
    use elastic_flow_orchestrator::{MonitorError, NodeId, Watched};
    use elastic_flow_store::MemoryStore;

    use super::*;

    #[derive(Debug)]
    struct Mine;

    impl Interceptor for Mine {}

    impl Monitor for Mine {
        fn living(&mut self, workers: &[Watched]) -> Result<Vec<NodeId>, MonitorError> {
            Ok(workers.iter().map(|it| it.node).collect())
        }
    }

    fn app() -> App {
        App::new()
            .program("p", |lines: Flow<Text>| lines)
            .interceptor("print", Mine)
            .interceptor("pause", Mine)
            .monitor("from-a-file", || Mine)
            .window("by_hour", |before: &u64, after: &u64| before != after)
            .store("mine", Arc::new(|_: &str| Ok(Arc::new(MemoryStore::new()) as _)))
    }

    #[test]
    fn a_name_under_which_nothing_is_registered_is_answered_with_the_nearest_first() {
        let app = app();
        let said = [
            app.find_interceptor("pritn").map(drop),
            app.find_method("robin").map(drop),
            app.find_monitor("from-file").map(drop),
            app.find_window("by_hours"),
            Err(app.unknown_store("fss")),
            App::new().find_window("by_hour"),
        ];
        let said = said.map(|it| it.expect_err("it is unknown").to_string());
        assert_eq!(said[0], "interceptors names \"pritn\", but has to be one of print, pause");
        assert_eq!(said[1], "distribute.method is \"robin\", but has to be one of round-robin, least-open-receipts");
        assert_eq!(said[2], "heartbeat.monitor is \"from-file\", but has to be one of from-a-file, default");
        assert_eq!(said[3], "distribute.window is \"by_hours\", but has to be one of by_hour");
        assert!(said[4].starts_with("the store is \"fss\", but has to be one of fs:DIR, "), "{}", said[4]);
        assert_eq!(said[5], "distribute.window is \"by_hour\", but this program has registered none");
    }

    #[test]
    fn a_registered_monitor_is_found_and_the_default_one_is_none() {
        assert!(app().find_monitor("from-a-file").is_ok_and(|it| it.is_some()));
        assert!(app().find_monitor("default").is_ok_and(|it| it.is_none()));
        let twice = app().monitor("default", || Mine).monitor("from-a-file", || Mine);
        let wrong = twice.check().expect_err("both names are taken").to_string();
        assert!(wrong.contains("heartbeat monitor \"default\" is taken"), "{wrong}");
        assert!(wrong.contains("heartbeat monitor \"from-a-file\" is taken"), "{wrong}");
    }
}

//! What a binary can run: its programs, its iterators and its windows, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use elastic_flow_dataflow::params::Params;
use elastic_flow_dataflow::seam::{Prepared, Program};
use elastic_flow_dataflow::source::{ItemBatches, Window};

/// Makes a registered iterator anew.
pub type MakeItems = Arc<dyn Fn() -> Box<dyn ItemBatches> + Send + Sync>;

/// The programs, registered iterators and windows of a binary.
#[derive(Default, Clone)]
pub struct Programs {
    programs: BTreeMap<String, Arc<dyn Program>>,
    sources: BTreeMap<String, MakeItems>,
    windows: BTreeMap<String, Window>,
}

/// A name was registered twice.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{what} `{name}` is registered twice; give one of them another name")]
pub struct Duplicate {
    what: &'static str,
    name: String,
}

impl Programs {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a program under its name.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register(&mut self, program: Arc<dyn Program>) -> Result<(), Duplicate> {
        let name = program.name().to_owned();
        if self.programs.contains_key(&name) {
            return Err(Duplicate { what: "program", name });
        }
        self.programs.insert(name, program);
        Ok(())
    }

    /// Registers an iterator, for inputs that name it with `registered:NAME`.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register_source(&mut self, name: impl Into<String>, make: MakeItems) -> Result<(), Duplicate> {
        let name = name.into();
        if self.sources.contains_key(&name) {
            return Err(Duplicate { what: "source", name });
        }
        self.sources.insert(name, make);
        Ok(())
    }

    /// Registers a window under its name, for [`MasterConfig::window`](crate::MasterConfig::window).
    ///
    /// # Errors
    /// The name is taken.
    pub fn register_window(&mut self, window: Window) -> Result<(), Duplicate> {
        let name = window.name().to_owned();
        if self.windows.contains_key(&name) {
            return Err(Duplicate { what: "window", name });
        }
        self.windows.insert(name, window);
        Ok(())
    }

    /// The program of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Program>> {
        self.programs.get(name).cloned()
    }

    /// The registered iterator of that name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<MakeItems> {
        self.sources.get(name).cloned()
    }

    /// The window of that name.
    #[must_use]
    pub fn window(&self, name: &str) -> Option<&Window> {
        self.windows.get(name)
    }

    /// Names of all windows, in order.
    #[must_use]
    pub fn window_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }

    /// What to say where no window is registered as `name`: those there are.
    #[must_use]
    pub fn unknown_window(&self, name: &str) -> String {
        let known = self.window_names();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("there is no window `{name}`; this binary has {known}")
    }

    /// Names of all programs, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.programs.keys().cloned().collect()
    }

    /// What to say where `name` is not registered: the names there are.
    #[must_use]
    pub fn unknown(&self, name: &str) -> String {
        if self.programs.is_empty() {
            format!("there is no program `{name}`: this binary registers none")
        } else {
            format!("there is no program `{name}`; this binary has {}", self.names().join(", "))
        }
    }
}

/// Prepares a program with a step's parameters.
pub(crate) fn prepare(program: &dyn Program, params: &[(String, String)]) -> Result<Prepared, String> {
    let params = Params::from_pairs(params.iter().cloned()).map_err(|it| it.to_string())?;
    program.prepare(&params).map_err(|it| it.to_string())
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs")
            .field("programs", &self.names())
            .field("sources", &self.sources.keys().collect::<Vec<_>>())
            .field("windows", &self.window_names())
            .finish()
    }
}

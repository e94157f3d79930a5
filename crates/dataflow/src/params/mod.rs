//! [`Params`]: a step's parameters, as text; and as the type that a flow function takes.

mod duration;
mod typed;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::DeserializeOwned;

use crate::error::ProgramError;

pub use duration::{Duration, DurationError};

/// Parameters by name, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    /// Parameters from names and values.
    ///
    /// # Errors
    /// [`ProgramError::ParamTwice`] if a name is given twice; [`ProgramError::ParamSyntax`] if one is empty.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ProgramError> {
        let mut params = Self::default();
        for (name, value) in pairs {
            params.insert(name.into(), value.into())?;
        }
        Ok(params)
    }

    /// Parameters from texts of the form `key=value`; a value may hold further `=`.
    ///
    /// # Errors
    /// As [`Params::from_pairs`].
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, ProgramError> {
        let mut params = Self::default();
        for text in texts {
            let text = text.as_ref();
            let (name, value) =
                text.split_once('=').ok_or_else(|| ProgramError::ParamSyntax { text: text.to_owned() })?;
            params.insert(name.to_owned(), value.to_owned())?;
        }
        Ok(params)
    }

    fn insert(&mut self, name: String, value: String) -> Result<(), ProgramError> {
        if name.is_empty() {
            return Err(ProgramError::ParamSyntax { text: format!("={value}") });
        }
        match self.values.entry(name) {
            Entry::Occupied(known) => Err(ProgramError::ParamTwice { name: known.key().clone() }),
            Entry::Vacant(free) => {
                free.insert(value);
                Ok(())
            }
        }
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Names and values as they travel, in the order of the names.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        self.values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The parameters as a type: a struct with a field for each, `()` for none, or a map.
    ///
    /// Fields are booleans (`true`, `false`), numbers, characters, strings, enums without data, [`Duration`]s, options of these
    /// (absent is `None`), and whatever else reads itself from a string. `#[serde(default)]` makes a field optional.
    ///
    /// ```
    /// use elastic_flow_dataflow::params::{Duration, Params};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Settings {
    ///     top: usize,
    ///     slow: Option<Duration>,
    /// }
    /// # fn main() -> Result<(), elastic_flow_dataflow::error::ProgramError> {
    /// let settings: Settings = Params::parse(["top=20", "slow=20ms"])?.typed()?;
    /// assert_eq!((settings.top, settings.slow.map(|slow| slow.as_millis())), (20, Some(20)));
    ///
    /// let error = Params::parse(["top=many"])?.typed::<Settings>().err().map(|error| error.to_string());
    /// assert_eq!(error.as_deref(), Some("parameter `top` has the value \"many\": it is not a whole number from 0 to 18446744073709551615"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Names the parameter that is unknown, missing or of another type.
    pub fn typed<P: DeserializeOwned>(&self) -> Result<P, ProgramError> {
        typed::read(&self.values)
    }
}

#[cfg(test)]
mod tests;

//! What a step is going to do: stages joined by exchanges.

use std::fmt::Write as _;

use elastic_flow_receipt::StageId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The version of the canonical text below the digest; raised whenever the text changes.
const CANON_VERSION: u32 = 1;

/// A program's stages, joined by exchanges. Equal for equal programs and parameters, on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The registered name of the program.
    pub program: String,
    /// Its parameters, in key order.
    pub params: Vec<(String, String)>,
    /// The names of the inputs that the flow asks for, by index; empty where it takes whatever it is given.
    pub inputs: Vec<String>,
    /// The stages, in the order in which data passes them.
    pub stages: Vec<StagePlan>,
    /// The exchanges, each behind one stage.
    pub exchanges: Vec<ExchangePlan>,
}

/// One stage: operators that run as one loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Its index in the plan.
    pub id: StageId,
    /// The stages whose items enter it; none where it reads the source on workers.
    pub from: Vec<StageId>,
    /// What enters it.
    pub item: String,
    /// Its operators, in order.
    pub operators: Vec<OperatorPlan>,
    /// Whether a task gives one result for all its chunks, rather than one a chunk.
    pub combines: bool,
}

/// An operator of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPlan {
    /// Its name, as its method is called.
    pub name: String,
    /// The type of the items that it gives.
    pub output: String,
}

/// The movement of data behind a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangePlan {
    /// The stage whose output moves.
    pub from: StageId,
    /// How it moves.
    pub kind: ExchangeKind,
}

/// How data moves between stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// To the master, which merges it.
    Gather,
    /// Between the workers, by the hash of the key.
    Hash,
}

impl ExchangeKind {
    /// Its name in the plan's text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gather => "gather",
            Self::Hash => "hash",
        }
    }
}

impl Plan {
    /// Whether the results of two runs over different chunks merge into that of one run over both. Not so where operators have run
    /// over what an exchange gave: what they saw of a key was not all of it.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.stages.iter().all(|stage| stage.operators.is_empty() || self.entering(stage) != Some(ExchangeKind::Hash))
    }

    /// How the data moves that enters a stage; none if that reads the source.
    fn entering(&self, stage: &StagePlan) -> Option<ExchangeKind> {
        let hashed = |from: &StageId| {
            self.exchanges.iter().any(|exchange| exchange.from == *from && exchange.kind == ExchangeKind::Hash)
        };
        let from = stage.from.first()?;
        Some(if hashed(from) { ExchangeKind::Hash } else { ExchangeKind::Gather })
    }

    /// A digest of the whole plan: the name, the parameters, and each operator with its types. The same in every build.
    #[must_use]
    pub fn digest(&self) -> u64 {
        xxh3_64(self.canonical().as_bytes())
    }

    /// The text below the digest: one fact a line, each string with its length, so that no two plans share one.
    fn canonical(&self) -> String {
        let mut text = format!("plan {CANON_VERSION}\n");
        let mut fact = |kind: &str, parts: &[&str]| {
            text.push_str(kind);
            for part in parts {
                text.push(' ');
                text.push_str(&part.len().to_string());
                text.push(':');
                text.push_str(part);
            }
            text.push('\n');
        };
        fact("program", &[&self.program]);
        for (key, value) in &self.params {
            fact("param", &[key, value]);
        }
        for input in &self.inputs {
            fact("input", &[input]);
        }
        for stage in &self.stages {
            fact("stage", &[&stage.id.0.to_string(), &stage.item, if stage.combines { "task" } else { "chunk" }]);
            for from in &stage.from {
                fact("from", &[&from.0.to_string()]);
            }
            for operator in &stage.operators {
                fact("operator", &[&operator.name, &operator.output]);
            }
        }
        for exchange in &self.exchanges {
            fact("exchange", &[&exchange.from.0.to_string(), exchange.kind.name()]);
        }
        text
    }

    /// The plan for people: a line an operator.
    ///
    /// ```
    /// use elastic_flow_dataflow::{Flow, Text, TypedProgram, params::Params, seam::Program as _};
    ///
    /// # fn main() -> Result<(), elastic_flow_dataflow::error::ProgramError> {
    /// let program = TypedProgram::new("count", |lines: Flow<Text>| lines.words().counts())?;
    /// let plan = program.prepare(&Params::default())?.plan;
    /// assert!(plan.explain().starts_with("program count\nstage 0, one result a task\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!("program {}\n", self.program);
        for (key, value) in &self.params {
            line(&mut text, format_args!("  with {key}={value}"));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            line(&mut text, format_args!("input {index}: {input}"));
        }
        for stage in &self.stages {
            let from: Vec<String> = stage.from.iter().map(|from| from.0.to_string()).collect();
            let behind = from.join(" and ");
            let (runs, source) = match (self.entering(stage), stage.combines) {
                (None, true) => ("one result a task".to_owned(), "source"),
                (None, false) => ("one result a chunk".to_owned(), "source"),
                (Some(ExchangeKind::Hash), _) => (format!("one result a partition, behind {behind}"), "partitioned"),
                (Some(ExchangeKind::Gather), _) => (format!("on the master, behind {behind}"), "gathered"),
            };
            line(&mut text, format_args!("stage {}, {runs}", stage.id.0));
            line(&mut text, format_args!("  {source:<20} {}", short(&stage.item)));
            for operator in &stage.operators {
                line(&mut text, format_args!("  {:<20} {}", operator.name, short(&operator.output)));
            }
            for exchange in self.exchanges.iter().filter(|exchange| exchange.from == stage.id) {
                line(&mut text, format_args!("exchange: {}", exchange.kind.name()));
            }
        }
        text
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    if text.write_fmt(arguments).is_ok() {
        text.push('\n');
    }
}

/// A type's name without its paths: `(Text, u64)` for `(elastic_flow_dataflow::text::Text, u64)`.
fn short(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut word = 0;
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            text.truncate(word);
            rest = after;
            continue;
        }
        text.push(c);
        if !c.is_alphanumeric() && c != '_' {
            word = text.len();
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn plan() -> Plan {
        let params = Params::from_pairs([("top", "5")]).unwrap();
        let operator = OperatorPlan { name: "counts".into(), output: "(a::b::Text, u64)".into() };
        let stage = StagePlan {
            id: StageId(0),
            from: Vec::new(),
            item: "a::Text".into(),
            operators: vec![operator],
            combines: true,
        };
        let exchanges = vec![ExchangePlan { from: StageId(0), kind: ExchangeKind::Gather }];
        Plan {
            program: "words".to_owned(),
            params: params.to_pairs(),
            inputs: vec!["left".into()],
            stages: vec![stage],
            exchanges,
        }
    }

    #[test]
    fn the_digest_is_pinned_and_sees_every_part() {
        assert_eq!(plan().digest(), 0x5efb_477a_20d6_8034, "{:#x}", plan().digest());
        let changes: [fn(&mut Plan); 8] = [
            |plan| plan.program.push('x'),
            |plan| plan.params[0].1.push('x'),
            |plan| plan.inputs[0].push('x'),
            |plan| plan.stages[0].from.push(StageId(0)),
            |plan| plan.stages[0].item.push('x'),
            |plan| plan.stages[0].operators[0].name.push('x'),
            |plan| plan.stages[0].operators[0].output.push('x'),
            |plan| plan.stages[0].combines = false,
        ];
        for change in changes {
            let mut changed = plan();
            change(&mut changed);
            assert_ne!(changed.digest(), plan().digest());
        }
    }

    #[test]
    fn explain_shows_short_types() {
        let expected = "program words\n  with top=5\ninput 0: left\nstage 0, one result a task\n  source               Text\n  \
                        counts               (Text, u64)\nexchange: gather\n";
        assert_eq!(plan().explain(), expected);
    }

    #[test]
    fn paths_go_from_type_names_and_brackets_stay() {
        assert_eq!(short("std::collections::HashMap<a::b::C, [d::E; 3]>"), "HashMap<C, [E; 3]>");
        assert_eq!(short("u64"), "u64");
    }
}

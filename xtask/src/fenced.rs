//! Fenced blocks that are marked to be run, and the comparison of what they print. Pure: text in, answers out.
//!
//! - ` ```sh run ` is a script, run as it stands.
//! - ` ```console run ` is a terminal: lines that start with `$ ` (continued by `> `) are the script, all others what it prints.
//! - A ` ```text output ` block after it, with nothing but prose between, is what it prints.
//! - The mark `background` leaves it running until the document ends; its output, if one is given, is what to wait for.
//! - The mark `temp` runs it in an empty folder, the same for the whole document, rather than at the root of the clone.
//!
//! In what is printed, `...` stands for any text within a line, and a line of just `...` for any number of lines.

use anyhow::{bail, ensure};

/// A block to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// What `bash` runs.
    pub(crate) script: String,
    /// What it prints, if that is given.
    pub(crate) output: Option<Vec<String>>,
    /// Whether it stays running.
    pub(crate) background: bool,
    /// Whether it runs in the document's own folder.
    pub(crate) temp: bool,
}

/// The blocks of a document that are to be run, in their order.
///
/// # Errors
/// A fence that is not closed, a mark that is not known, or an output that belongs to no block: a block that nobody runs is not to
/// look as if it were.
pub(crate) fn blocks(document: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut output_may_follow = false;
    let mut lines = document.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let trimmed = line.trim_start();
        let Some(info) = trimmed.strip_prefix("```") else { continue };
        let indent = line.len() - trimmed.len();
        let mut body = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim() == "```" => break,
                Some((_, line)) => body.push(line.get(indent..).unwrap_or_else(|| line.trim_start()).to_owned()),
                None => bail!("line {}: the fence is not closed", at + 1),
            }
        }
        let mut marks = info.split_whitespace();
        match (marks.next(), marks.next()) {
            (Some(language @ ("sh" | "console")), Some("run")) => {
                blocks.push(block(at + 1, language == "console", body, marks)?);
                output_may_follow = true;
            }
            (Some("text"), Some("output")) => {
                let awaited = blocks.last_mut().filter(|block| output_may_follow && block.output.is_none());
                let Some(block) = awaited else { bail!("line {}: no block before it prints this output", at + 1) };
                block.output = Some(body);
                output_may_follow = false;
            }
            (_, Some("run" | "output")) => bail!("line {}: only `sh` and `console` run, and `text` is output", at + 1),
            _ => output_may_follow = false,
        }
    }
    Ok(blocks)
}

fn block<'a>(
    line: usize,
    console: bool,
    body: Vec<String>,
    marks: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Block> {
    let mut block = Block { line, script: String::new(), output: None, background: false, temp: false };
    for mark in marks {
        match mark {
            "background" => block.background = true,
            "temp" => block.temp = true,
            other => bail!("line {line}: the mark `{other}` is neither `background` nor `temp`"),
        }
    }
    let (script, printed): (Vec<_>, Vec<_>) =
        body.into_iter().partition(|text| !console || text.starts_with("$ ") || text.starts_with("> "));
    let script: Vec<_> =
        script.iter().map(|text| if console { text.get(2..).unwrap_or_default() } else { text.as_str() }).collect();
    block.script = script.join("\n");
    block.output = (!printed.is_empty()).then_some(printed);
    ensure!(
        !block.script.trim().is_empty(),
        "line {line}: there is nothing to run; commands of a console start with `$ `"
    );
    Ok(block)
}

/// Whether `printed` is what `expected` says, to its end.
pub(crate) fn matches(expected: &[String], printed: &[String]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((any, rest)), None) => any.trim() == "..." && matches(rest, printed),
        (Some((any, rest)), Some((_, after))) if any.trim() == "..." => {
            matches(rest, printed) || matches(expected, after)
        }
        (Some((line, rest)), Some((text, after))) => line_matches(line, text) && matches(rest, after),
    }
}

/// Whether `printed` begins as `expected` says: enough for a block that goes on.
pub(crate) fn begins(expected: &[String], printed: &[String]) -> bool {
    (0..=printed.len()).any(|end| matches(expected, printed.get(..end).unwrap_or(printed)))
}

/// Trailing white space does not count: editors drop it.
fn line_matches(expected: &str, text: &str) -> bool {
    let (expected, mut text) = (expected.trim_end(), text.trim_end());
    let mut parts = expected.split("...");
    match parts.next().and_then(|first| text.strip_prefix(first)) {
        Some(rest) => text = rest,
        None => return false,
    }
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return text.is_empty() };
    for part in parts {
        match text.split_once(part) {
            Some((_, rest)) => text = rest,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn marked_blocks_are_found_with_their_marks_and_output_and_others_are_left_alone() {
        let document = "\
# Title
```sh
rm -rf nothing
```
```sh run temp
echo one
echo two
```
It prints:
```text output
one
two
```
  ```console run background
  $ prog \\
  >   --flag
  started at ...
  ```
```rust
fn main() {}
```
";
        let found = blocks(document).unwrap();
        let first = Block {
            line: 5,
            script: "echo one\necho two".to_owned(),
            output: Some(lines("one\ntwo")),
            background: false,
            temp: true,
        };
        let second = Block {
            line: 14,
            script: "prog \\\n  --flag".to_owned(),
            output: Some(lines("started at ...")),
            background: true,
            temp: false,
        };
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn a_block_that_would_silently_not_run_or_not_be_compared_is_an_error_with_its_line() {
        for (document, line) in [
            ("```sh run\ntrue", "line 1"),
            ("\n```bash run\ntrue\n```", "line 2"),
            ("```sh run twice\ntrue\n```", "line 1"),
            ("```sh run\n```", "line 1"),
            ("```console run\necho forgotten prompt\n```", "line 1"),
            ("```text output\nx\n```", "line 1"),
            ("```sh run\ntrue\n```\n```sh\nfalse\n```\n```text output\nx\n```", "line 7"),
            ("```sh run\ntrue\n```\n```text output\nx\n```\n```text output\ny\n```", "line 7"),
        ] {
            let error = blocks(document).unwrap_err().to_string();
            assert!(error.starts_with(line), "{document:?}: {error}");
        }
    }

    #[test]
    fn dots_stand_for_text_in_a_line_and_for_lines() {
        for (expected, printed, is) in [
            ("a\nb", "a\nb", true),
            ("a\nb", "a", false),
            ("a", "a\nb", false),
            ("took ... s", "took 1.25 s", true),
            ("took ... s", "took 1.25 ms!", false),
            ("... of ... done", "3 of 4 done", true),
            ("x...x", "x", false),
            ("a  ", "a", true),
            ("a\n...\nd", "a\nb\nc\nd", true),
            ("a\n...\nd", "a\nd", true),
            ("a\n...\nd", "a\nb", false),
            ("...", "", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches(&lines(expected), &lines(printed)), is, "{expected:?} {printed:?}");
        }
    }

    #[test]
    fn what_goes_on_is_compared_as_far_as_it_is_given() {
        let ready = lines("...\nlistening on ...");
        assert!(!begins(&ready, &lines("starting")));
        assert!(begins(&ready, &lines("starting\nlistening on 127.0.0.1:7117\nmore")));
        assert!(!begins(&lines("listening"), &lines("starting\nlistening")));
    }
}

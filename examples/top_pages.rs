//! The pages that were asked for most, with their titles: access logs joined with a small table, as CSV.
//!
//! ```text
//! cargo run --release --example top_pages -- run --input logs='logs/*/access.log*' --input pages=pages.csv --format csv
//! ```
//!
//! A page is the path of a request without its query; a line that has none is left out (`log_report` shows how such lines are listed). The
//! table has a line `page,title` each; a page that it lacks has an empty title. `--param top=20` shows more than ten.
//!
//! Both steps by key are done by the workers, each for the pages that fall to it: the counting, and the join, which takes the counts
//! through a second exchange to where the titles are. The master gets the best of each partition.

use std::process::ExitCode;

use elastic_flow::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// Pages that are shown.
    top: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { top: 10 }
    }
}

/// A row of the report.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    hits: u64,
    page: Text,
    title: Text,
}

fn top_pages(inputs: Inputs, params: Params) -> Flow<Row> {
    let hits = inputs.lines("logs").filter_map(|line| page(&line)).partition().counts();
    let titles = inputs.lines("pages").filter_map(|line| titled(&line));
    let rows = hits.partition().left_join(titles).map(|(page, (hits, title))| Row {
        hits,
        page,
        title: title.unwrap_or_default(),
    });
    rows.take_sort(params.top, |a, b| b.hits.cmp(&a.hits).then_with(|| a.page.cmp(&b.page)))
}

/// `/cart/7` of `.. "GET /cart/7?x=1 HTTP/1.1" 200 ..`.
fn page(line: &[u8]) -> Option<Text> {
    let request = line.split(|byte| *byte == b'"').nth(1)?;
    let path = request.split(|byte| *byte == b' ').nth(1)?;
    let page = path.split(|byte| *byte == b'?').next()?;
    page.starts_with(b"/").then(|| page.into())
}

/// The page and the title of a line of the table.
fn titled(line: &[u8]) -> Option<(Text, Text)> {
    let comma = line.iter().position(|byte| *byte == b',')?;
    Some((line.get(..comma)?.into(), line.get(comma + 1..)?.into()))
}

fn main() -> ExitCode {
    App::new().program("top_pages", top_pages).main()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_path_without_its_query() {
        let page = |line: &str| page(line.as_bytes());
        assert_eq!(page("::1 - - [24/Nov/2026] \"GET /cart/7?x=1 HTTP/1.1\" 200 5"), Some("/cart/7".into()));
        assert_eq!(page("::1 - - [24/Nov/2026] \"GET"), None);
        assert_eq!(page("\"OPTIONS * HTTP/1.1\""), None);
        assert_eq!(titled(b"/cart,Your cart, all of it"), Some(("/cart".into(), "Your cart, all of it".into())));
        assert_eq!(titled(b"/cart"), None);
    }
}

//! `examples/top_pages`: access logs joined with a table over two exchanges, as coreutils and awk have it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow_integration_tests::cluster::LONG;
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::Process;

const TOP_PAGES: &str = env!("CARGO_BIN_EXE_top_pages");

/// Counts pages, and adds their titles: `$1` the logs, `$2` the table.
const ORACLE: &str = r#"
export LC_ALL=C
awk -F'"' '{ split($2, request, " "); page = request[2]; sub(/\?.*/, "", page); if (page ~ /^\//) print page }' "$1" |
    sort | uniq -c | sort -k1,1nr -k2,2 | head -n 15 |
    awk -v table="$2" 'BEGIN { while ((getline line < table) > 0) { at = index(line, ","); title[substr(line, 1, at - 1)] = substr(line, at + 1) } }
        { print $1 "," $2 "," title[$2] }'
"#;

/// A log of 20,000 requests for some hundred pages, a few far more often than others, and lines that are none.
fn logs() -> String {
    let mut text = String::new();
    for number in 0_u64..20_000 {
        let page = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let page = page * page / 4_096;
        let query = if number % 3 == 0 { "?from=start" } else { "" };
        text.push_str(&format!(
            "203.0.113.7 - - [24/Nov/2026:13:55:36 +0000] \"GET /page/{page}{query} HTTP/1.1\" 200 {number} \"-\" \"-\" 7\n"
        ));
        if number % 1_000 == 0 {
            text.push_str("203.0.113.7 - - [24/Nov/2026:13\n");
        }
    }
    text
}

#[test]
fn the_report_is_that_of_coreutils_on_one_worker_and_on_three() {
    let place = Place::new();
    let logs = place.write("access.log", logs());
    let titles: String =
        (0..200).filter(|it| it % 2 == 0).map(|it| format!("/page/{it},Page {it} of many\n")).collect();
    let pages = place.write("pages.csv", titles);
    let mut oracle = place.command("/bin/sh");
    oracle.args(["-c", ORACLE, "sh", &logs, &pages]);
    let expected = Process::start(&place, "oracle", &mut oracle).wait(LONG).expect_code(0).text();
    assert_eq!(expected.lines().count(), 15);
    assert!(expected.contains("of many") && expected.lines().any(|line| line.ends_with(',')), "{expected}");
    for workers in ["1", "3"] {
        let mut command = place.command(TOP_PAGES);
        command.args(["run", "--workers", workers, "--slots", "1", "--param", "top=15", "--format", "csv"]);
        command.args(["--input", &format!("logs={logs}"), "--input", &format!("pages={pages}")]);
        command.args(["--set", "distribute.chunk_bytes=100000"]);
        let report = Process::start(&place, "run", &mut command).wait(LONG).expect_code(0).text();
        assert!(report.contains(&expected), "{report}\ninstead of\n{expected}");
    }
}

//! `run` counts words as the system's own tools do, whatever the bytes are.
#![allow(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::fmt::Write as _;
use std::time::Duration;

use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of, counts_of_file, sorted};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process};
use elastic_flow_integration_tests::wait::skipped;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const LONG: Duration = Duration::from_secs(180);

/// Counts the words of `inputs` into the file `counts` of the place.
fn count(place: &Place, inputs: &[&str], more: &[&str]) -> Ended {
    let output = place.text("counts");
    let mut command = place.command(TESTBED);
    command.args(["run", "--program", "word_count", "--output", &output, "--input"]).args(inputs).args(more);
    let ended = Process::start(place, "run", &mut command).wait(LONG).expect_code(0);
    assert!(ended.text().trim_end().ends_with(": balanced"), "{}", ended.text());
    ended
}

/// Counts the words of one file and compares.
fn check(content: &[u8], more: &[&str]) {
    let place = Place::new();
    let input = place.write("input.txt", content);
    count(&place, &[&input], more);
    assert_equal(&sorted(&place, &place.path("counts")), &counts_of_file(&place, &input));
}

#[test]
fn a_file_of_a_few_megabytes() {
    check(&corpus::lines(1, 6_000_000), &[]);
}

#[test]
fn a_file_in_many_small_chunks_by_three_workers() {
    check(&corpus::lines(2, 600_000), &["--workers", "3", "--set", "distribute.chunk_bytes=7001"]);
}

#[test]
fn results_do_not_depend_on_compression() {
    for compress in ["true", "false", "auto", "7"] {
        check(&corpus::lines(3, 200_000), &["--set", &format!("compress={compress}")]);
    }
}

#[test]
fn an_empty_file() {
    check(b"", &[]);
}

#[test]
fn white_space_alone() {
    check(b" \t\n\n\x0b\x0c\r\n  ", &[]);
}

#[test]
fn no_line_end_at_the_end() {
    check(b"the last word has no line end: THE end", &[]);
    check(b"one", &[]);
}

#[test]
fn lines_that_end_as_on_windows() {
    let text = corpus::lines(4, 300_000);
    let mut windows = Vec::with_capacity(text.len() * 2);
    for line in text.split(|byte| *byte == b'\n') {
        windows.extend(line);
        windows.extend(b"\r\n");
    }
    check(&windows, &["--set", "distribute.chunk_bytes=10007"]);
}

#[test]
fn bytes_that_are_not_utf_8() {
    // The tools take a file with zero bytes for text too, but line tools may not: they are left out.
    let noise: Vec<u8> = corpus::noise(5, 400_000).into_iter().filter(|byte| *byte != 0).collect();
    check(&noise, &["--set", "distribute.chunk_bytes=10007"]);
    check(b"\xff\xfe caf\xc3\xa9 CAF\xc3\xa9 caf\xe9 \xc3 \xa9\n\xf0\x9f\x92 \x80\n", &[]);
}

#[test]
fn one_line_of_50_megabytes() {
    check(&corpus::one_line(6, 50_000_000), &[]);
}

#[test]
fn ten_thousand_small_files() {
    let place = Place::new();
    let folder = place.path("many");
    std::fs::create_dir(&folder).expect("a folder");
    for number in 0..10_000_u32 {
        let mut text = String::new();
        for word in 0..number % 23 {
            write!(text, "w{} ", (number * 31 + word * word) % 977).expect("a string takes text");
        }
        if number % 50 != 0 {
            text.push('\n');
        }
        std::fs::write(folder.join(format!("{number:05}.txt")), text).expect("a small file");
    }
    count(&place, &[&place.text("many/*.txt")], &[]);
    let wanted = counts_of(&place, "find \"$1\" -type f -exec awk 1 {} +", &place.text("many"));
    assert_equal(&sorted(&place, &place.path("counts")), &wanted);
}

#[test]
fn compressed_files() {
    let place = Place::new();
    for (number, (tool, ending)) in [("gzip", "gz"), ("zstd", "zst"), ("bzip2", "bz2")].into_iter().enumerate() {
        let plain = place.write("plain.txt", corpus::lines(7 + number as u64, 500_000));
        let packed = place.text(&format!("packed.{ending}"));
        let script = format!("command -v {tool} >/dev/null || exit 9; {tool} -c < \"$1\" > \"$2\"");
        let packing = place.command("/bin/sh").args(["-c", &script, "sh", &plain, &packed]).status().expect("a shell");
        if packing.code() == Some(9) {
            skipped(&format!("there is no {tool} on this machine"));
            continue;
        }
        assert!(packing.success(), "{tool} packs");
        count(&place, &[&packed], &[]);
        assert_equal(&sorted(&place, &place.path("counts")), &counts_of_file(&place, &plain));
    }
}

#[test]
fn standard_input() {
    let place = Place::new();
    let input = place.write("input.txt", corpus::lines(8, 300_000));
    let script =
        r#"cat "$2" | "$1" run --program word_count --input - --output "$3" --set distribute.chunk_bytes=20kB"#;
    let output = place.text("counts");
    let ran = place.command("/bin/sh").args(["-c", script, "sh", TESTBED, &input, &output]).output().expect("a shell");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_equal(&sorted(&place, &place.path("counts")), &counts_of_file(&place, &input));
}

#[test]
fn several_inputs_are_one() {
    let place = Place::new();
    let one = place.write("one.txt", corpus::lines(9, 100_000));
    let other = place.write("other.txt", corpus::lines(10, 100_000));
    count(&place, &[&one, &other], &[]);
    let wanted = counts_of(&place, "cat \"$1\"/one.txt \"$1\"/other.txt", one.trim_end_matches("/one.txt"));
    assert_equal(&sorted(&place, &place.path("counts")), &wanted);
}

//! Files that vanish, shrink, grow or are replaced while a worker reads them: what is counted is what was there at submission,
//! and what is not counted is named with both sizes and can be replayed.
//!
//! The reader is held at a line of its first block, so that the rest of its chunk is read after the change.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use elastic_flow::prelude::{Audit, StepState};
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options, SOON};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process};
use elastic_flow_integration_tests::wait::{skipped, wait_until};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// More than a reader takes at a time, 1 MiB: the end of a chunk is read after its beginning has been worked on.
const CHUNK_BYTES: usize = 1_500_000;
/// About so many bytes have the files of three chunks.
const FILE_BYTES: usize = 4_000_000;
/// Where the held line stands in its chunk, about.
const HELD_AT: usize = 1_000;
const HELD_LINE: &str = "here the reader waits";

/// One worker that runs one chunk at a time, in their order.
fn start_cluster(sets: &[&str]) -> Cluster {
    let own = ["distribute.chunk_bytes=1500000", "distribute.chunk_adapts=false", "distribute.task_chunks_max=1"];
    let sets = own.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: false, sets })
}

/// About `bytes` of text, in which the held line stands at about `at`.
fn text(seed: u64, bytes: usize, at: usize) -> Vec<u8> {
    let mut text = corpus::lines(seed, at);
    text.extend(HELD_LINE.as_bytes());
    text.push(b'\n');
    let rest = bytes - text.len();
    text.extend(corpus::lines(seed + 1_000, rest));
    text
}

/// Other content of the same size, with its lines at the same places.
fn other(text: &[u8]) -> Vec<u8> {
    let turned = |byte: &u8| if byte.is_ascii_lowercase() { b'a' + b'z' - *byte } else { *byte };
    text.iter().map(turned).collect()
}

/// The lines that start in a stretch of the text, which are what its chunk counts.
fn lines_from(text: &[u8], stretch: Range<usize>) -> &[u8] {
    let border = |at: usize| {
        let newline = text.iter().skip(at.saturating_sub(1)).position(|byte| *byte == b'\n');
        if at == 0 { 0 } else { newline.map_or(text.len(), |newline| at + newline) }
    };
    text.get(border(stretch.start)..border(stretch.end)).expect("the stretch is of this text")
}

/// Writes a file with a time of modification long ago, so that whatever is written later changes that time for certain.
fn write_old(place: &Place, name: &str, content: &[u8]) -> String {
    let path = place.write(name, content);
    let file = OpenOptions::new().write(true).open(&path).expect("it is ours");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).expect("its time can be set");
    path
}

fn append(path: &str, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    file.write_all(bytes).expect("it grows");
}

fn truncate(path: &str, bytes: usize) {
    let file = OpenOptions::new().write(true).open(path).expect("it is there");
    file.set_len(bytes as u64).expect("it shrinks");
}

fn overwrite(path: &str, at: usize, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("it is there");
    file.seek(SeekFrom::Start(at as u64)).expect("it has that place");
    file.write_all(bytes).expect("it can be written");
}

/// Puts a file of this content in the place of another, whose readers keep what they have open.
fn replace(path: &str, content: &[u8]) {
    let new = format!("{path}.new");
    fs::write(&new, content).expect("a new file");
    fs::rename(&new, path).expect("it takes the name");
}

fn open_files_of(process: u32, path: &str) -> usize {
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("the process is there");
    let open = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    open.filter(|file| file == Path::new(path)).count()
}

/// What the tools count in `text`.
fn counts_in(place: &Place, text: &[u8]) -> Vec<u8> {
    let path = place.write("wanted", text);
    counts_of(place, "cat -- \"$1\"", &path)
}

/// A step whose reader stands at the held line.
struct HeldStep {
    id: u64,
    submit: Process,
    marker: String,
}

impl HeldStep {
    /// Submits a step over `input` and waits for its reader to come to the line.
    fn start(cluster: &Cluster, id: u64, input: &str) -> Self {
        let [marker, reached] = ["marker", "reached"].map(|name| cluster.place().text(&format!("{name}-{id}")));
        let hold = format!("hold={HELD_LINE}");
        let (marker_param, reached_param) = (format!("marker={marker}"), format!("reached={reached}"));
        let mut line = vec!["submit", "--wait", "--program", "holds_at_a_line", "--input", input];
        line.extend(["--param", &hold, "--param", &marker_param, "--param", &reached_param]);
        let mut submit = cluster.start_cli(&line);
        wait_until(SOON, "the reader is at its line", || {
            assert!(!submit.has_ended(), "{}{}", submit.stdout(), submit.stderr());
            Path::new(&reached).exists()
        });
        Self { id, submit, marker }
    }

    /// Lets the reader go on, and waits for the end of the step, with the exit code `code`.
    #[track_caller]
    fn release(self, code: i32) -> Ended {
        File::create(&self.marker).expect("a marker");
        self.submit.wait(LONG).expect_code(code)
    }

    /// As [`Self::release`], of a step that fails and says why.
    #[track_caller]
    fn release_to_failure(self, cluster: &Cluster, why: &str) {
        let id = self.id;
        let ended = self.release(1);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        let view = cluster.step(id);
        assert_eq!(view.state, StepState::Failed);
        assert!(view.reason.as_ref().is_some_and(|reason| reason.contains(why)), "{:?}", view.reason);
    }
}

/// The messages with which chunks were set aside, each with the failed attempts of its chunk, sorted.
fn set_aside(cluster: &Cluster, id: u64) -> Vec<(u32, String)> {
    let failures = cluster.failures(id).into_iter().filter(|failure| failure.set_aside);
    let mut found: Vec<(u32, String)> = failures.map(|failure| (failure.attempts, failure.message)).collect();
    found.sort();
    found
}

/// Checks the audit: balanced, with so many chunks counted and set aside, of which those counted have so many bytes.
#[track_caller]
fn check_audit(cluster: &Cluster, id: u64, aggregated: u64, set_aside: u64, bytes: usize) -> Audit {
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    let rows = audit.rows;
    assert_eq!((rows.aggregated.receipts, rows.set_aside.receipts), (aggregated, set_aside), "{audit}");
    assert_eq!((rows.conceived.receipts, rows.aggregated.bytes), (aggregated + set_aside, bytes as u64), "{audit}");
    audit
}

/// Replays a step, as the next one after `id`, and checks that its result is that of the whole text.
#[track_caller]
fn check_replay(cluster: &Cluster, id: u64, text: &[u8]) {
    cluster.cli(&["replay", &id.to_string(), "--wait"]).expect_code(0);
    let view = cluster.step(id + 1);
    assert_eq!((view.state, view.replay_of.map(|step| step.0)), (StepState::Completed, Some(id)));
    assert!(cluster.audit(id + 1).balanced(), "{}", cluster.audit(id + 1));
    assert_equal(&cluster.output(id + 1), &counts_in(cluster.place(), text));
}

fn gone(path: &str, bytes: usize) -> String {
    format!("{path} had {bytes} bytes at submission and is gone now (0 bytes); put it back and replay the step")
}

fn shrunk(path: &str, bytes: usize, found: usize) -> String {
    format!("{path} had {bytes} bytes at submission and has {found} now; put the whole file back and replay the step")
}

fn changed(path: &str, bytes: usize) -> String {
    format!(
        "{path} has other content than at submission ({bytes} bytes then, {bytes} now); put the former file back and \
         replay the step, or submit the new one"
    )
}

fn changed_while_read(path: &str, bytes: usize) -> String {
    format!(
        "{path} was changed while it was read ({bytes} bytes at submission, {bytes} now); put the former file back, \
         leave it alone and replay the step"
    )
}

fn has_grown(path: &str, bytes: usize, found: usize) -> String {
    format!("{path} has grown from {bytes} to {found} bytes since submission and was read to its size at submission")
}

fn was_written_to(path: &str) -> String {
    format!(
        "{path} was written to since submission and has its former size: chunks were compared with it by their ends alone"
    )
}

#[test]
fn a_file_that_vanishes_is_read_to_the_end_of_the_open_chunk_and_fails_the_others() {
    let mut cluster = start_cluster(&[]);
    let text = text(1, FILE_BYTES, HELD_AT);
    let input = write_old(cluster.place(), "in.txt", &text);
    let step = HeldStep::start(&cluster, 1, &input);
    let worker = cluster.worker("w1").id();
    assert_eq!(open_files_of(worker, &input), 1, "the reader has the file open");
    fs::remove_file(&input).expect("it is there");
    let message = gone(&input, text.len());
    step.release_to_failure(&cluster, &message);

    assert_eq!(set_aside(&cluster, 1), [(0, message.clone()), (0, message)]);
    let audit = check_audit(&cluster, 1, 1, 2, CHUNK_BYTES);
    assert_eq!((audit.rows.failed.receipts, audit.notes.len()), (0, 0), "{audit}");
    assert_equal(&cluster.output(1), &counts_in(cluster.place(), lines_from(&text, 0..CHUNK_BYTES)));

    cluster.place().write("in.txt", &text);
    check_replay(&cluster, 1, &text);
    check_audit(&cluster, 2, 2, 0, text.len() - CHUNK_BYTES);
}

#[test]
fn a_file_that_shrinks_fails_all_that_was_not_counted_yet() {
    let cluster = start_cluster(&[]);
    let text = text(2, FILE_BYTES, HELD_AT);
    // Within the chunk at work, behind what was read of it; and behind that chunk, which is so far whole.
    for (round, length) in [1_200_000, 3_500_000].into_iter().enumerate() {
        let id = 2 * round as u64 + 1;
        let input = write_old(cluster.place(), &format!("{length}.txt"), &text);
        let step = HeldStep::start(&cluster, id, &input);
        truncate(&input, length);
        let message = shrunk(&input, text.len(), length);
        step.release_to_failure(&cluster, &message);

        // The first one failed on the worker; the master then found its own file short as well.
        let aside = set_aside(&cluster, id);
        assert_eq!(aside, [(0, message.clone()), (0, message.clone()), (1, message.clone())]);
        let failures = cluster.failures(id);
        let tried: Vec<&str> =
            failures.iter().filter(|failure| !failure.set_aside).map(|failure| failure.message.as_str()).collect();
        assert_eq!(tried, [message]);
        let audit = check_audit(&cluster, id, 0, 3, 0);
        assert_eq!(audit.rows.aggregated.entries, 0, "{audit}");
        assert_equal(&cluster.output(id), b"");

        fs::write(&input, &text).expect("it is ours");
        check_replay(&cluster, id, &text);
        check_audit(&cluster, id + 1, 3, 0, text.len());
    }
}

#[test]
fn a_file_that_grows_is_read_to_its_size_at_submission_and_the_audit_says_so() {
    let cluster = start_cluster(&[]);
    // Before the other chunks are opened; and while the last one is read.
    for (id, held_at) in [(1, HELD_AT), (2, 2 * CHUNK_BYTES + HELD_AT)] {
        let mut text = text(2 + id, FILE_BYTES, held_at);
        // The last line is not ended: what comes later would be part of its last word.
        text.extend(b"the last word");
        let input = write_old(cluster.place(), &format!("{id}.txt"), &text);
        let step = HeldStep::start(&cluster, id, &input);
        let more = b"s of this line\nand another line\n";
        append(&input, more);
        step.release(0);

        let audit = check_audit(&cluster, id, 3, 0, text.len());
        assert_eq!(audit.notes, [has_grown(&input, text.len(), text.len() + more.len())]);
        assert_eq!((audit.rows.failed.receipts, audit.rows.retried.receipts), (0, 0), "{audit}");
        assert_equal(&cluster.output(id), &counts_in(cluster.place(), &text));
    }
}

#[test]
fn a_small_file_that_grows_before_its_turn_in_a_chunk_of_several_is_no_failure() {
    let cluster = start_cluster(&[]);
    // The third one is opened when the first block has been worked on.
    let texts = [text(5, 700_000, HELD_AT), corpus::lines(6, 400_000), corpus::lines(7, 300_000)];
    for (number, text) in texts.iter().enumerate() {
        write_old(cluster.place(), &format!("in/{number}.txt"), text);
    }
    let step = HeldStep::start(&cluster, 1, &cluster.place().text("in/*.txt"));
    let (grown, more) = (cluster.place().text("in/2.txt"), b"this came later\n");
    append(&grown, more);
    step.release(0);

    let audit = check_audit(&cluster, 1, 1, 0, texts.concat().len());
    assert_eq!(audit.notes, [has_grown(&grown, texts[2].len(), texts[2].len() + more.len())]);
    assert_eq!((audit.rows.failed.receipts, audit.rows.retried.receipts), (0, 0), "{audit}");
    assert_equal(&cluster.output(1), &counts_in(cluster.place(), &texts.concat()));
}

#[test]
fn a_file_replaced_by_another_is_never_mixed_with_it() {
    let cluster = start_cluster(&[]);
    let text = text(8, FILE_BYTES, HELD_AT);
    let input = write_old(cluster.place(), "in.txt", &text);
    let step = HeldStep::start(&cluster, 1, &input);
    replace(&input, &other(&text));
    let message = changed(&input, text.len());
    step.release_to_failure(&cluster, &message);

    // The chunk at work is all of the old file, and nothing is of the new one.
    assert_eq!(set_aside(&cluster, 1), [(0, message.clone()), (0, message)]);
    check_audit(&cluster, 1, 1, 2, CHUNK_BYTES);
    assert_equal(&cluster.output(1), &counts_in(cluster.place(), lines_from(&text, 0..CHUNK_BYTES)));

    replace(&input, &text);
    check_replay(&cluster, 1, &text);
    check_audit(&cluster, 2, 2, 0, text.len() - CHUNK_BYTES);
}

#[test]
fn a_chunk_that_is_written_to_while_it_is_read_is_set_aside_at_once() {
    let cluster = start_cluster(&[]);
    let text = text(9, FILE_BYTES, HELD_AT);
    let input = write_old(cluster.place(), "in.txt", &text);
    let step = HeldStep::start(&cluster, 1, &input);
    // In the midst of the chunk: no digest of ends covers it, and who read it anew would find nothing wrong.
    let midst = 1_200_000..1_300_000;
    overwrite(&input, midst.start, &other(&text)[midst.clone()]);
    let message = changed_while_read(&input, text.len());
    step.release_to_failure(&cluster, &message);

    assert_eq!(set_aside(&cluster, 1), [(1, message)]);
    let audit = check_audit(&cluster, 1, 2, 1, text.len() - CHUNK_BYTES);
    assert_eq!((audit.rows.failed.receipts, audit.rows.retried.receipts), (1, 0), "{audit}");
    assert_eq!(audit.notes, [was_written_to(&input)]);
    assert_equal(&cluster.output(1), &counts_in(cluster.place(), lines_from(&text, CHUNK_BYTES..text.len())));

    overwrite(&input, midst.start, &text[midst]);
    check_replay(&cluster, 1, &text);
    check_audit(&cluster, 2, 1, 0, CHUNK_BYTES);
}

/// Packs texts as members of one file.
fn pack(place: &Place, texts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    for text in texts {
        let plain = place.write("plain", text);
        let script = "command -v gzip >/dev/null || exit 9; gzip -c -- \"$1\"";
        let output = place.command("/bin/sh").args(["-c", script, "sh", &plain]).output().expect("a shell");
        if output.status.code() == Some(9) {
            skipped("there is no gzip on this machine");
            return None;
        }
        assert!(output.status.success(), "gzip packs");
        packed.extend(output.stdout);
    }
    Some(packed)
}

#[test]
fn a_compressed_file_that_vanishes_is_read_to_its_end_and_the_next_one_is_skipped_by_name() {
    let cluster = start_cluster(&["retry.max_skips=1"]);
    let place = cluster.place();
    let texts = [text(10, FILE_BYTES, HELD_AT), corpus::lines(11, 300_000)];
    let (Some(first), Some(second)) = (pack(place, &[&texts[0]]), pack(place, &[&texts[1]])) else { return };
    let inputs = [write_old(place, "in/a.gz", &first), write_old(place, "in/b.gz", &second)];
    let step = HeldStep::start(&cluster, 1, &place.text("in/*.gz"));
    for input in &inputs {
        fs::remove_file(input).expect("it is there");
    }
    let ended = step.release(4);
    let message = gone(&inputs[1], second.len());
    assert!(ended.stderr.contains(&message), "{}", ended.stderr);

    assert_eq!(cluster.step(1).state, StepState::CompletedWithSkips);
    assert_eq!(set_aside(&cluster, 1), [(0, message)]);
    check_audit(&cluster, 1, 1, 1, first.len());
    assert_equal(&cluster.output(1), &counts_in(place, &texts[0]));

    // What was counted is not read again, and so is not missed.
    place.write("in/b.gz", &second);
    check_replay(&cluster, 1, &texts.concat());
    check_audit(&cluster, 2, 1, 0, second.len());
}

#[test]
fn a_compressed_file_that_shrinks_fails_even_where_what_is_left_decodes() {
    let cluster = start_cluster(&[]);
    let place = cluster.place();
    let (one, two) = (text(12, 3 * FILE_BYTES / 4, HELD_AT), corpus::lines(13, FILE_BYTES / 4));
    let (Some(first), Some(packed)) = (pack(place, &[&one]), pack(place, &[&one, &two])) else { return };
    let text = [one, two].concat();
    // At the border of two members, where decoders see a proper end; and within the first.
    for (round, length) in [first.len(), first.len() - 1_000].into_iter().enumerate() {
        let id = 2 * round as u64 + 1;
        let input = write_old(place, &format!("{length}.gz"), &packed);
        let step = HeldStep::start(&cluster, id, &input);
        truncate(&input, length);
        let message = shrunk(&input, packed.len(), length);
        step.release_to_failure(&cluster, &message);

        assert_eq!(set_aside(&cluster, id), [(1, message)]);
        let audit = check_audit(&cluster, id, 0, 1, 0);
        assert_eq!(audit.rows.aggregated.entries, 0, "{audit}");
        assert_equal(&cluster.output(id), b"");

        fs::write(&input, &packed).expect("it is ours");
        check_replay(&cluster, id, &text);
        check_audit(&cluster, id + 1, 1, 0, packed.len());
    }
}

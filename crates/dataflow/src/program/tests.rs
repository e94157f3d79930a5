use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use elastic_flow_receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow_wire::SeqEncoder;
use elastic_flow_wire::message::{FailureKind, Payload, PayloadKind, Segment, TaskChunk};

use super::*;
use crate::aggregate::{Collect, TopN};
use crate::error::MergeError;
use crate::format::Format;
use crate::seam::{Cutter as _, TaskContext, TaskFailure, TaskOutput};
use crate::source::{ItemBatches, ResolvedSource, SourceCutter, Suppliers};
use crate::{Chain, Flow, FlowError, Single, Text};

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().to_ascii_lowercase().counts()
}

fn context() -> TaskContext {
    TaskContext {
        stop: Arc::new(AtomicBool::new(false)),
        progress: Arc::new(AtomicU64::new(0)),
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: 0,
        partitions: 0,
    }
}

fn receipt(sequence: u64) -> ReceiptId {
    ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 }
}

fn chunk<T: Data>(sequence: u64, input: u16, items: impl IntoIterator<Item = T>) -> TaskChunk {
    let mut encoder = SeqEncoder::new();
    items.into_iter().for_each(|item| encoder.push(&item).unwrap());
    let payload = Payload { kind: PayloadKind::Items, body: encoder.finish().1 };
    TaskChunk { receipt: receipt(sequence), input, payload }
}

/// Lines as the master ships them.
fn lines(sequence: u64, text: &str) -> TaskChunk {
    let mut body = (text.len() as u64).to_le_bytes().to_vec();
    body.extend_from_slice(text.as_bytes());
    let payload = Payload { kind: PayloadKind::Bytes, body: Bytes::from(body) };
    TaskChunk { receipt: receipt(sequence), input: 0, payload }
}

fn prepare<T: 'static, U: Data, O: Send + 'static>(program: &TypedProgram<T, U, O>) -> Prepared {
    program.prepare(&Params::default()).unwrap()
}

fn texts(words: &[&str]) -> Vec<Text> {
    words.iter().map(|&word| Text::from(word)).collect()
}

#[test]
fn names_are_checked() {
    let named = |name: &str| TypedProgram::new(name, count_words).map(|program| program.name().to_owned());
    assert_eq!(named("word_count-2.x"), Ok("word_count-2.x".to_owned()));
    let long = "x".repeat(129);
    for name in ["", "a b", "a/b", "ä", &long] {
        assert_eq!(named(name), Err(ProgramError::Name { name: name.to_owned() }));
    }
}

#[test]
fn operators_behind_a_global_reduction_are_a_stage_of_their_own() {
    let program = TypedProgram::new("p", |lines: Flow<Text>| {
        lines.words().counts().filter(|(_, count)| *count > 1).map(|(word, count)| (count, word)).counts()
    });
    let program = program.unwrap();
    let plan = prepare(&program).plan;
    let explained = "program p\nstage 0, one result a task\n  source               Text\n  words                Text\n  \
                     counts               (Text, u64)\nexchange: gather\nstage 1, on the master, behind 0\n  \
                     gathered             (Text, u64)\n  filter               (Text, u64)\n  \
                     map                  (u64, Text)\n  counts               ((u64, Text), u64)\n";
    assert_eq!(plan.explain(), explained);
    assert_eq!(program.on(["a b a", "c b"]).unwrap(), [((2, "a".into()), 1), ((2, "b".into()), 1)]);

    let stages = |plan: Plan| plan.stages.len();
    let program = TypedProgram::new("p", |n: Flow<u64>| n.sum().map(|n| n + 1)).unwrap();
    assert_eq!((program.on([1, 2_u64]).unwrap(), stages(prepare(&program).plan)), (vec![4], 2));
    let program = TypedProgram::new("p", |n: Flow<u64>| n.counts().sum_by_key().count().count()).unwrap();
    assert_eq!((program.on([1, 2_u64]).unwrap(), stages(prepare(&program).plan)), (1, 4));
}

#[test]
fn what_comes_behind_a_reduction_does_not_meet_what_is_still_read() {
    let program = TypedProgram::new("p", |inputs: Inputs, (): ()| {
        inputs.lines("a").words().counts().map(|(word, _)| word).merge(inputs.lines("b"))
    });
    let error = program.unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::NeedsExchange { operator: "merge" });
    let program = TypedProgram::new("p", |inputs: Inputs, (): ()| {
        let words = inputs.lines("b").words().counts();
        inputs.lines("a").map(|line| (line, 1)).merge(words).counts().count()
    });
    let error = program.unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::NeedsExchange { operator: "merge" });
    assert!(error.to_string().starts_with("`merge` joins two flows, of which one comes behind a global reduction"));
}

#[test]
fn an_error_behind_a_reduction_names_the_stage_and_the_item() {
    let failing = |flow: fn(u64) -> crate::FlowResult<u64>| {
        let program = TypedProgram::new("p", move |n: Flow<u64>| n.counts().try_map(move |(n, _)| flow(n))).unwrap();
        program.on([5, 6, 7_u64]).unwrap_err().to_string()
    };
    let stage = "the stage behind a global reduction that ends in `try_map` failed at item 2: ";
    assert_eq!(failing(|n| if n == 7 { Err(FlowError::retry("no seven")) } else { Ok(n) }), format!("{stage}no seven"));
    assert_eq!(failing(|n| if n == 7 { panic!("ouch") } else { Ok(n) }), format!("{stage}ouch"));
    let skipped = failing(|n| if n == 7 { Err(FlowError::skip("no seven")) } else { Ok(n) });
    assert_eq!(skipped, format!("{stage}cannot be skipped here: no seven"));
}

#[test]
fn equal_programs_have_equal_plans_and_others_do_not() {
    let digest = |plan: Plan| plan.digest();
    let words = prepare(&TypedProgram::new("words", count_words).unwrap()).plan;
    let same =
        prepare(&TypedProgram::new("words", |l: Flow<Text>| l.words().to_ascii_lowercase().counts()).unwrap()).plan;
    assert_eq!(words, same);
    let operators: Vec<&str> = words.stages[0].operators.iter().map(|operator| operator.name.as_str()).collect();
    assert_eq!(operators, ["words", "to_ascii_lowercase", "counts"]);
    let other =
        prepare(&TypedProgram::new("words", |l: Flow<Text>| l.to_ascii_lowercase().words().counts()).unwrap()).plan;
    assert_ne!(digest(words), digest(other));
}

#[test]
fn parameters_reach_the_flow_and_are_part_of_the_plan() {
    #[derive(serde::Deserialize)]
    struct Settings {
        add: u64,
    }
    let program =
        TypedProgram::new("add", |n: Flow<u64>, settings: Settings| n.map(move |n| n + settings.add)).unwrap();
    assert_eq!(program.on_with([("add", "5")], [1, 2_u64]).unwrap(), [6, 7]);
    let plan = program.prepare(&Params::from_pairs([("add", "5")]).unwrap()).unwrap().plan;
    assert_eq!(plan.params, [("add".to_owned(), "5".to_owned())]);
    assert_eq!(program.on([1_u64]).unwrap_err().to_string(), "parameter `add` is missing: give it as add=VALUE");
    let bare = TypedProgram::new("bare", count_words).unwrap();
    let error = bare.on_with([("add", "5")], ["a"]).unwrap_err();
    assert_eq!(error.to_string(), "the program has no parameter `add`: it takes none");
}

#[test]
fn a_chunk_of_lines_is_read_as_texts_with_entries_and_bytes() {
    let program = TypedProgram::new("lines", |lines: Flow<Text>| lines.map(|line| line)).unwrap();
    let counting = TypedProgram::new("words", count_words).unwrap();
    let chunks = [lines(0, "To be\r\n\nor not\n"), lines(1, "to be"), lines(2, "")];
    for prepared in [prepare(&program), prepare(&counting)] {
        let context = context();
        let output = prepared.stages[0].run(&chunks, &context).unwrap();
        let read: Vec<_> = output.chunks.iter().map(|read| (read.receipt.sequence, read.entries, read.bytes)).collect();
        assert_eq!(read, [(0, 3, 15), (1, 1, 5), (2, 0, 0)]);
        assert_eq!(context.progress.load(Ordering::Relaxed), 4);
    }
    let output = prepare(&program).stages[0].run(&chunks, &context()).unwrap();
    let bodies: Vec<Vec<Text>> = output.segments.iter().map(|s| elastic_flow_wire::decode(&s.body).unwrap()).collect();
    assert_eq!(bodies, [texts(&["To be\r", "", "or not"]), texts(&["to be"]), texts(&[])]);
    let segment = &output.segments[1];
    assert_eq!(
        (segment.receipt, segment.rows, segment.digest),
        (receipt(1), 1, xxhash_rust::xxh3::xxh3_64(&segment.body))
    );

    let combined = prepare(&counting).stages[0].run(&chunks, &context()).unwrap().segments;
    assert_eq!((combined.len(), combined[0].receipt, combined[0].rows), (1, receipt(0), 4));
}

#[test]
fn a_panic_names_its_item_and_harms_nothing_else() {
    let program =
        TypedProgram::new("p", |n: Flow<u64>| n.map(|n| if n == 7 { panic!("seven, item of {n}") } else { n }))
            .unwrap();
    let stage = &prepare(&program).stages[0];
    let failure = stage.run(&[chunk(0, 0, 0..3_u64), chunk(1, 0, 5..9_u64)], &context()).unwrap_err();
    let TaskFailure::Failed { kind, receipt: at, item, message } = failure else { panic!("{failure:?}") };
    assert_eq!((kind, at, item, message.as_str()), (FailureKind::Panic, Some(receipt(1)), Some(2), "seven, item of 7"));
    assert!(stage.run(&[chunk(0, 0, 0..3_u64)], &context()).is_ok());
}

#[test]
fn an_error_names_its_item_and_what_follows_is_not_run() {
    let after = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&after);
    let program = TypedProgram::new("p", move |lines: Flow<Text>| {
        let seen = Arc::clone(&seen);
        lines.try_map(|line| line.to_str_lossy().parse::<i64>()).inspect(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        })
    })
    .unwrap();
    let failure = prepare(&program).stages[0].run(&[lines(4, "1\n2\nx\n3\ny\n")], &context()).unwrap_err();
    let TaskFailure::Failed { kind, receipt: at, item, message } = failure else { panic!("{failure:?}") };
    assert_eq!((kind, at, item), (FailureKind::User, Some(receipt(4)), Some(2)));
    assert_eq!((message.as_str(), after.load(Ordering::Relaxed)), ("invalid digit found in string", 2));
}

#[test]
fn what_one_item_gives_ends_with_its_first_error() {
    let after = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&after);
    let program = TypedProgram::new("p", move |n: Flow<u64>| {
        let seen = Arc::clone(&seen);
        n.flat_map(|n| n..n + 10).try_map(|n| if n == 22 { Err("a 22") } else { Ok(n) }).inspect(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        })
    })
    .unwrap();
    assert_eq!(program.on([0, 20_u64]).unwrap_err().to_string(), "item 1: a 22");
    assert_eq!(after.load(Ordering::Relaxed), 12);
}

/// The source is a range alone.
struct NoSuppliers;

impl Suppliers for NoSuppliers {
    fn registered(&mut self, _: &str) -> Option<Box<dyn ItemBatches>> {
        None
    }

    fn one_shot(&mut self, _: u16) -> Option<Box<dyn ItemBatches>> {
        None
    }
}

#[test]
fn a_range_is_read_with_entries_bytes_and_positions() {
    let source = ResolvedSource::resolve([&SourceSpec::Range { start: 100, end: 20_100 }]).unwrap();
    let mut cutter = SourceCutter::new(&source, &mut NoSuppliers).unwrap();
    let mut chunks = Vec::new();
    while let Some(cut) = cutter.cut(80_000, u64::MAX).unwrap() {
        chunks.push(TaskChunk { receipt: receipt(chunks.len() as u64), input: cut.input, payload: cut.payload });
    }
    let sum = prepare(&TypedProgram::new("sum", |n: Flow<u64>| n.sum()).unwrap());
    let context = context();
    let output = sum.stages[0].run(&chunks, &context).unwrap();
    let read: Vec<_> = output.chunks.iter().map(|read| (read.entries, read.bytes)).collect();
    assert_eq!(read, [(10_000, 80_000), (10_000, 80_000)]);
    assert_eq!(context.progress.load(Ordering::Relaxed), 20_000);
    assert_eq!(elastic_flow_wire::decode::<Vec<u64>>(&output.segments[0].body).unwrap(), [(100..20_100).sum::<u64>()]);

    let broken =
        prepare(&TypedProgram::new("p", |n: Flow<u64>| n.filter(|&n| 20 / (n ^ 15_555) < 21).count()).unwrap());
    let failure = broken.stages[0].run(&chunks[1..], &context).unwrap_err();
    assert!(matches!(failure, TaskFailure::Failed { kind: FailureKind::Panic, item: Some(5_455), .. }), "{failure:?}");
}

#[test]
fn a_stopped_task_gives_nothing() {
    let context = context();
    let stop = Arc::clone(&context.stop);
    let program = TypedProgram::new("p", move |n: Flow<u64>| {
        let stop = Arc::clone(&stop);
        n.inspect(move |&n| {
            if n == 10 {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(n < 20_000, "it should have stopped");
        })
    })
    .unwrap();
    let failure = prepare(&program).stages[0].run(&[chunk(0, 0, 0..100_000_u64)], &context).unwrap_err();
    assert!(matches!(failure, TaskFailure::Stopped), "{failure:?}");
    let failure = prepare(&program).stages[0].run(&[chunk(0, 0, [1_u64])], &context).unwrap_err();
    assert!(matches!(failure, TaskFailure::Stopped), "{failure:?}");
}

#[test]
fn items_of_another_type_are_refused_by_name() {
    let fail = |output: Result<TaskOutput, TaskFailure>| match output {
        Err(TaskFailure::Failed { kind, message, .. }) => (kind, message),
        other => panic!("{other:?}"),
    };
    let numbers = prepare(&TypedProgram::new("p", |n: Flow<u64>| n).unwrap());
    let (kind, message) = fail(numbers.stages[0].run(&[lines(0, "a\n")], &context()));
    assert_eq!(kind, FailureKind::Program);
    assert_eq!(message, "the program takes items of u64, and its input gives lines of text, which `Text` stands for");
    let words = prepare(&TypedProgram::new("p", count_words).unwrap());
    let (kind, _) = fail(words.stages[0].run(&[chunk(0, 0, [7_u32])], &context()));
    assert_eq!(kind, FailureKind::Decode);
}

#[test]
fn each_chunk_runs_through_the_flow_of_its_own_input() {
    let both = |inputs: Inputs, (): ()| {
        let old = inputs.lines("old").words().map(|word| (word, 1_u64));
        let new = inputs.items::<u64>("new").map(|n| (Text::from("n"), n));
        old.merge(new).sum_by_key()
    };
    let prepared = prepare(&TypedProgram::new("both", both).unwrap());
    assert_eq!(prepared.plan.inputs, ["old", "new"]);
    let mut aggregator = (prepared.aggregator)();
    let output = prepared.stages[0].run(&[lines(0, "a n\na\n"), chunk(1, 1, [40_u64, 1])], &context()).unwrap();
    output.segments.iter().for_each(|segment| aggregator.merge(segment).unwrap());
    let value = aggregator.finish().unwrap().into_any().downcast::<Vec<(Text, u64)>>().unwrap();
    assert_eq!(*value, [("a".into(), 2), ("n".into(), 42)]);
    assert!(prepared.stages[0].run(&[chunk(0, 2, [1_u64])], &context()).is_err());

    let forgetful = |inputs: Inputs, (): ()| {
        let _unused = inputs.lines("old");
        inputs.lines("new").counts()
    };
    let error = TypedProgram::new("p", forgetful).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::InputUnused { name: "old".to_owned() });
}

#[test]
fn an_aggregate_behind_a_reduction_gets_final_items() {
    let top = TypedProgram::new("top", |lines: Flow<Text>| lines.words().counts()).unwrap();
    let top = top.aggregate(Collect::<(Text, u64), BTreeMap<Text, u64>>::default());
    let prepared = prepare(&top);
    let mut aggregator = (prepared.aggregator)();
    for (sequence, text) in [(1, "b a"), (0, "a a c")] {
        let output = prepared.stages[0].run(&[lines(sequence, text)], &context()).unwrap();
        aggregator.merge(&output.segments[0]).unwrap();
    }
    let mut resumed = (prepared.aggregator)();
    resumed.restore(&aggregator.save().unwrap()).unwrap();
    let value = resumed.finish().unwrap().into_any().downcast::<BTreeMap<Text, u64>>().unwrap();
    assert_eq!(value.into_iter().collect::<Vec<_>>(), [("a".into(), 3), ("b".into(), 1), ("c".into(), 1)]);

    let greatest = TypedProgram::new("greatest", |n: Flow<u64>| n.map(|n| n % 7)).unwrap().aggregate(TopN::new(2));
    assert_eq!(greatest.on(0..20_u64).unwrap(), [6, 6]);
    assert_eq!(greatest.aggregate(Collect::new()).on(5..9_u64).unwrap(), [5, 6, 0, 1]);

    let sum = TypedProgram::new("sum", |n: Flow<u64>| n.sum()).unwrap().aggregate(TopN::new(1));
    assert_eq!(sum.on(1..5_u64).unwrap(), [10]);
    assert_eq!(sum.aggregate(Collect::new()).on(1..5_u64).unwrap(), [10]);
}

#[test]
fn outputs_are_shown_as_rows_by_a_report_and_by_an_output_function() {
    let program = TypedProgram::new("words", count_words).unwrap();
    let shown = program
        .clone()
        .report(|counts, out| writeln!(out, "{} words", counts.len()))
        .output(|counts, out| counts.iter().try_for_each(|(word, n)| writeln!(out, "{word}\t{n}")));
    let finish = |program: &TypedProgram<_, _, _>| {
        let prepared = prepare(program);
        let mut aggregator = (prepared.aggregator)();
        let output = prepared.stages[0].run(&[lines(0, "a b a")], &context()).unwrap();
        aggregator.merge(&output.segments[0]).unwrap();
        aggregator.finish().unwrap()
    };
    let text = |write: &dyn Fn(&mut dyn io::Write) -> io::Result<()>| {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let rows = "{\"key\":\"a\",\"value\":2}\n{\"key\":\"b\",\"value\":1}\n";
    let plain = finish(&program);
    assert_eq!(
        (plain.rows(), text(&|out| plain.report(out)), text(&|out| plain.output(out))),
        (2, rows.into(), rows.into())
    );
    let shown = finish(&shown);
    assert_eq!(text(&|out| shown.report(out)), "2 words\n");
    assert_eq!(text(&|out| shown.output(out)), "a\t2\nb\t1\n");
    assert_eq!(text(&|out| shown.write(Format::Tsv, out)), "a\t2\nb\t1\n");
}

#[test]
fn a_segment_that_fails_half_way_voids_the_aggregate() {
    let prepared = prepare(&TypedProgram::new("words", count_words).unwrap());
    let mut aggregator = (prepared.aggregator)();
    let segment = prepared.stages[0].run(&[lines(0, "a b a")], &context()).unwrap().segments.remove(0);
    let cut = Segment { body: segment.body.slice(..segment.body.len() - 1), ..segment.clone() };
    assert!(matches!(aggregator.merge(&cut), Err(MergeError::Segment { .. })));
    assert_eq!(aggregator.merge(&segment), Err(MergeError::Void));
    assert_eq!(aggregator.save().unwrap_err(), MergeError::Void);
    assert_eq!(aggregator.finish().map(|_| ()).unwrap_err(), MergeError::Void);
}

#[test]
fn default_inputs_are_kept_by_name() {
    let range = |end| SourceSpec::Range { start: 0, end };
    let program = TypedProgram::new("p", |n: Flow<u64>| n.count()).unwrap();
    let program = program.default_input(range(1)).default_named_input("more", range(2)).default_input(range(3));
    assert_eq!(program.default_inputs(), [("input".to_owned(), range(3)), ("more".to_owned(), range(2))]);
}

#[test]
fn flows_end_in_named_types() {
    fn lengths(lines: Flow<Text>) -> Flow<usize, impl Chain<Item = usize, Output = Vec<usize>>> {
        lines.map(|line| line.len())
    }
    fn total(lines: Flow<Text>) -> Single<usize> {
        lengths(lines).sum()
    }
    assert_eq!(TypedProgram::new("lengths", lengths).unwrap().on(["ab", ""]).unwrap(), [2, 0]);
    assert_eq!(TypedProgram::new("total", total).unwrap().on(["ab", "c"]).unwrap(), 3);
}

#[test]
fn a_panic_in_the_flow_function_is_an_error() {
    fn broken(_: Flow<u64>) -> Single<u64> {
        panic!("no flow today")
    }
    let error = TypedProgram::new("p", broken).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::Panicked { message: "no flow today".to_owned() });
}

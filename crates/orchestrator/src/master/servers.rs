//! What workers have on their disks: asked before anything is read, and waited for where nobody else has it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::{NodeId, StepId};
use elastic_flow_wire::message::{FailureKind, Found, Look, Message, digest};

use super::core::MasterCore;
use super::effects::{Cause, Effect, Observation, Open};
use super::nodes::Node;
use super::run::{Asking, Opening, Run};
use crate::api::FilesView;
use crate::config::ReadFiles;

/// A worker that has not answered for so many times `reconcile_after` is asked again: the question may be lost, and a disk may be
/// slow.
const ASK_AGAIN_FACTOR: u32 = 4;
/// A worker whose answer does not come for so long, though it lives, counts as missing where it has to be waited for, and otherwise as
/// one that may have the files: a task finds out. Longer than a healthy disk takes to list what it has.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(120);

impl MasterCore {
    /// The source of the step is what its servers have: they are asked before it is opened.
    pub(super) fn on_ask_servers(&mut self, step: StepId, question: Bytes) {
        if let Some(run) = self.run.as_mut().filter(|it| it.step == step && it.opening == Opening::Asked) {
            run.asking = Some(Asking { question, answers: BTreeMap::new() });
            if self.settings.servers.is_empty() {
                let message = "each_worker: this master does not know its servers: name them under [servers] of its configuration, \
                               and submit the step again";
                self.fail(step, Cause::new(StepErrorKind::Input, message));
            }
        }
    }

    /// Asks every worker that can answer and has not been asked: what is its own, or which files of the step it has.
    pub(super) fn ask_workers(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let again_after = self.settings.reconcile_after.saturating_mul(ASK_AGAIN_FACTOR);
        let Some(run) = self.run.as_ref().filter(|it| it.ending.is_none() && !it.finishing) else { return };
        let question = match &run.asking {
            Some(asking) => &asking.question,
            None if run.opening == Opening::Asked => return,
            None => match &run.question {
                Some(question) => question,
                None => return,
            },
        };
        let servers = &self.settings.servers;
        let wanted = |it: &Node| match &run.asking {
            Some(asking) => servers.contains(&it.joined.name) && !asking.answers.contains_key(&it.joined.name),
            None => !it.looked,
        };
        let for_files = run.asking.is_none();
        for (id, node) in &mut self.nodes.by_id {
            if for_files && node.asked_since.is_some_and(|it| now >= it + ANSWER_WITHIN) {
                node.looked = true;
            }
            let due = node.asked_at.is_none_or(|it| now >= it + again_after);
            if node.announced && node.takes_work() && due && wanted(node) {
                node.asked_at = Some(now);
                node.asked_since.get_or_insert(now);
                let look = Look { step: run.step, question: question.clone() };
                out.push(Effect::Send(*id, Message::Look(look)));
            }
        }
    }

    /// A worker has looked.
    pub(super) fn on_found(&mut self, node: NodeId, found: Found, out: &mut Vec<Effect>) {
        let Some(entry) = self.nodes.by_id.get_mut(&node) else { return };
        let Some(run) = self.run.as_mut().filter(|it| it.step == found.step) else { return };
        let name = entry.joined.name.clone();
        let question = run.asking.as_ref().map(|it| &it.question).or(run.question.as_ref());
        if question.is_none_or(|it| digest(it) != found.question) {
            return; // the answer to an earlier question, late or twice
        }
        let Some(asking) = run.asking.as_mut() else {
            entry.looked = true;
            entry.lacks.extend(&found.absent);
            let Found { step, here, absent, message, .. } = found;
            let absent = u32::try_from(absent.len()).unwrap_or(u32::MAX);
            let files = FilesView { worker: name, here, absent, message };
            run.files.retain(|it| it.worker != files.worker);
            run.files.push(files.clone());
            out.push(Effect::Observe(Observation::Files(step, files)));
            return;
        };
        if !self.settings.servers.contains(&name) || asking.answers.contains_key(&name) {
            return;
        }
        if found.listed.is_empty() {
            let (step, message) = (run.step, found.message);
            let message = format!(
                "{name} cannot say what it has of the input: {message}; mend it there, and submit the step again"
            );
            self.fail(step, Cause::new(StepErrorKind::Input, message));
            return;
        }
        asking.answers.insert(name, Some(found.listed));
        entry.forget_question();
    }

    /// Opens the step once every server has answered, or is done without.
    pub(super) fn open_when_answered(&mut self, out: &mut Vec<Effect>) {
        let servers = &self.settings.servers;
        let Some(run) = self.run.as_mut() else { return };
        let Some(asking) = run.asking.as_mut() else { return };
        if run.ending.is_some() {
            // Nothing of its source is known, so that nothing of it is left.
            run.asking = None;
            run.opening = Opening::Open;
            run.exhausted = true;
            return;
        }
        if !servers.iter().all(|it| asking.answers.contains_key(it)) {
            return;
        }
        let answers = std::mem::take(&mut asking.answers).into_iter().collect();
        run.asking = None;
        let (step, spec) = (run.step, run.spec.clone());
        let source = self.sources.get(&step).cloned().unwrap_or_default();
        let open = Open { step, spec, source, cut_before: Vec::new(), exhausted: false, answers };
        out.push(Effect::Open(Box::new(open)));
    }

    /// A server that alone has what is to be read is waited for; when the grace is over the step fails by its name, or goes on
    /// without it.
    pub(super) fn watch_servers(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let grace = self.settings.grace;
        let Some(run) = self.run.as_mut().filter(|it| it.ending.is_none() && !it.finishing) else { return };
        let wanted = wanted(run, &self.settings.servers);
        let asking = run.asking.is_some();
        let mute = |it: &Node| asking && it.asked_since.is_some_and(|since| now >= since + ANSWER_WITHIN);
        let there =
            |name: &str| self.nodes.by_id.values().any(|it| it.joined.name == name && it.takes_work() && !mute(it));
        run.missing_since.retain(|name, _| wanted.contains(name));
        let mut overdue = Vec::new();
        for name in wanted {
            if there(&name) {
                run.missing_since.remove(&name);
            } else if now >= *run.missing_since.entry(name.clone()).or_insert(now) + grace {
                overdue.push(name);
            }
        }
        if overdue.is_empty() {
            return;
        }
        if run.spec.allow_missing_servers {
            overdue.iter().for_each(|it| self.do_without(it, out));
            return;
        }
        let (step, names) = (run.step, overdue.join(", "));
        let connected = |name: &String| self.nodes.by_id.values().any(|it| it.joined.name == *name);
        let why = if overdue.iter().any(connected) {
            "missing, or does not answer or takes no work (see `workers`),"
        } else {
            "missing"
        };
        let seconds = grace.as_secs_f64();
        let again = if asking { "submit the step again" } else { "replay the step" };
        let message = format!(
            "{names} {} {why} for {seconds} s (retry.grace), and nobody else has what is on its disk: start it and {again}, or submit \
             it with --allow-missing-servers to go on without",
            if overdue.len() == 1 { "is" } else { "are" }
        );
        self.fail(step, Cause::new(StepErrorKind::NoWorkers, message));
    }

    /// What a missing server would have read is a gap of the step.
    fn do_without(&mut self, server: &str, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        if let Some(asking) = run.asking.as_mut() {
            asking.answers.insert(server.to_owned(), None);
            return;
        }
        let Some(on) = run.on_servers.get(server) else { return };
        let receipts: Vec<_> = on.pending.iter().filter_map(|it| run.chunk(*it)).map(|it| it.receipt).collect();
        for receipt in receipts {
            let message = format!("{server}, which alone has it, is missing; when it is back, replay the step");
            self.set_aside(receipt, FailureKind::Missing, None, message, None, out);
        }
    }

    /// With `source.read = "in-place"`, a file that no worker has is waited for as a worker is.
    pub(super) fn watch_readers(&mut self, now: Mono) {
        if self.settings.read != ReadFiles::InPlace {
            return;
        }
        let grace = self.settings.grace;
        let Some(run) = self.run.as_mut().filter(|it| it.ending.is_none() && !it.finishing) else { return };
        let first = run.pending.first().and_then(|it| run.chunk(*it)).filter(|it| it.reads_files());
        let stuck = first.filter(|first| {
            let mut readers = self.nodes.by_id.values().filter(|it| it.takes_work()).peekable();
            readers.peek().is_some()
                && readers.all(|it| (it.looked || run.question.is_none()) && !it.has(&first.cut.covers))
        });
        let Some(stuck) = stuck else {
            run.unread_since = None;
            return;
        };
        let part = stuck.cut.covers.iter().find_map(|it| run.parts.get(it.part as usize));
        let name = part.map_or_else(String::new, |it| it.name.clone());
        let since = *run.unread_since.get_or_insert(now);
        if now >= since + grace {
            let step = run.step;
            let message = format!(
                "no worker has had {name} as it was at submission for {} s (retry.grace), and source.read is \"in-place\": copy it \
                 there and replay the step, or set source.read = \"auto\" to have the master ship it",
                grace.as_secs_f64()
            );
            self.fail(step, Cause::new(StepErrorKind::Input, message));
        }
    }
}

/// The servers without which the step cannot go on.
fn wanted(run: &Run, servers: &[String]) -> Vec<String> {
    match &run.asking {
        Some(asking) => servers.iter().filter(|it| !asking.answers.contains_key(*it)).cloned().collect(),
        // What a missing one has in hand by the master's book is pending again as soon as its link is given up.
        None => run.on_servers.iter().filter(|(_, it)| !it.pending.is_empty()).map(|(name, _)| name.clone()).collect(),
    }
}

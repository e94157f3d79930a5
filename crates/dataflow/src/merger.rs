//! [`Merger`]: a program's results merged into one typed value; and its untyped face for the master.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use elastic_flow_wire::message::Segment;

use crate::built::View;
use crate::error::MergeError;
use crate::format::Format;
use crate::run::panic_message;
use crate::seam::{Aggregator, StepOutput};

/// Merges segments into an `O`. The contract is that of [`Aggregator`].
pub(crate) trait Merger<O>: Send {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError>;
    fn save(&self) -> Result<Bytes, MergeError>;
    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError>;
    fn finish(self: Box<Self>) -> Result<O, MergeError>;
}

/// Writes something of a finished output.
pub(crate) type WriteOutput<O> = Arc<dyn Fn(&O, &mut dyn io::Write) -> io::Result<()> + Send + Sync>;

/// How a program's output is shown.
pub(crate) struct Faces<O> {
    pub(crate) view: View<O>,
    /// What `run` prints; the rows where there is none.
    pub(crate) report: Option<WriteOutput<O>>,
    /// What `--output` writes where no format is asked for; the rows where there is none.
    pub(crate) output: Option<WriteOutput<O>>,
}

impl<O> Clone for Faces<O> {
    fn clone(&self) -> Self {
        Self { view: self.view, report: self.report.clone(), output: self.output.clone() }
    }
}

impl<O> fmt::Debug for Faces<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faces").field("report", &self.report.is_some()).finish_non_exhaustive()
    }
}

/// A [`Merger`] as the master sees it. After a failure half-way it refuses everything, so that no half of a result counts.
pub(crate) struct Untyped<O> {
    merger: Box<dyn Merger<O>>,
    faces: Faces<O>,
    merged: bool,
    void: bool,
}

impl<O: Send + 'static> Untyped<O> {
    pub(crate) fn new(merger: Box<dyn Merger<O>>, faces: Faces<O>) -> Self {
        Self { merger, faces, merged: false, void: false }
    }

    /// Ends the aggregation with its typed value.
    pub(crate) fn into_value(self) -> Result<O, MergeError> {
        if self.void {
            return Err(MergeError::Void);
        }
        let merger = self.merger;
        catch_unwind(AssertUnwindSafe(|| merger.finish())).unwrap_or_else(|payload| Err(panicked(&*payload)))
    }

    /// Runs code that may be the user's; an error or panic voids the aggregate.
    fn guarded<R>(&mut self, code: impl FnOnce(&mut dyn Merger<O>) -> Result<R, MergeError>) -> Result<R, MergeError> {
        if self.void {
            return Err(MergeError::Void);
        }
        let merger = self.merger.as_mut();
        let result = catch_unwind(AssertUnwindSafe(|| code(merger))).unwrap_or_else(|payload| Err(panicked(&*payload)));
        self.void = result.is_err();
        result
    }
}

fn panicked(payload: &(dyn Any + Send)) -> MergeError {
    MergeError::Panicked { message: panic_message(payload) }
}

impl<O: Send + 'static> Aggregator for Untyped<O> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        self.merged = true;
        self.guarded(|merger| merger.merge(segment))
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        if self.void { Err(MergeError::Void) } else { self.merger.save() }
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        if self.merged {
            return Err(MergeError::RestoreTooLate);
        }
        self.merged = true;
        self.guarded(|merger| merger.restore(saved))
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StepOutput>, MergeError> {
        let faces = self.faces.clone();
        let value = Mutex::new(self.into_value()?);
        Ok(Box::new(TypedOutput { value, faces }))
    }
}

/// A finished output with its faces. The lock makes it shareable whatever the type; it is never contended.
#[derive(Debug)]
struct TypedOutput<O> {
    value: Mutex<O>,
    faces: Faces<O>,
}

impl<O> TypedOutput<O> {
    fn value(&self) -> MutexGuard<'_, O> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs user code that writes; its panic becomes an I/O error.
fn writing(code: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|payload| {
        Err(io::Error::other(format!("the program's report panicked: {}", panic_message(&*payload))))
    })
}

impl<O: Send + 'static> StepOutput for TypedOutput<O> {
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        Box::new(self.value.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn rows(&self) -> u64 {
        (self.faces.view.rows)(&self.value())
    }

    fn write(&self, format: Format, out: &mut dyn io::Write) -> io::Result<()> {
        let value = self.value();
        writing(|| (self.faces.view.write)(&value, format, out))
    }

    fn encode(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let value = self.value();
        writing(|| (self.faces.view.encode)(&value, out))
    }

    fn report(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let value = self.value();
        match &self.faces.report {
            Some(report) => writing(|| report(&value, out)),
            None => writing(|| (self.faces.view.write)(&value, Format::default(), out)),
        }
    }

    fn output(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let value = self.value();
        match &self.faces.output {
            Some(output) => writing(|| output(&value, out)),
            None => writing(|| (self.faces.view.write)(&value, Format::default(), out)),
        }
    }
}

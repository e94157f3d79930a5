//! What can be wrong with a source.

use std::io;
use std::path::PathBuf;

use elastic_flow_wire::message::FailureKind;

/// Why a source cannot be named, cut, read or shipped.
///
/// Every variant names the file or iterator and says what to do about it; sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A command-line text does not name a source.
    #[error(
        "{text:?} is not a source: {reason}; give a path, a glob, `-`, `range:START..END`, \
         `registered:NAME` or `each_worker:GLOB`"
    )]
    Spec {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A glob does not parse.
    #[error(
        "{pattern:?} is not a glob: {reason} at position {position}; write `[*]`, `[?]` or `[[]` for the character itself"
    )]
    Pattern {
        /// The glob.
        pattern: String,
        /// The character where it goes wrong, from 0.
        position: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A glob has no file.
    #[error(
        "no regular file matches {pattern:?}; check the path, and quote the glob if the shell was meant to leave it alone"
    )]
    NothingMatches {
        /// The glob.
        pattern: String,
    },
    /// A folder was given where a file is needed.
    #[error("{path} is a directory; name its files with {path}/* or, with all folders below, {path}/**/*")]
    Directory {
        /// The folder.
        path: String,
    },
    /// A pipe, socket or device was given where a file is needed.
    #[error(
        "{path} is not a regular file, so it cannot be split or read again; give `-` and pipe it into standard input"
    )]
    NotRegular {
        /// The special file.
        path: String,
    },
    /// A path that other servers are to expand starts from a folder that they do not know.
    #[error(
        "{path:?} does not start with `/`, and other servers do not know the folder that it starts from; write it in full"
    )]
    NotAbsolute {
        /// The path or glob.
        path: String,
    },
    /// A path cannot travel in a step.
    #[error("the path {path:?} is not UTF-8 and cannot travel to workers; rename the file, or read it through `-`")]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A path cannot be looked at or opened.
    #[error("cannot open {path}: check that it exists and that this user may read it")]
    Open {
        /// The path.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A path leads out of the folders that this node may read.
    #[error(
        "{path} is outside of this node's data_roots; add its folder to source.data_roots, or leave it to the master to ship"
    )]
    OutsideRoots {
        /// The path.
        path: String,
    },
    /// A file of the step is not there.
    #[error(
        "{path} had {submitted_bytes} bytes at submission and is gone now (0 bytes); put it back and replay the step"
    )]
    Gone {
        /// The file.
        path: String,
        /// Its size at submission.
        submitted_bytes: u64,
    },
    /// A file of the step has lost bytes.
    #[error(
        "{path} had {submitted_bytes} bytes at submission and has {found_bytes} now; put the whole file back and replay the step"
    )]
    Shrunk {
        /// The file.
        path: String,
        /// Its size at submission.
        submitted_bytes: u64,
        /// Its size now.
        found_bytes: u64,
    },
    /// Another file is there under the name of one of the step's.
    #[error(
        "{path} has other content than at submission ({submitted_bytes} bytes then, {found_bytes} now); put the former \
         file back and replay the step, or submit the new one"
    )]
    Changed {
        /// The file.
        path: String,
        /// Its size at submission.
        submitted_bytes: u64,
        /// Its size now.
        found_bytes: u64,
    },
    /// A file was written to while it was read.
    #[error(
        "{path} was changed while it was read ({submitted_bytes} bytes at submission, {found_bytes} now); put the former \
         file back, leave it alone and replay the step"
    )]
    ChangedWhileRead {
        /// The file.
        path: String,
        /// Its size at submission.
        submitted_bytes: u64,
        /// Its size now.
        found_bytes: u64,
    },
    /// The system fails while a source is read.
    #[error("cannot read {name}: check the disk or the mount, then replay the step")]
    Read {
        /// The file, or what it is.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A compressed file does not decode.
    #[error("{path} is not valid {format}; test it with the {format} tool, and rename it if it is plain text")]
    Corrupt {
        /// The file.
        path: String,
        /// The format that its ending announces.
        format: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
    /// A line is longer than memory should hold.
    #[error("{name} has a line of more than {limit_bytes} bytes; split it at newlines first")]
    LineTooLong {
        /// The file, or what it is.
        name: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A chunk is too large to travel.
    #[error(
        "the chunk of {name} has more than {limit_bytes} bytes and cannot be shipped; copy the file to the workers"
    )]
    TooLargeToShip {
        /// The file.
        name: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A payload is not what its kind says.
    #[error("the chunk's payload does not decode: {reason}; master and workers must run the same build")]
    Payload {
        /// What is wrong with it.
        reason: String,
    },
    /// A source that gives its data once is wanted again.
    #[error("{name} gives its data only once, and a part of it was read before; submit the step again")]
    NotRepeatable {
        /// The source.
        name: String,
    },
    /// An iterator made anew gives other items.
    #[error(
        "{name} gives other items than the first time, from item {item} on; a registered source must repeat itself"
    )]
    NotDeterministic {
        /// The source.
        name: String,
        /// The first item of the chunk that differs, from 0.
        item: u64,
    },
    /// An item of an iterator cannot be encoded.
    #[error("item {item} of the iterator does not encode: {reason}; see how its type implements Serialize")]
    Item {
        /// Its position, from 0.
        item: u64,
        /// What the encoder says.
        reason: String,
    },
    /// Nothing is registered under a source's name.
    #[error("no source is registered as {name:?}; register it in the program before it starts")]
    NotRegistered {
        /// The name.
        name: String,
    },
    /// A window is over items of another type than the source gives.
    #[error(
        "the window {window:?} is over items of {over}, and {name} gives {gives}; set distribute.window to a window over \
         these, or leave it out, and submit the step again"
    )]
    WindowType {
        /// The window.
        window: String,
        /// The type that it is over.
        over: &'static str,
        /// The file, or what it is.
        name: String,
        /// The type that the source gives.
        gives: &'static str,
    },
    /// A window goes on for longer than a chunk may.
    #[error(
        "the window {window:?} ends nowhere in {limit_bytes} bytes of {name} from {unit} {at} on, and a chunk of it cannot be \
         larger; let it end sooner, or read the data from a file, where a window may have any length"
    )]
    WindowTooLong {
        /// The window.
        window: String,
        /// What the source is.
        name: String,
        /// What `at` counts: items, numbers or bytes.
        unit: &'static str,
        /// Where the chunk starts, or in a range was to end, from 0.
        at: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A window would have to read a file that is on another server.
    #[error(
        "the window {window:?} cannot be looked for in {name}, which its server alone can read; leave distribute.window out, and \
         submit the step again"
    )]
    WindowElsewhere {
        /// The window.
        window: String,
        /// The file, with its server.
        name: String,
    },
    /// What is on the disks of the servers is not known yet.
    #[error("nobody has asked the servers yet what {name} is: a bug")]
    NotExpanded {
        /// What is to be expanded.
        name: String,
    },
    /// Chunks of an earlier life do not fit the source.
    #[error("the chunks on record do not fit the source {name}; submit the step again")]
    BordersDoNotFit {
        /// The file, or what it is.
        name: String,
    },
    /// A step has more inputs or files than its ids can number.
    #[error("a step takes at most {limit} {what}; split it into several steps")]
    TooMany {
        /// Inputs or files.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl SourceError {
    /// The kind under which an attempt that met this error is counted.
    #[must_use]
    pub const fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Corrupt { .. } | Self::Payload { .. } => FailureKind::Decode,
            Self::Item { .. } => FailureKind::User,
            Self::ChangedWhileRead { .. } => FailureKind::SourceChanged,
            Self::LineTooLong { .. } | Self::TooLargeToShip { .. } | Self::WindowTooLong { .. } => {
                FailureKind::Resource
            }
            Self::Spec { .. }
            | Self::Pattern { .. }
            | Self::NothingMatches { .. }
            | Self::Directory { .. }
            | Self::NotRegular { .. }
            | Self::NotAbsolute { .. }
            | Self::PathNotUtf8 { .. }
            | Self::Open { .. }
            | Self::OutsideRoots { .. }
            | Self::Gone { .. }
            | Self::Shrunk { .. }
            | Self::Changed { .. }
            | Self::Read { .. }
            | Self::NotRepeatable { .. }
            | Self::NotDeterministic { .. }
            | Self::NotRegistered { .. }
            | Self::WindowType { .. }
            | Self::WindowElsewhere { .. }
            | Self::NotExpanded { .. }
            | Self::BordersDoNotFit { .. }
            | Self::TooMany { .. } => FailureKind::Source,
        }
    }
}

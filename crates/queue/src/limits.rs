//! The limits of the queue: named, with unit and reason.

/// Steps that may wait at a time. More is a submitter in a loop, and listing them would no longer be of use to anybody.
pub const PENDING_STEPS_MAX: usize = 10_000;

/// Bytes that the specs of all waiting steps may take together: they stay in the master's memory until they have run.
pub const PENDING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Ended steps that are kept for `steps`, `replay` and idempotency; the oldest leave first.
pub const ENDED_STEPS_MAX: usize = 10_000;

/// Bytes that the specs of all ended steps may take together; the oldest leave first.
pub const ENDED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of the name of a program or parameter: it becomes part of file names, URLs and metric-free log lines.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of a label.
pub const LABEL_BYTES_MAX: usize = 256;

/// Parameters of a step.
pub const PARAMS_MAX: usize = 256;

/// Bytes of a parameter's value: parameters are settings, data belongs in an input.
pub const PARAM_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a step's inputs, serialised, with their descriptions: as much as one frame carries.
pub const INPUTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Drains that a step shows, the first ones: workers that come and go all day say nothing new of it.
pub const DRAINS_SHOWN_MAX: usize = 100;

/// Bytes of a reason; a longer one is cut at a character's border, since a step must be able to fail whatever its program says.
pub const REASON_BYTES_MAX: usize = 16 * 1024;

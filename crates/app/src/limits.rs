//! What the system lets a node have: open files, threads, memory, processors. Looked at before a node starts, so that one that its
//! limits cannot carry is refused by name, and does not fail in the middle of a step.

use std::fs;
use std::path::{Path, PathBuf};

use elastic_flow_transport::{MAX_CONNECTIONS, STRANGERS_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit_code::Failure;

/// Open files of a node that does nothing yet: standard streams, runtimes, store, the input that is being cut or read.
const FILES_BASE: u64 = 48;
/// Connections of a link.
const FILES_PER_LINK: u64 = 2;
/// Open files of a compute thread: the input that it reads, and one that the user's code may have.
const FILES_PER_SLOT: u64 = 2;
/// Files that RocksDB keeps open.
const FILES_ROCKSDB: u64 = 256;
/// Connections to the HTTP face.
const FILES_ADMIN: u64 = 128;
/// Threads beside the compute threads: runtimes, journal, source, aggregate, interceptors, heartbeat.
const THREADS_BASE: u64 = 16;
/// Memory of a node that does nothing yet.
const MEMORY_BASE: u64 = 24 << 20;
/// Memory of a compute thread that reads: its stack, and the block that it reads into.
const MEMORY_PER_SLOT: u64 = 3 << 20;
/// What a master may hold of results that wait to be merged (64 MiB), of chunks that it ships (32 MiB) and of records that it writes
/// (32 MiB).
const MEMORY_MASTER: u64 = 128 << 20;
/// What may wait for a compute thread: three chunks of 2 MiB that were shipped.
const MEMORY_AHEAD_PER_SLOT: u64 = 6 << 20;
/// What a peer may send ahead.
const MEMORY_LINK: u64 = 8 << 20;
/// Compute threads for each processor beyond which there is probably a mistake.
const SLOTS_PER_CPU: u64 = 4;
/// Limits of memory beyond this are none: the system says "no limit" so in its first version of control groups.
const MEMORY_NO_LIMIT: u64 = 1 << 60;

/// What the system lets this process have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open files now; none for no limit.
    files: Option<u64>,
    /// Open files that this process may allow itself.
    files_hard: Option<u64>,
    /// Bytes of memory, of its control group and those above.
    memory: Option<u64>,
    /// Processes and threads, of its control group and those above.
    threads: Option<u64>,
    /// Processors, by affinity and quota.
    cpus: u64,
}

/// What a node takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Who it is, for messages.
    who: String,
    /// Without these it cannot do what it is configured to.
    files_least: u64,
    /// With these it can do all that it may be asked to.
    files_enough: u64,
    memory_least: u64,
    memory_enough: u64,
    threads: u64,
    /// Compute threads; 0 for a master.
    slots: u64,
}

impl Needs {
    /// A master that `workers` workers are expected to join.
    pub(crate) fn of_master(workers: u64, store_url: &str) -> Self {
        let base = FILES_BASE + if store_url.starts_with("rocksdb:") { FILES_ROCKSDB } else { 0 };
        Self {
            who: match workers {
                0 => "a master".to_owned(),
                1 => "a master of 1 worker".to_owned(),
                _ => format!("a master of {workers} workers"),
            },
            files_least: base + FILES_PER_LINK * workers.max(1),
            files_enough: base + FILES_PER_LINK * MAX_CONNECTIONS as u64 + STRANGERS_MAX as u64 + FILES_ADMIN,
            memory_least: MEMORY_BASE,
            memory_enough: MEMORY_BASE + MEMORY_MASTER,
            threads: THREADS_BASE,
            slots: 0,
        }
    }

    /// A worker of `slots` compute threads, which may exchange data with `others`: a link each way.
    pub(crate) fn of_worker(slots: u32, others: u64) -> Self {
        let slots = u64::from(slots);
        let least = FILES_BASE + FILES_PER_LINK * (1 + 2 * others) + FILES_PER_SLOT * slots;
        Self {
            who: match others {
                0 => format!("a worker of {slots} slots"),
                1 => format!("a worker of {slots} slots beside another one"),
                _ => format!("a worker of {slots} slots beside {others} others"),
            },
            files_least: least,
            files_enough: least + FILES_ADMIN,
            memory_least: MEMORY_BASE + MEMORY_PER_SLOT * slots,
            memory_enough: MEMORY_BASE + MEMORY_LINK + (MEMORY_PER_SLOT + MEMORY_AHEAD_PER_SLOT) * slots,
            threads: THREADS_BASE + slots,
            slots,
        }
    }
}

/// What is to be said of limits and needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// What cannot be carried.
    refused: Vec<String>,
    /// What can, and is odd.
    odd: Vec<String>,
}

/// Whether `have` carries `needs`.
fn judge(have: &Limits, needs: &Needs) -> Verdict {
    let mut verdict = Verdict::default();
    let who = &needs.who;
    if let Some(files) = have.files {
        if files < needs.files_least {
            verdict.refused.push(format!(
                "open files: this process may have {files} open, but {who} takes {}: raise the limit (ulimit -n, or LimitNOFILE of its \
                 service)",
                needs.files_least
            ));
        } else if files < needs.files_enough && needs.slots == 0 {
            let workers = (files.saturating_sub(needs.files_least) / FILES_PER_LINK).saturating_add(1);
            verdict.odd.push(format!(
                "open files: this process may have {files} open, so about {workers} workers can join where {MAX_CONNECTIONS} could: \
                 raise the limit (ulimit -n) if there will be more"
            ));
        }
    }
    if let Some(threads) = have.threads.filter(|threads| *threads < needs.threads) {
        verdict.refused.push(format!(
            "threads: the control group may have {threads}, but {who} takes {}: raise pids.max, or use fewer slots",
            needs.threads
        ));
    }
    if let Some(memory) = have.memory {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let (least, enough) = (mib(needs.memory_least), mib(needs.memory_enough));
        if memory < needs.memory_least {
            verdict.refused.push(format!(
                "memory: the control group may have {}, but {who} takes at least {least}: raise its limit, or use fewer slots",
                mib(memory)
            ));
        } else if memory < needs.memory_enough {
            verdict.odd.push(format!(
                "memory: the control group may have {}, but {who} may come to hold {enough} beside what its flows build",
                mib(memory)
            ));
        }
    }
    if needs.slots > have.cpus.saturating_mul(SLOTS_PER_CPU) {
        verdict.odd.push(format!("processors: {who} has {}, so compute threads wait for each other", have.cpus));
    }
    verdict
}

/// Looks at the limits before a node starts: raises that of open files if need be, logs all of them in a line, and refuses what
/// they cannot carry.
///
/// # Errors
/// Everything that cannot be carried, by name.
pub(crate) fn prepare(needs: &Needs) -> Result<(), Failure> {
    let before = Limits::read(Path::new("/"));
    let limits = match before.files {
        Some(files) if files < needs.files_enough => before.with_more_files(needs),
        Some(_) | None => before,
    };
    let shown = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let memory = limits.memory.map_or_else(|| "no limit".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
    tracing::info!(
        open_files = %shown(limits.files), open_files_before = %shown(before.files), open_files_hard = %shown(limits.files_hard),
        threads = %shown(limits.threads), %memory, cpus = limits.cpus, "limits of this process"
    );
    let verdict = judge(&limits, needs);
    for odd in &verdict.odd {
        tracing::warn!("{odd}");
    }
    if verdict.refused.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("the limits of this process cannot carry it: {}", verdict.refused.join("; "))))
}

impl Limits {
    /// Those of this process; `root` is where `/proc` and `/sys` are.
    fn read(root: &Path) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let group = ControlGroup::of_this_process(root);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            files: current,
            files_hard: maximum,
            memory: group.memory.filter(|bytes| *bytes < MEMORY_NO_LIMIT),
            threads: group.threads,
            cpus: cpus as u64,
        }
    }

    /// After this process has allowed itself as many open files as it may.
    fn with_more_files(self, needs: &Needs) -> Self {
        // Some systems take no limit that is above one of the kernel's own: then what is needed has to do.
        for wanted in [self.files_hard, Some(needs.files_enough)] {
            let wanted = match (wanted, self.files_hard) {
                (Some(wanted), Some(hard)) => Some(wanted.min(hard)),
                (wanted, _) => wanted,
            };
            if setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: self.files_hard }).is_ok() {
                return Self { files: wanted, ..self };
            }
        }
        self
    }
}

/// Limits of the control group that this process is in, and of those above it: the smallest counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct ControlGroup {
    memory: Option<u64>,
    threads: Option<u64>,
}

impl ControlGroup {
    /// None where the system has no control groups, or does not show them.
    fn of_this_process(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let groups = root.join("sys/fs/cgroup");
        let mut found = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let has = |name: &str| controllers.split(',').any(|it| it == name);
            if controllers.is_empty() {
                found.memory = smallest(found.memory, limit_along(&groups, path, "memory.max"));
                found.threads = smallest(found.threads, limit_along(&groups, path, "pids.max"));
            }
            if has("memory") {
                let limit = limit_along(&groups.join("memory"), path, "memory.limit_in_bytes");
                found.memory = smallest(found.memory, limit);
            }
            if has("pids") {
                found.threads = smallest(found.threads, limit_along(&groups.join("pids"), path, "pids.max"));
            }
        }
        found
    }
}

/// The smallest limit in a group's file and in those of the groups above. Within a container the path may be one that only the
/// machine outside knows: what is there of it counts.
fn limit_along(base: &Path, path: &str, file: &str) -> Option<u64> {
    let mut found = None;
    let mut group = PathBuf::from(path.trim_start_matches('/'));
    loop {
        let text = fs::read_to_string(base.join(&group).join(file)).unwrap_or_default();
        found = smallest(found, text.trim().parse().ok());
        if !group.pop() {
            return found;
        }
    }
}

fn smallest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Limits =
        Limits { files: Some(20_000), files_hard: Some(20_000), memory: None, threads: None, cpus: 4 };

    fn refused(have: Limits, needs: &Needs) -> String {
        judge(&have, needs).refused.join("\n")
    }

    #[test]
    fn what_can_be_carried_is_neither_refused_nor_odd() {
        for needs in [Needs::of_master(3, "fs:/x"), Needs::of_worker(4, 0)] {
            assert_eq!(judge(&ROOMY, &needs), Verdict::default());
            let unlimited = Limits { files: None, files_hard: None, ..ROOMY };
            assert_eq!(judge(&unlimited, &needs), Verdict::default());
        }
    }

    #[test]
    fn open_files_below_what_links_and_slots_take_are_refused_by_name() {
        let few = Limits { files: Some(100), files_hard: Some(100), ..ROOMY };
        let message = refused(few, &Needs::of_master(40, "memory"));
        assert!(
            message.contains("open files: this process may have 100 open") && message.contains("40 workers takes 128"),
            "{message}"
        );
        let message = refused(few, &Needs::of_worker(64, 0));
        assert!(message.contains("a worker of 64 slots takes 178"), "{message}");
        let message = refused(few, &Needs::of_worker(1, 20));
        assert!(message.contains("a worker of 1 slots beside 20 others takes 132"), "{message}");
        assert!(refused(few, &Needs::of_master(1, "rocksdb:/x")).contains("takes 306"));
        assert_eq!(refused(few, &Needs::of_master(20, "memory")), "");
    }

    #[test]
    fn fewer_open_files_than_workers_may_come_are_odd() {
        let have = Limits { files: Some(1_024), files_hard: Some(1_024), ..ROOMY };
        let odd = judge(&have, &Needs::of_master(2, "memory")).odd.join("\n");
        assert!(odd.contains("about 487 workers can join where 1024 could"), "{odd}");
    }

    #[test]
    fn memory_and_threads_of_the_control_group_count() {
        let tight = Limits { memory: Some(40 << 20), threads: Some(20), ..ROOMY };
        let message = refused(tight, &Needs::of_worker(8, 0));
        assert!(
            message.contains("memory: the control group may have 40 MiB") && message.contains("at least 48 MiB"),
            "{message}"
        );
        assert!(
            message.contains("threads: the control group may have 20") && message.contains("takes 24"),
            "{message}"
        );
        let verdict = judge(&tight, &Needs::of_worker(2, 0));
        assert_eq!(verdict.refused, Vec::<String>::new());
        assert!(verdict.odd.join("\n").contains("may come to hold 50 MiB"), "{verdict:?}");
    }

    #[test]
    fn many_more_slots_than_processors_are_odd_and_no_more() {
        let verdict = judge(&ROOMY, &Needs::of_worker(17, 0));
        assert_eq!((verdict.refused.len(), verdict.odd.len()), (0, 1));
        assert!(judge(&ROOMY, &Needs::of_worker(16, 0)).odd.is_empty());
    }

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_those_above_counts() {
        let root = root(&[
            ("proc/self/cgroup", "0::/a.slice/b.service\n"),
            ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
            ("sys/fs/cgroup/a.slice/memory.max", "536870912\n"),
            ("sys/fs/cgroup/a.slice/b.service/pids.max", "100\n"),
            ("sys/fs/cgroup/a.slice/pids.max", "200\n"),
        ]);
        let found = ControlGroup::of_this_process(root.path());
        assert_eq!(found, ControlGroup { memory: Some(512 << 20), threads: Some(100) });
    }

    #[test]
    fn groups_of_the_first_version_and_of_a_container_are_read() {
        let root = root(&[
            ("proc/self/cgroup", "8:pids:/docker/x\n4:cpu,memory:/docker/x\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/pids/docker/x/pids.max", "64\n"),
        ]);
        let found = ControlGroup::of_this_process(root.path());
        assert_eq!(found, ControlGroup { memory: Some(1 << 30), threads: Some(64) });
        assert_eq!(ControlGroup::of_this_process(Path::new("/nowhere")), ControlGroup::default());
    }
}

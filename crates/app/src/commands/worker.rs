//! `worker`: a worker until it is stopped.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use elastic_flow_clock::SystemClock;
use elastic_flow_dataflow::source::DataRoots;
use elastic_flow_orchestrator::{Worker, WorkerConfig};
use elastic_flow_transport::{Keyring, Tcp};
use elastic_flow_wire::Secret;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::block_on;
use super::master::start_failure;
use crate::app::App;
use crate::args::{Common, Worker as Args};
use crate::build_id::{FileIdentity, from_line};
use crate::children::{BUILD_LINE, END_LINE, KEY_LINE, MASTER_LINE};
use crate::config::{Config, Server, ServerRole};
use crate::context::{Context, Flags, checked_advertise, checked_name, name_of_process, slots_for, this_build};
use crate::exit_code::{COMPLETED, Failure, UNREACHED};
use crate::keys::{Key, Reload};
use crate::limits::{self, Needs};
use crate::logging::LogTail;
use crate::output;
use crate::signals::{HangUp, StopSignals, end_process};

/// Threads for I/O.
const IO_THREADS: usize = 1;
/// Most bytes of a line from the parent.
const PARENT_LINE_BYTES_MAX: u64 = 1024;

pub(crate) fn worker(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    let entry = server(&context.config, args)?.unwrap_or_default();
    let name = checked_name(args.name.clone().unwrap_or_else(name_of_process))?;
    let listen = args.place.listen.clone().or(entry.listen);
    let advertise = checked_advertise(args.place.advertise.clone().or(entry.advertise))?;
    let slots = args.slots.or(entry.slots).unwrap_or_else(|| slots_for(1));
    if args.key_stdin {
        return child(&context, args, name, slots);
    }
    let tail = context.start_log("info", Some(&name))?;
    let others = context.config.worker_servers().filter(|(other, _)| **other != *name).count();
    limits::prepare(&Needs::of_worker(slots, u64::try_from(others).unwrap_or(u64::MAX)))?;
    let key = context.key()?;
    let master = args.master.clone().unwrap_or_else(|| context.config.master_address());
    #[cfg(feature = "admin")]
    let admin = args.admin.clone().or(entry.admin);
    #[cfg(not(feature = "admin"))]
    let admin: Option<String> = None;
    let master_address = ("--master", master.clone());
    let beyond = context.check_exposure(std::slice::from_ref(&master_address), &key)?;
    let roots = context.data_roots(beyond)?;
    let listens = [("--listen", listen.clone()), ("--admin", admin.clone())];
    let listens = listens.into_iter().filter_map(|(what, address)| Some((what, address?)));
    let addresses: Vec<_> = std::iter::once(master_address).chain(listens).collect();
    context.check_exposure(&addresses, &key)?;
    let node = Node {
        name,
        listen,
        advertise,
        slots,
        tail,
        key,
        roots,
        build: this_build()?,
        #[cfg(feature = "admin")]
        admin,
        #[cfg(feature = "admin")]
        metrics: args.metrics,
    };
    block_on(IO_THREADS, serve(&context, node, master, Life::OfItsOwn(addresses)))
}

/// The worker of a parent, which tells it key and master.
#[cfg_attr(not(feature = "admin"), expect(unused_variables, reason = "its flags are of the HTTP face"))]
fn child(context: &Context<'_>, args: &Args, name: String, slots: u32) -> Result<u8, Failure> {
    // A parent puts the name before each line.
    let node = matches!(context.common.log_format, crate::logging::LogFormat::Json).then_some(name.as_str());
    let tail = context.start_log("warn", node)?;
    let parent = Parent::greet()?;
    let key = Key::fresh(parent.secret.clone());
    let (build, master, done) = parent.listen()?;
    let node = Node {
        name,
        listen: None,
        advertise: None,
        slots,
        tail,
        key,
        // One user's processes on one machine: what the parent may read, this one may.
        roots: DataRoots::unrestricted(),
        build,
        #[cfg(feature = "admin")]
        admin: args.admin.clone(),
        #[cfg(feature = "admin")]
        metrics: args.metrics,
    };
    block_on(IO_THREADS, serve(context, node, master, Life::OfAParent(done)))
}

/// What a worker lives by.
enum Life {
    /// Signals. Its keys can be replaced; these are the addresses that it uses, by what they are called in a refusal.
    OfItsOwn(Vec<(&'static str, String)>),
    /// A parent, which says when it is done.
    OfAParent(CancellationToken),
}

/// Who this worker is.
struct Node {
    name: String,
    listen: Option<String>,
    advertise: Option<String>,
    slots: u32,
    tail: LogTail,
    key: Key,
    roots: DataRoots,
    build: u128,
    /// Where its HTTP face listens.
    #[cfg(feature = "admin")]
    admin: Option<String>,
    /// Whether its parent wants its metrics.
    #[cfg(feature = "admin")]
    metrics: bool,
}

/// The worker's entry in `[servers]`.
fn server(config: &Config, args: &Args) -> Result<Option<Server>, Failure> {
    let Some(name) = args.name.as_ref().filter(|_| !args.key_stdin) else { return Ok(None) };
    match config.servers.get(name) {
        Some(server) if server.role == ServerRole::Master => {
            Err(Failure::usage(format!("servers.{name} is the master: start it with `master --name {name}`")))
        }
        server => Ok(server.cloned()),
    }
}

async fn serve(context: &Context<'_>, node: Node, master: String, life: Life) -> Result<u8, Failure> {
    let no_signals = |error| Failure::failed(format!("cannot take signals: {error}"));
    let mut signals = StopSignals::new().map_err(no_signals)?;
    let ring = Keyring::new(node.key.set(&context.config.cluster));
    let (done, mut reloading) = match life {
        Life::OfAParent(done) => (Some(done), None),
        Life::OfItsOwn(addresses) => {
            let hang_up = HangUp::new().map_err(no_signals)?;
            (None, Some((hang_up, context.reload(addresses, ring.clone()))))
        }
    };
    #[cfg(feature = "admin")]
    let metrics = if done.is_none() || node.metrics {
        elastic_flow_admin::Metrics::install()
    } else {
        elastic_flow_admin::Metrics::none()
    };
    let config = WorkerConfig {
        node: context.node(node.name.clone(), ring, node.key.given, node.build),
        master: master.clone(),
        listen: node.listen,
        advertise: node.advertise,
        slots: node.slots,
        roots: node.roots,
        log_tail: Some(node.tail.reader()),
        #[cfg(feature = "admin")]
        metrics: crate::face::renderer(&metrics),
        #[cfg(not(feature = "admin"))]
        metrics: None,
    };
    let interceptors = context.interceptors()?;
    let programs = Arc::clone(&context.programs);
    let worker = Worker::start(config, programs, interceptors, Tcp, Arc::new(SystemClock::new()));
    let worker = Arc::new(worker.await.map_err(|error| start_failure(&error))?);
    #[cfg(feature = "admin")]
    let admin = match &node.admin {
        Some(listen) => Some(crate::face::worker(context, listen, &node.key, metrics, &worker).await?),
        None => None,
    };
    if done.is_none() {
        #[cfg(feature = "admin")]
        let listening = admin.as_ref().map(|admin| format!("http://{}", admin.local_addr()));
        #[cfg(not(feature = "admin"))]
        let listening = None;
        announce(context, &node.name, &master, listening)?;
    }

    let on_key = |key: &Key| {
        #[cfg(feature = "admin")]
        if let Some(admin) = &admin {
            admin.set_tokens(Some(key.tokens()));
        }
        #[cfg(not(feature = "admin"))]
        let _ = key;
    };
    let refused = attend(&worker, &mut signals, done.as_ref(), &mut reloading, on_key).await;
    let grace = context.config.shutdown_grace;
    signals
        .or_at_once(async move {
            #[cfg(feature = "admin")]
            if let Some(admin) = admin {
                admin.stop().await;
            }
            // Nobody else holds it: the face, which may look at it, has stopped.
            if let Some(worker) = Arc::into_inner(worker) {
                worker.stop(grace).await;
            }
        })
        .await;
    Ok(ending(refused))
}

/// The exit code, by why the master would not have the worker.
fn ending(refused: Option<String>) -> u8 {
    match refused {
        None => COMPLETED,
        Some(reason) => {
            output::complain(&reason);
            UNREACHED
        }
    }
}

/// Lets the worker work until it is to stop, and gives other keys to whom they concern; gives why its master will not have it.
async fn attend(
    worker: &Worker,
    signals: &mut StopSignals,
    done: Option<&CancellationToken>,
    reloading: &mut Option<(HangUp, Reload)>,
    on_key: impl Fn(&Key),
) -> Option<String> {
    loop {
        tokio::select! {
            signal = signals.recv() => {
                tracing::info!(signal, "stopping");
                return None;
            }
            () = parent_done(done) => return None,
            reason = worker.stopped() => return Some(reason),
            reload = asked_to_reload(reloading) => {
                if let Some(key) = reload.run().await {
                    on_key(&key);
                }
            }
        }
    }
}

/// Waits for the parent to say that it is done; for ever where there is none.
async fn parent_done(done: Option<&CancellationToken>) {
    match done {
        Some(done) => done.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Waits until the keys are to be read anew; for ever where they cannot be. Cancel safe.
async fn asked_to_reload(reloading: &mut Option<(HangUp, Reload)>) -> Reload {
    match reloading {
        Some((hang_up, reload)) => {
            hang_up.recv().await;
            reload.clone()
        }
        None => std::future::pending().await,
    }
}

fn announce(context: &Context<'_>, name: &str, master: &str, admin: Option<String>) -> Result<(), Failure> {
    if context.common.json {
        return output::json_line(&serde_json::json!({ "name": name, "master": master, "admin": admin }));
    }
    output::to_stdout(|out| match admin {
        Some(admin) => writeln!(out, "worker {name} of the master at {master}, listening on {admin}"),
        None => writeln!(out, "worker {name} of the master at {master}"),
    })
}

/// The process that started this one, at the other end of standard input.
struct Parent {
    secret: Secret,
}

impl Parent {
    /// Takes the key.
    fn greet() -> Result<Self, Failure> {
        let line = read_line(KEY_LINE)?;
        let secret = Secret::parse(&line).map_err(|error| Failure::usage(format!("standard input: {error}")))?;
        Ok(Self { secret })
    }

    /// Takes the build and the master's address, and from then on watches for the end: an announced one cancels the token; the end of
    /// the parent itself, announced or not, ends this process at once, whatever it does.
    fn listen(self) -> Result<(u128, String, CancellationToken), Failure> {
        let build = read_line(BUILD_LINE)?;
        // The executable may have been replaced between the two starts: then this process is another build.
        let told = FileIdentity::of_this_process().ok().and_then(|file| from_line(&build, file));
        let build = match told {
            Some(build) => build,
            None => this_build()?,
        };
        let master = read_line(MASTER_LINE)?;
        let done = CancellationToken::new();
        let announced = done.clone();
        let watch = move || {
            let mut lines = io::stdin().lock().lines();
            loop {
                match lines.next() {
                    Some(Ok(line)) if line == END_LINE => announced.cancel(),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => end_process(i32::from(UNREACHED)),
                }
            }
        };
        let thread = std::thread::Builder::new().name("elastic-flow-parent".to_owned());
        thread.spawn(watch).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok((build, master.to_string(), done))
    }
}

/// A line from the parent that starts with `kind`. Its absence means that the parent is gone.
fn read_line(kind: &str) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().take(PARENT_LINE_BYTES_MAX).read_line(&mut line);
    match (read, line.strip_prefix(kind)) {
        (Ok(_), Some(rest)) => Ok(Zeroizing::new(rest.trim_end().to_owned())),
        (Ok(0) | Err(_), _) => Err(Failure::unreached("the parent process is gone")),
        (Ok(_), None) if line.trim_end() == END_LINE => {
            Err(Failure::unreached("the parent process needs no worker any more"))
        }
        (Ok(_), None) => Err(Failure::usage(format!("standard input: expected a line that starts with {kind:?}"))),
    }
}

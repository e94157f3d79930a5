//! `master`: a master until it is stopped.

use std::sync::Arc;

use elastic_flow_clock::SystemClock;
use elastic_flow_orchestrator::{ExpectedWorker, Master, StartError, StopMode, StopReason};
use elastic_flow_transport::{Keyring, Tcp};
use elastic_flow_wire::with_causes;

use super::block_on;
use crate::app::App;
use crate::args::{Common, Master as Args};
use crate::config::{Config, Server, ServerRole};
use crate::context::{Context, Flags, checked_advertise, checked_name, this_build};
use crate::exit_code::{COMPLETED, FAILED, Failure};
use crate::keys::Key;
use crate::limits::{self, Needs};
use crate::signals::{HangUp, StopSignals};
use crate::{output, stores};

/// Threads for I/O.
const IO_THREADS: usize = 2;

pub(crate) fn master(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let flags = Flags::default().with("--store", "store.url", args.store.as_ref());
    #[cfg(feature = "admin")]
    let flags = flags.with("--admin", "admin.listen", args.admin.as_ref());
    let mut context = Context::new(app, common, flags)?;
    context.check_names()?;
    let name = checked_name(args.name.clone().unwrap_or_else(|| "master".to_owned()))?;
    let place = settle(&mut context.config, args)?;
    context.start_log("info", Some(&name))?;
    let store_url = match &context.config.store.url {
        Some(url) => url.clone(),
        None => context.default_store()?,
    };
    let expected = u64::try_from(context.config.worker_servers().count()).unwrap_or(u64::MAX);
    let workers = expected.max(context.config.admin.min_workers.into());
    limits::prepare(&Needs::of_master(workers, &store_url))?;
    let key = context.key()?;
    context.check_exposure(&addresses(&context, &place), &key)?;
    let node = Node { name, place, key, store_url };
    block_on(IO_THREADS, serve(&context, node))
}

/// Who this master is.
struct Node {
    name: String,
    place: Settled,
    key: Key,
    store_url: String,
}

/// Where it is found.
struct Settled {
    listen: String,
    advertise: Option<String>,
}

/// The addresses that it uses, by what they are called in a refusal.
fn addresses(context: &Context<'_>, place: &Settled) -> Vec<(&'static str, String)> {
    let mut addresses = vec![("--listen", place.listen.clone())];
    if cfg!(feature = "admin") {
        addresses.push(("--admin", context.config.admin.listen.clone()));
    }
    addresses
}

/// Takes from `[servers]` what no flag says, and gives the address to listen on.
fn settle(config: &mut Config, args: &Args) -> Result<Settled, Failure> {
    let entry = match &args.name {
        Some(name) => config.servers.get(name).cloned(),
        None => None,
    };
    if let (Some(entry), Some(name)) = (&entry, &args.name)
        && entry.role != ServerRole::Master
    {
        return Err(Failure::usage(format!("servers.{name} is a worker: start it with `worker --name {name}`")));
    }
    #[cfg(feature = "admin")]
    if let (Some(admin), None) = (entry.as_ref().and_then(|entry| entry.admin.clone()), &args.admin) {
        config.admin.listen = admin;
    }
    let entry = entry.unwrap_or_default();
    let listen = args.place.listen.clone().or(entry.listen).unwrap_or_else(Config::default_listen);
    let advertise = checked_advertise(args.place.advertise.clone().or(entry.advertise))?;
    Ok(Settled { listen, advertise })
}

async fn serve(context: &Context<'_>, node: Node) -> Result<u8, Failure> {
    let no_signals = |error| Failure::failed(format!("cannot take signals: {error}"));
    let mut signals = StopSignals::new().map_err(no_signals)?;
    let mut hang_up = HangUp::new().map_err(no_signals)?;
    let build = this_build()?;
    #[cfg(feature = "admin")]
    let metrics = elastic_flow_admin::Metrics::install();
    let store = stores::open(context.app, &node.store_url)?;
    let ring = Keyring::new(node.key.set(&context.config.cluster));
    let reload = context.reload(addresses(context, &node.place), ring.clone());
    let config = context.node(node.name, ring, node.key.given, build);
    let mut config = context.master_config(config, node.place.listen, node.place.advertise.clone())?;
    config.min_workers = context.config.admin.min_workers;
    config.expected = expected(&context.config);
    let interceptors = context.interceptors()?;
    let programs = Arc::clone(&context.programs);
    let master = Master::start(config, programs, interceptors, store, Tcp, Arc::new(SystemClock::new()));
    let master = master.await.map_err(|error| start_failure(&error))?;
    #[cfg(feature = "admin")]
    let admin = match crate::face::master(context, &context.config.admin.listen, &master, &node.key, metrics).await {
        Ok(admin) => admin,
        Err(failure) => {
            master.stop(StopMode::Now).await;
            return Err(failure);
        }
    };
    let advertise = node.place.advertise.as_deref();
    #[cfg(feature = "admin")]
    announce(context, master.local_addr(), advertise, Some(&format!("http://{}", admin.local_addr())))?;
    #[cfg(not(feature = "admin"))]
    announce(context, master.local_addr(), advertise, None)?;

    let reason = loop {
        tokio::select! {
            signal = signals.recv() => {
                tracing::info!(signal, "stopping");
                break None;
            }
            reason = master.stopped() => break Some(reason),
            () = hang_up.recv() => {
                #[cfg(not(feature = "admin"))]
                reload.run().await;
                #[cfg(feature = "admin")]
                if let Some(key) = reload.run().await {
                    admin.set_tokens(Some(key.tokens()));
                }
            }
        }
    };
    let grace = context.config.shutdown_grace;
    let stop = async {
        #[cfg(feature = "admin")]
        admin.stop().await;
        master.stop(StopMode::Drain(grace)).await;
    };
    signals.or_at_once(stop).await;
    ending(reason)
}

/// The workers that the configuration names.
fn expected(config: &Config) -> Vec<ExpectedWorker> {
    let worker = |(name, server): (&str, &Server)| ExpectedWorker {
        name: name.to_owned(),
        address: server.advertise.clone(),
        slots: server.slots,
    };
    config.worker_servers().map(worker).collect()
}

fn announce(context: &Context<'_>, listen: &str, advertise: Option<&str>, admin: Option<&str>) -> Result<(), Failure> {
    if context.common.json {
        return output::json_line(&serde_json::json!({ "listen": listen, "advertise": advertise, "admin": admin }));
    }
    let advertised = advertise.map(|address| format!(", advertised as {address}")).unwrap_or_default();
    let admin = admin.map(|address| format!(", admin on {address}")).unwrap_or_default();
    output::to_stdout(|out| writeln!(out, "listening on {listen}{advertised}{admin}"))
}

fn ending(reason: Option<StopReason>) -> Result<u8, Failure> {
    match reason {
        None | Some(StopReason::Asked) => Ok(COMPLETED),
        Some(StopReason::Terminated(step)) => {
            output::note(&format!("stopped because step {step} failed and was submitted with on_failure = terminate"));
            Ok(FAILED)
        }
        Some(StopReason::Broken) => Err(Failure::failed("the master panicked: its last log lines say where")),
        Some(StopReason::StoreFailed(message)) => Err(Failure::failed(format!("the store failed: {message}"))),
        Some(_) => Ok(FAILED),
    }
}

/// What could not be started was asked for wrongly: a refused bind, a store in use.
pub(crate) fn start_failure(error: &StartError) -> Failure {
    Failure::usage(with_causes(error))
}

#[cfg(test)]
mod tests {
    use elastic_flow_store::StoreError;

    use super::*;

    #[test]
    fn what_a_store_refuses_at_the_start_of_a_node_is_said_once() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = StoreError::from_io("fs:/s", "write /s/journal/1", 7, denied);
        let failure = start_failure(&StartError::Store(error));
        assert_eq!(failure.to_string(), "store fs:/s: cannot write /s/journal/1: permission denied");
    }
}

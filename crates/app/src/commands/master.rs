//! `master`: a master until it is stopped.

use std::sync::Arc;

use elastic_flow_clock::SystemClock;
use elastic_flow_orchestrator::{Master, StartError, StopMode, StopReason};
use elastic_flow_transport::Tcp;

use super::block_on;
use crate::app::App;
use crate::args::{Common, Master as Args};
use crate::config::{Config, ServerRole};
use crate::context::{Context, Flags, Key, checked_name, this_build};
use crate::exit_code::{COMPLETED, FAILED, Failure};
use crate::signals::StopSignals;
use crate::{output, stores};

/// Threads for I/O.
const IO_THREADS: usize = 2;

pub(crate) fn master(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let flags = Flags::default().with("--store", "store.url", args.store.as_ref());
    #[cfg(feature = "admin")]
    let flags = flags.with("--admin", "admin.listen", args.admin.as_ref());
    let mut context = Context::new(app, common, flags)?;
    let name = checked_name(args.name.clone().unwrap_or_else(|| "master".to_owned()))?;
    let listen = settle(&mut context.config, args)?;
    context.start_log("info", Some(&name))?;
    let key = context.key()?;
    context.check_exposure("--listen", &listen, &key)?;
    #[cfg(feature = "admin")]
    context.check_exposure("--admin", &context.config.admin.listen, &key)?;
    block_on(IO_THREADS, serve(&context, name, listen, key))
}

/// Takes from `[servers]` what no flag says, and gives the address to listen on.
fn settle(config: &mut Config, args: &Args) -> Result<String, Failure> {
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
    let listen = args.listen.clone().or_else(|| entry.and_then(|entry| entry.listen));
    Ok(listen.unwrap_or_else(Config::default_listen))
}

async fn serve(context: &Context<'_>, name: String, listen: String, key: Key) -> Result<u8, Failure> {
    let mut signals = StopSignals::new().map_err(|error| Failure::failed(format!("cannot take signals: {error}")))?;
    let build = this_build()?;
    #[cfg(feature = "admin")]
    let metrics = elastic_flow_admin::Metrics::install();
    let url = match &context.config.store.url {
        Some(url) => url.clone(),
        None => context.default_store()?,
    };
    let store = stores::open(context.app, &url)?;
    let config = context.master_config(context.node(name, key.clone(), build), listen)?;
    let interceptors = context.interceptors()?;
    let programs = Arc::clone(&context.programs);
    let master = Master::start(config, programs, interceptors, store, Tcp, Arc::new(SystemClock::new()));
    let master = master.await.map_err(|error| start_failure(&error))?;
    #[cfg(feature = "admin")]
    let admin = match crate::face::master(context, &context.config.admin.listen, &master, &key.secret, metrics).await {
        Ok(admin) => admin,
        Err(failure) => {
            master.stop(StopMode::Now).await;
            return Err(failure);
        }
    };
    #[cfg(feature = "admin")]
    announce(context, master.local_addr(), Some(&format!("http://{}", admin.local_addr())))?;
    #[cfg(not(feature = "admin"))]
    announce(context, master.local_addr(), None)?;

    let reason = tokio::select! {
        signal = signals.recv() => {
            tracing::info!(signal, "stopping");
            None
        }
        reason = master.stopped() => Some(reason),
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

fn announce(context: &Context<'_>, listen: &str, admin: Option<&str>) -> Result<(), Failure> {
    if context.common.json {
        return output::json_line(&serde_json::json!({ "listen": listen, "admin": admin }));
    }
    output::to_stdout(|out| match admin {
        Some(admin) => writeln!(out, "listening on {listen}, admin on {admin}"),
        None => writeln!(out, "listening on {listen}"),
    })
}

fn ending(reason: Option<StopReason>) -> Result<u8, Failure> {
    match reason {
        None | Some(StopReason::Asked) => Ok(COMPLETED),
        Some(StopReason::Terminated(step)) => {
            output::note(&format!("stopped because step {step} failed and was submitted with on_failure = terminate"));
            Ok(FAILED)
        }
        Some(StopReason::StoreFailed(message)) => Err(Failure::failed(format!("the store failed: {message}"))),
        Some(_) => Ok(FAILED),
    }
}

/// What could not be started was asked for wrongly: a refused bind, a store in use.
pub(crate) fn start_failure(error: &StartError) -> Failure {
    Failure::usage(with_causes(error))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    message
}

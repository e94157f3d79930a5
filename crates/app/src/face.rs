//! Starting the HTTP face of a node.

use std::sync::Arc;

use elastic_flow_admin::{AdminConfig, AdminServer, Metrics};
use elastic_flow_orchestrator::config::RenderMetrics;
use elastic_flow_orchestrator::{Master, Worker};
use elastic_flow_wire::with_causes;

use crate::context::Context;
use crate::exit_code::Failure;
use crate::keys::Key;

/// The master's face.
pub(crate) async fn master(
    context: &Context<'_>,
    listen: &str,
    master: &Master,
    key: &Key,
    metrics: Metrics,
) -> Result<AdminServer, Failure> {
    let config = config(context, listen);
    let started = AdminServer::master(&config, master.handle(), Some(key.tokens()), metrics).await;
    started.map_err(|error| Failure::usage(with_causes(&error)))
}

/// A worker's face.
pub(crate) async fn worker(
    context: &Context<'_>,
    listen: &str,
    key: &Key,
    metrics: Metrics,
    worker: &Arc<Worker>,
) -> Result<AdminServer, Failure> {
    let config = config(context, listen);
    let worker = Arc::downgrade(worker);
    let ready = move || worker.upgrade().is_some_and(|worker| worker.is_connected());
    let started = AdminServer::worker(&config, ready, Some(key.tokens()), metrics).await;
    started.map_err(|error| Failure::usage(with_causes(&error)))
}

fn config(context: &Context<'_>, listen: &str) -> AdminConfig {
    AdminConfig {
        listen: listen.to_owned(),
        hosts: context.config.admin.hosts.clone(),
        metrics_open: context.config.admin.metrics_open,
        insecure_plaintext: context.config.security.insecure_plaintext,
    }
}

/// Gives a worker's series to its master; none if they go to a recorder of the program's own.
pub(crate) fn renderer(metrics: &Metrics) -> Option<RenderMetrics> {
    metrics.render()?;
    let metrics = metrics.clone();
    Some(Arc::new(move || metrics.render().unwrap_or_default()))
}

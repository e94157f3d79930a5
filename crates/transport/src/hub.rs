//! Where control connections live: on a thread of their own, so that heartbeats are on time whatever else is busy, or, for a
//! simulated network, on the runtime that everything else is on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A connection's whole life, as a future.
type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Jobs handed over and not yet begun. Beyond it, a new link waits for its turn.
const QUEUE: usize = 64;

/// Hands jobs to the hub.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    jobs: mpsc::Sender<Job>,
}

/// Owns the hub's thread or task. Dropping it lets the hub end by itself, once its jobs have.
#[derive(Debug)]
pub(crate) struct HubOwner {
    home: Home,
    stop: CancellationToken,
}

#[derive(Debug)]
enum Home {
    Thread(thread::JoinHandle<()>),
    Task(JoinSet<()>),
}

impl Hub {
    pub(crate) fn start(own_thread: bool) -> io::Result<(Self, HubOwner)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let hub = run(queue, stop.clone());
        let home = if own_thread {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread =
                thread::Builder::new().name("elastic-flow-pulse".to_owned()).spawn(move || runtime.block_on(hub))?;
            Home::Thread(thread)
        } else {
            let mut tasks = JoinSet::new();
            tasks.spawn(hub);
            Home::Task(tasks)
        };
        Ok((Self { jobs }, HubOwner { home, stop }))
    }

    /// Hands a job over; `false` if the hub has ended.
    pub(crate) async fn run(&self, job: impl Future<Output = ()> + Send + 'static) -> bool {
        self.jobs.send(Box::pin(job)).await.is_ok()
    }
}

impl HubOwner {
    /// Takes no further job, and waits for the end of those that are there.
    pub(crate) async fn join(self) {
        self.stop.cancel();
        match self.home {
            Home::Thread(thread) => {
                // Only waits for jobs that have been told to end. A panic there has been printed where it happened.
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                if !matches!(joined, Ok(Ok(()))) {
                    tracing::error!("the heartbeat thread panicked");
                }
            }
            Home::Task(mut tasks) => while tasks.join_next().await.is_some() {},
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Job>, stop: CancellationToken) {
    let mut jobs = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = jobs.join_next(), if !jobs.is_empty() => note(ended),
            job = queue.recv() => match job {
                Some(job) => { jobs.spawn(job); }
                None => break,
            },
        }
    }
    queue.close();
    while let Some(job) = queue.recv().await {
        jobs.spawn(job);
    }
    while let Some(ended) = jobs.join_next().await {
        note(ended);
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    // The link that it belonged to sees the loss by itself.
    if let Err(error) = ended {
        tracing::error!(%error, "a control connection's task failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn jobs_run_to_their_end_and_a_panic_takes_no_other_with_it() {
        for own_thread in [true, false] {
            let (hub, owner) = Hub::start(own_thread).unwrap();
            let (go, wait) = oneshot::channel::<()>();
            let (done, result) = oneshot::channel();
            assert!(hub.run(async { panic!("planted") }).await);
            assert!(
                hub.run(async move {
                    wait.await.unwrap();
                    done.send(thread::current().name() == Some("elastic-flow-pulse")).unwrap();
                })
                .await
            );
            go.send(()).unwrap();
            owner.join().await;
            assert!(!hub.run(async {}).await, "nothing is taken after the end");
            assert_eq!(result.await.unwrap(), own_thread);
        }
    }
}

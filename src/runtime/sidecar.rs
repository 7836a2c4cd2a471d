//! One thread with a tokio runtime of its own, for crates that cannot do without (name resolution,
//! ACME, LDAP). Nothing else in the process knows tokio.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread;

use router::answer_slot;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::blocking::NotRun;
use crate::limits::SIDECAR_JOBS_MAX;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread, seen from the shards. Cheap to clone; it ends with the last clone.
#[derive(Clone)]
pub struct Sidecar(Sender<Job>);

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").field("room", &self.0.capacity()).finish()
    }
}

impl Sidecar {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (sender, receiver) = mpsc::channel(SIDECAR_JOBS_MAX);
        thread::Builder::new().name("sidecar".to_owned()).spawn(move || runtime.block_on(serve(receiver)))?;
        Ok(Self(sender))
    }

    /// Runs a future there, beside the others, and brings its value back. Dropping this one does
    /// not stop it. Its panic ends nothing else.
    pub async fn run<R, F>(&self, future: F) -> Result<R, NotRun>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let (sender, answer) = answer_slot();
        let job = Box::pin(async move { sender.fill(future.await) });
        self.0.try_send(job).map_err(|_| NotRun::Busy)?;
        answer.await.map_err(|_| NotRun::Panicked)
    }
}

async fn serve(mut jobs: Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blocking::block_on;

    #[test]
    fn a_future_bound_to_tokio_runs_there_and_a_panic_ends_itself_alone() {
        let sidecar = Sidecar::start().unwrap();
        let panicked: Result<(), _> = block_on(sidecar.run(async { panic!("on purpose") }));
        assert_eq!(panicked, Err(NotRun::Panicked));
        let late = sidecar.run(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(block_on(late), Ok(7));
    }
}

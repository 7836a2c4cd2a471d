//! How the process, a shard's thread and its executor do: looked up when somebody asks, so that it costs
//! nothing while nobody does.

use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use base::Timestamp;
use glommio::executor;
use shard::{Process, Vitals};

use crate::blocking::Blocking;
use crate::clock;
use crate::local::Local;

/// One shard's, from its start.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What the executor had counted at the last look; it begins again at each.
    counted: RefCell<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    queues: [Duration; Local::QUEUES.len()],
    turns: u64,
    polls: u64,
}

impl Watch {
    /// To be called on the shard's own thread.
    pub(crate) fn look(&self, local: &Local) -> Vitals {
        let mut counted = self.counted.borrow_mut();
        let executor = executor();
        let stats = executor.executor_stats();
        counted.turns += stats.scheduler_runs();
        counted.polls += stats.tasks_executed();
        for (sum, handle) in counted.queues.iter_mut().zip(local.queue_handles()) {
            // The queues live as long as the executor.
            *sum += executor.task_queue_stats(handle).map_or(Duration::ZERO, |stats| stats.runtime());
        }
        let names = Local::QUEUES.into_iter().zip(counted.queues);
        Vitals {
            clock_ns: clock::monotonic_ns(),
            cpu_ns: clock::thread_cpu_ns(),
            queues_ns: names.map(|(name, time)| (name, nanoseconds(time))).collect(),
            turns: counted.turns,
            polls: counted.polls,
            watchdog_wakes: local.watchdog_wakes(),
            panics: local.panics(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The process as /proc has it; what cannot be read is 0.
pub(crate) fn process(started: Timestamp, blocking: &Blocking) -> Process {
    Process {
        started,
        cpu_ns: clock::process_cpu_ns(),
        resident_bytes: fs::read_to_string("/proc/self/statm").map_or(0, |text| resident(&text)),
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        pool_waiting: blocking.waiting() as u64,
    }
}

/// The second number of `statm` is resident pages (proc_pid_statm(5)).
fn resident(statm: &str) -> u64 {
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page_bytes()
}

#[allow(unsafe_code)]
fn page_bytes() -> u64 {
    // SAFETY: the call takes a number and returns one.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_there() {
        let pool = Blocking::start(1, 1).unwrap();
        let process = process(Timestamp::from_s(1), &pool);
        assert!(process.resident_bytes > 1 << 20 && process.descriptors > 2, "{process:?}");
        assert!(process.cpu_ns > 0 && process.pool_waiting == 0, "{process:?}");
        assert_eq!(resident("100 3 2 1 0 5 0"), 3 * page_bytes());
    }
}

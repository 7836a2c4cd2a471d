//! Every metric there is: its name, its kind and what it says. `docs/operate/monitor.md` has the same
//! table; a test compares them.

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the server's start.
    Counter,
    /// What it is now.
    Gauge,
    /// How often which sizes came, from the server's start.
    Histogram {
        /// Values are counted in units of which so many are one second, byte or piece.
        per_unit: u32,
    },
}

/// One metric. Its values differ by shard and by the labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// The names of its labels beside the shard's.
    pub labels: &'static [&'static str],
    /// For people.
    pub help: &'static str,
    /// Whether it is about the process and not about a shard.
    pub is_of_process: bool,
}

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Family = families!(@ $kind, $name, &$labels, $help);
        )*

        /// All of them, in the order in which they are shown.
        pub static FAMILIES: &[&Family] = &[$(&$constant),*];
    };
    (@ process_gauge, $name:literal, $labels:expr, $help:literal) => {
        Family { name: $name, kind: Kind::Gauge, labels: $labels, help: $help, is_of_process: true }
    };
    (@ process_counter, $name:literal, $labels:expr, $help:literal) => {
        Family { name: $name, kind: Kind::Counter, labels: $labels, help: $help, is_of_process: true }
    };
    (@ counter, $name:literal, $labels:expr, $help:literal) => {
        Family { name: $name, kind: Kind::Counter, labels: $labels, help: $help, is_of_process: false }
    };
    (@ gauge, $name:literal, $labels:expr, $help:literal) => {
        Family { name: $name, kind: Kind::Gauge, labels: $labels, help: $help, is_of_process: false }
    };
    (@ seconds, $name:literal, $labels:expr, $help:literal) => {
        families!(@ histogram 1_000_000_000, $name, $labels, $help)
    };
    (@ pieces, $name:literal, $labels:expr, $help:literal) => {
        families!(@ histogram 1, $name, $labels, $help)
    };
    (@ histogram $per_unit:literal, $name:literal, $labels:expr, $help:literal) => {
        Family {
            name: $name,
            kind: Kind::Histogram { per_unit: $per_unit },
            labels: $labels,
            help: $help,
            is_of_process: false,
        }
    };
}

families! {
    BUILD process_gauge "angarium_build_info" ["version"] "Always 1; the version is a label";
    PROCESS_START process_gauge "process_start_time_seconds" [] "When the server was started, in seconds since 1970";
    PROCESS_CPU process_counter "process_cpu_seconds_total" [] "Processor time of all threads";
    PROCESS_MEMORY process_gauge "process_resident_memory_bytes" [] "Memory of the process that is in RAM";
    PROCESS_FILES process_gauge "process_open_fds" [] "Open descriptors";
    POOL_WAITING process_gauge "angarium_pool_waiting" [] "Password hashes and checkpoints that wait for a thread";

    CPU counter "angarium_shard_cpu_seconds_total" [] "Processor time of the shard's thread; its rate is the share of a core that is busy";
    QUEUE counter "angarium_queue_seconds_total" ["queue"] "Time in which tasks of a queue ran, by the clock: on a core that others use too, more than the processor time";
    TURNS counter "angarium_executor_turns_total" [] "Turns of the executor's loop, each a look at its rings";
    POLLS counter "angarium_executor_polls_total" [] "Tasks that were run until they waited";
    WAKES counter "angarium_watchdog_wakes_total" [] "Times the watchdog has woken the shard to see whether it turns";
    PANICS counter "angarium_task_panics_total" [] "Bugs that ended a task";

    INBOX_JOBS counter "angarium_inbox_jobs_total" [] "Jobs that other shards have sent here";
    INBOX_WAITING gauge "angarium_inbox_waiting" [] "Jobs of other shards that wait to be begun";
    INBOX_DEEPEST gauge "angarium_inbox_waiting_max" [] "The most that have waited at once, since the start";

    CONNECTIONS gauge "angarium_connections" ["protocol", "tls"] "Open connections";
    OPENED counter "angarium_connections_opened_total" ["protocol"] "Connections that were let in";
    PROXIES_REFUSED counter "angarium_proxy_headers_refused_total" ["protocol"] "load balancers' connections without a PROXY header that can be read";
    HANDSHAKES_FAILED counter "angarium_tls_handshakes_failed_total" ["protocol"] "TLS handshakes that came to nothing";
    RECEIVED_BYTES counter "angarium_received_bytes_total" ["protocol"] "Bytes that clients have sent, without TLS";
    SENT_BYTES counter "angarium_sent_bytes_total" ["protocol"] "Bytes that were sent to clients, without TLS";

    LOGINS counter "angarium_logins_total" ["result"] "Answers to logins: ok, denied, throttled, unavailable, and challenged for a SCRAM exchange begun, of which one with the right proof is ok in the end";
    MESSAGES_RECEIVED counter "angarium_messages_received_total" ["protocol"] "Messages that were taken for at least one recipient";
    MESSAGES_REJECTED counter "angarium_messages_rejected_total" ["protocol"] "Messages that were taken for nobody";
    RECIPIENTS_REJECTED counter "angarium_recipients_rejected_total" ["protocol"] "Recipients that were refused before the content";
    DELIVERED counter "angarium_messages_delivered_total" [] "Copies put into mailboxes by delivery";
    POLICIES_SERVED counter "angarium_mta_sts_policies_served_total" [] "Requests for the MTA-STS policy of a domain of ours that were answered with it";
    OPERATION seconds "angarium_operation_seconds" ["protocol", "operation"] "From a request to its answer, for what a session cannot answer alone";
    SLOW counter "angarium_slow_operations_total" [] "Operations that the flight recorder has taken down";

    RELAY_QUEUED counter "angarium_relay_queued_total" [] "Messages that were queued for other systems";
    RELAY_ATTEMPTS counter "angarium_relay_attempts_total" [] "Tries to send what is queued, one for each destination of a message";
    RELAY_RECIPIENTS counter "angarium_relay_recipients_total" ["action"] "What became of recipients elsewhere at these tries: relayed, delayed, failed";
    RELAY_IN_DOUBT counter "angarium_relay_in_doubt_total" [] "Connections that ended when the other system had all of a message and had not answered: it may get it twice";
    RELAY_CONNECTIONS counter "angarium_relay_connections_total" [] "Connections that were made to other systems";
    RELAY_WAITING gauge "angarium_relay_waiting" [] "Queued entries that wait for their time";
    RELAY_OUT gauge "angarium_relay_out" [] "Queued entries that are being tried";
    RELAY_DESTINATIONS_DOWN gauge "angarium_relay_destinations_down" [] "Destinations that could not be reached at the last try and have mail waiting";

    DESTINATION_RECIPIENTS counter "angarium_relay_destination_recipients_total" ["destination", "action"] "What became of recipients at a destination: relayed, delayed, failed; of the busiest ones";
    DESTINATION_WAITING gauge "angarium_relay_destination_waiting" ["destination"] "Queued entries that wait for a destination; of the busiest ones";
    DESTINATION_FAILURES gauge "angarium_relay_destination_failures" ["destination"] "Times in a row that nobody could be reached there; of the busiest ones";

    REPORTS_SENT counter "angarium_reports_sent_total" ["kind"] "Reports that were sent: dmarc, tls, tls-https, failure";
    REPORTS_LEFT_OUT counter "angarium_reports_left_out_total" [] "Messages that no report tells of for lack of memory";
    REPORTS_RECEIVED counter "angarium_reports_received_total" ["kind"] "Mail to report addresses: dmarc, tls, feedback, unreadable; and what was posted: tls-https, unreadable-https, throttled-https";
    COMPLAINTS counter "angarium_complaints_total" ["kind", "domain", "account"] "Complaints and failure reports about our mail; the account is known for mail that went out here";

    FILTERED counter "angarium_filter_answers_total" ["filter", "verdict"] "What filters made of messages: pass, junk, quarantine, greylist, defer, discard, reject, failed";

    TRANSACTIONS counter "angarium_transactions_total" [] "Transactions made durable";
    COMMITS counter "angarium_commits_total" [] "Commits of the log: batches of transactions, written and flushed";
    COMMIT_TRANSACTIONS pieces "angarium_commit_transactions" [] "Transactions in one commit";
    COMMIT_BYTES pieces "angarium_commit_bytes" [] "Bytes of one commit, padding included";
    FLUSH seconds "angarium_flush_seconds" [] "From giving a commit to the disk until it is durable";
    IN_FLIGHT gauge "angarium_commits_in_flight" [] "Commits on their way to the disk";
    PENDING gauge "angarium_transactions_pending" [] "Transactions that are not durable yet";
    WRITTEN_BYTES counter "angarium_store_written_bytes_total" ["what"] "Bytes written to the disk: log without padding, padding, zeroes ahead of the log, runs of checkpoints";
    READS counter "angarium_store_reads_total" [] "Messages, or parts of them, read from the log";
    READ_BYTES counter "angarium_store_read_bytes_total" [] "Bytes these reads brought";
    CHECKPOINTS counter "angarium_checkpoints_total" [] "Checkpoints of the index";
    JOURNAL_BYTES gauge "angarium_journal_bytes" [] "Bytes of the log";
    BODY_BYTES counter "angarium_body_bytes_total" [] "Bytes of messages put into the log since the start";
    DEAD_BYTES counter "angarium_dead_body_bytes_total" [] "Bytes of messages deleted since the start; with several owners counted for each: what a compaction would give back at most";
    REPLAY_BYTES gauge "angarium_replay_bytes" [] "Bytes of the log that a start would read again now";
    RUNS gauge "angarium_index_runs" [] "Index files";
    RUN_BYTES gauge "angarium_index_bytes" [] "Bytes of index files";

    FRESH_BYTES gauge "angarium_fresh_index_bytes" [] "Memory of index entries that are in no file yet";
    CONTENT_BYTES gauge "angarium_content_bytes" [] "Memory of messages that are coming in or being stored";
    CONTENT_LIMIT gauge "angarium_content_limit_bytes" [] "What that memory may be: limits.content_bytes_max";
    CACHED gauge "angarium_directory_cached" [] "Answers of the directory that are remembered";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let names: HashSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for Family { name, kind, help, .. } in FAMILIES {
            assert!(name.starts_with("angarium_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(!help.is_empty() && !help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{name}");
        }
    }
}

//! The whole life of the process. Alone in its file: signals go to every test of a process.

use std::cell::Cell;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::{ServeConfig, ServeError, ShardSetup, ShardsConfig, StartError, Unready, serve};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::raise;

#[test]
fn a_server_starts_reloads_and_stops_by_signal() {
    let mut config = ServeConfig { shards: ShardsConfig::new(2), descriptors: 64, grace: Duration::ZERO };
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let make = move |setup: ShardSetup<()>| {
        let seen = Arc::clone(&seen);
        setup.local.at_stop(async move { seen.store(true, Ordering::SeqCst) });
        ready(Ok::<_, String>(Rc::new(())))
    };
    let reloads = Cell::new(0);
    let at_start = |_: &_| raise(SIGHUP).unwrap();
    let at_reload = |_: &_| {
        reloads.set(reloads.get() + 1);
        raise(SIGTERM).unwrap();
    };
    serve(&config, make, at_start, at_reload).unwrap();
    assert_eq!(reloads.get(), 1);
    assert!(stopped.load(Ordering::SeqCst));

    let refuse = |_: ShardSetup<()>| ready(Err::<Rc<()>, _>("no disk"));
    let error = serve(&config, refuse, |_| panic!("not ready"), |_| {}).unwrap_err();
    assert!(matches!(error, ServeError::Start(StartError::Context(..))), "{error}");
    config.descriptors = u64::MAX;
    let error = serve(&config, refuse, |_| panic!("not ready"), |_| {}).unwrap_err();
    assert!(
        matches!(&error, ServeError::Unready(missing) if matches!(missing[..], [Unready::Descriptors(..)]))
    );
}

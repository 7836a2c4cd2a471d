//! What tests share that run shards without the runtime: there is no network.

/// The part of a `World` that nobody asks for where nothing is relayed.
macro_rules! without_network {
    () => {
        fn spawn(&self, _: shard::LocalFuture<()>) {
            unreachable!("nothing is relayed here");
        }

        fn spawn_aside(&self, _: shard::LocalFuture<()>) {
            unreachable!("nothing is relayed here");
        }

        fn is_stopping(&self) -> bool {
            false
        }

        fn sleep_until(&self, _: base::Timestamp) -> shard::LocalFuture<()> {
            unreachable!("nothing is relayed here");
        }

        fn open(
            &self,
            _: shard::Hop,
        ) -> shard::LocalFuture<Result<Box<dyn shard::Carrier>, shard::Unopened>> {
            unreachable!("nothing is relayed here");
        }
    };
}

pub(crate) use without_network;

//! The test before the greeting: who is strange waits, and who speaks first has shown what it is.

use std::net::IpAddr;
use std::rc::Rc;

use policy::Conduct;
use smtp::{Reply, Waited};

use super::{memory, refused};
use crate::Shard;

/// What becomes of a client that has not been greeted. Whether it spoke first is left in `is_early_talker`.
pub(super) async fn greet(
    shard: &Rc<Shard>,
    source: IpAddr,
    waited: Waited,
    is_early_talker: &mut bool,
) -> Reply {
    let settings = shard.settings();
    let policy = &settings.inbound.policy;
    let pregreet = &policy.settings().pregreet;
    match waited {
        Waited::NotYet if memory::is_known(shard, policy, source).await => Reply::Greeting(0),
        Waited::NotYet => Reply::Greeting(pregreet.wait_ms),
        Waited::Silent => {
            memory::passed(shard, source).await;
            Reply::Greeting(0)
        }
        Waited::Spoke => {
            *is_early_talker = true;
            tracing::info!(event = "inbound.early_talker", peer = %source, refused = pregreet.refuses);
            memory::note(shard, policy, source, Conduct::Bad);
            if pregreet.refuses {
                return Reply::Refused(refused(554, (5, 5, 1), "you spoke before you were greeted"));
            }
            Reply::Greeting(0)
        }
    }
}

//! Policies of domains, on the shard that has the directory and on the other.

use std::collections::HashMap;
use std::sync::Arc;

use base::ShardId;
use shard::{OwnPolicies, Settings};
use transport::sts::{Mode, PATH, Policy};

use crate::rig::{NOW, Server};

fn get(server: &Server, at: ShardId, host: &str) -> String {
    server.web(at).say(&format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn every_shard_knows_which_domains_are_ours_and_what_their_policies_are() {
    let server = Server::new();
    let new = "mta-sts.new.example";
    for at in [ShardId(0), ShardId(1)] {
        let usual = OwnPolicies::new("mail.example.org").usual.text();
        assert!(get(&server, at, "MTA-STS.example.org").ends_with(&format!("\r\n\r\n{usual}")), "{at:?}");
        assert!(get(&server, at, new).starts_with("HTTP/1.1 404 "), "{at:?}");
        assert!(get(&server, at, "example.org").starts_with("HTTP/1.1 404 "), "{at:?}");
    }
    server.wait(server.directory().add_domain("new.example", NOW)).expect("a new domain");
    server.told();
    let own = Policy { mode: Mode::Enforce, hosts: vec!["mx.new.example".to_owned()], max_age_s: 86_400 };
    let others: HashMap<_, _> = [("new.example".to_owned(), own.clone())].into();
    for at in [ShardId(0), ShardId(1)] {
        let shard = &server.shards[usize::from(at.0)];
        let mut line = server.web(at);
        let policies = Arc::new(OwnPolicies {
            others: others.clone(),
            ..OwnPolicies::clone(&shard.settings().policies)
        });
        shard.reload(Arc::new(Settings { policies, ..Settings::clone(&shard.settings()) }));
        assert!(get(&server, at, new).ends_with(&own.text()), "{at:?}");
        // A policy has no setting that a connection could have begun with.
        let said = line.say(&format!("HEAD {PATH} HTTP/1.1\r\nHost: {new}\r\n\r\n"));
        assert!(said.contains(&format!("Content-Length: {}\r\n", own.text().len())), "{said}");
    }
}

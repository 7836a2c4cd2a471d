//! `[inbound]`, `[policy]` and `[mailflow]`: what is looked at before mail is taken.

use std::path::Path;
use std::sync::Arc;

use policy::{Fault, Flow, Policy};
use serde::Deserialize;
use serde::de::IgnoredAny;
use shard::{Dmarc, FilterSettings, FromCheck};

use super::outbound::networks;
use super::{ConfigError, Listeners};

/// `[inbound]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inbound {
    /// Whether SPF, DKIM, DMARC and ARC of mail from other servers are looked at, and noted in the message.
    pub authenticate: bool,
    /// What follows when a message fails DMARC and its domain asks for it: `note`, `junk` or `enforce`.
    pub dmarc: AtDmarc,
}

/// What follows from DMARC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtDmarc {
    /// It is only noted.
    Note,
    /// Junk, also where rejection was asked for.
    Junk,
    /// What was asked for.
    #[default]
    Enforce,
}

impl Default for Inbound {
    fn default() -> Self {
        Self { authenticate: true, dmarc: AtDmarc::default() }
    }
}

impl Inbound {
    /// In the form the services need.
    pub(super) fn settings(
        &self,
        from: FromCheck,
        rules: &Rules,
        filters: Vec<FilterSettings>,
        listen: &Listeners,
    ) -> Arc<shard::Inbound> {
        Arc::new(shard::Inbound {
            authenticates: self.authenticate,
            dmarc: match self.dmarc {
                AtDmarc::Note => Dmarc::Note,
                AtDmarc::Junk => Dmarc::Junk,
                AtDmarc::Enforce => Dmarc::Enforce,
            },
            from,
            policy: Arc::clone(&rules.policy),
            flow: Arc::clone(&rules.flow),
            filters,
            proxy_from: networks(&listen.proxy_from),
            xclient_from: networks(&listen.xclient_from),
        })
    }
}

/// `[policy]` and `[mailflow]`, which are read from the text by their own reader.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    policy: Arc<Policy>,
    flow: Arc<Flow>,
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Whatever stands there; `read` looks at it.
        IgnoredAny::deserialize(deserializer).map(|_| Self::default())
    }
}

impl Rules {
    /// Reads the rules of a configuration.
    pub(super) fn read(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let list = |name: &str| std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"));
        let wrong =
            |fault: Fault| ConfigError { file: file.to_owned(), line: fault.line, message: fault.message };
        let policy = Policy::parse(text, &list).map_err(wrong)?;
        let flow = Flow::parse(text, &list).map_err(wrong)?;
        Ok(Self { policy: Arc::new(policy), flow: Arc::new(flow) })
    }

    /// A route that rules name and that there is not.
    pub(super) fn unknown_route(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.flow.routes().find(|name| !known(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_and_faults_of_rules_have_their_line() {
        let fault =
            |text: &str| Config::parse(Path::new("a.toml"), text).expect_err("it is wrong").to_string();
        let routed = fault("[[mailflow.rule]]\nname = \"x\"\nthen = { route = \"fast\" }\n");
        assert!(routed.contains("no [[outbound.route]] of the name \"fast\""), "{routed}");
        let named = "[[outbound.route]]\nname = \"fast\"\n[[mailflow.rule]]\nname = \"x\"\nthen = { route = \"fast\" }\n";
        Config::parse(Path::new("a.toml"), named).expect("the route is there");
        let wrong = fault(
            "[server]\nhostname = \"x\"\n[[policy.rule]]\nname = \"x\"\nstage = \"nowhere\"\nthen = \"accept\"\n",
        );
        assert!(wrong.starts_with("a.toml:5: ") && wrong.contains("nowhere"), "{wrong}");
    }

    #[test]
    fn rules_reach_the_services() {
        let text = "[[policy.rule]]\nname = \"x\"\nstage = \"rcpt\"\nthen = { reject = \"no\" }\n[inbound]\ndmarc = \"junk\"\n";
        let settings = Config::parse(Path::new("a.toml"), text).expect("valid").settings();
        assert_eq!(settings.inbound.policy.rule_count(), 1);
        assert_eq!(settings.inbound.dmarc, Dmarc::Junk);
    }
}

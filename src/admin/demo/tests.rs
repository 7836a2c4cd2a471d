//! The demo on a machine that is busy.

use super::*;
use crate::config::Listen;
use crate::{ListenAddress, Started};

/// A machine where another program takes the port of SMTP just before the first start.
#[derive(Default)]
struct Busy {
    starts: Cell<u32>,
    served: Cell<u16>,
}

impl Host for Busy {
    fn server(&self, _: &Config) -> Result<Box<dyn Control>, Failure> {
        panic!("a demo asks no other server")
    }

    fn serve(&self, config: &Config, _: Started<'_>) -> Result<Exit, Failure> {
        self.starts.set(self.starts.get() + 1);
        let smtp = config.addresses().into_iter().find(|(listen, _)| *listen == Listen::Smtp);
        let Some((_, ListenAddress::Tcp(address))) = smtp else { panic!("the demo listens on TCP") };
        self.served.set(address.port());
        if address.port() == 2525 {
            return Err(Failure::new(Exit::Unavailable, "another program listens there"));
        }
        Ok(Exit::Done)
    }

    fn control(&self, _: &Config) -> Result<Box<dyn Control>, Failure> {
        panic!("a demo has the server's control")
    }

    fn check(
        &self,
        _: &Path,
        _: &mut dyn FnMut(storage_engine::CheckProgress),
    ) -> Result<storage_engine::CheckReport, Failure> {
        panic!("a demo does not check")
    }

    fn check_certificates(&self, _: &Config) -> Result<(), Failure> {
        Ok(())
    }

    fn submit(&self, _: &Path, _: &crate::Submission, _: &[u8]) -> Result<crate::Response, Failure> {
        panic!("a demo sends no mail of its own")
    }

    fn certificate(&self, _: &Config) -> Result<Vec<u8>, Failure> {
        panic!("a demo publishes nothing")
    }

    fn free_port(&self, wanted: u16) -> Result<u16, Failure> {
        Ok(if wanted == 2525 && self.starts.get() > 0 { 40_000 } else { wanted })
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn now(&self) -> base::Timestamp {
        base::Timestamp::from_s(0)
    }
}

#[test]
fn a_port_that_was_taken_meanwhile_is_exchanged() {
    let args = DemoArgs {
        data: Some(PathBuf::from("unused")),
        shards: None,
        cpus: None,
        accounts: None,
        smarthost: None,
        password: None,
    };
    let host = Busy::default();
    assert_eq!(Demo::new(args, true).run(&host), Ok(Exit::Done));
    assert_eq!((host.starts.get(), host.served.get()), (2, 40_000));
}

//! What the command line needs of the machine, provided by `runtime`.

use std::path::Path;

use crate::{Config, Exit, Failure, Request, Response, Submission};

/// A way to have requests executed: a running server's socket, or a store opened for it.
pub trait Control {
    /// Asks and waits for the answer.
    fn call(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Failure>;
}

/// Called once a server serves: gets its way of control and the addresses it listens on.
pub type Started<'a> = Box<dyn FnOnce(&mut dyn Control, &Config) -> Result<(), Failure> + 'a>;

/// The machine.
pub trait Host {
    /// Serves until told to stop by a signal. `started` runs when every listener is open.
    fn serve(&self, config: &Config, started: Started<'_>) -> Result<Exit, Failure>;

    /// A running server's control socket, if one answers for this store; else the store itself,
    /// opened until the control is dropped.
    fn control(&self, config: &Config) -> Result<Box<dyn Control>, Failure>;

    /// The control socket of the server that has this store open.
    fn server(&self, config: &Config) -> Result<Box<dyn Control>, Failure>;

    /// Hands a message to the server that listens on this socket.
    fn submit(&self, socket: &Path, submission: &Submission, content: &[u8]) -> Result<Response, Failure>;

    /// Verifies a store that no server has open.
    fn check(
        &self,
        data: &Path,
        progress: &mut dyn FnMut(storage_engine::CheckProgress),
    ) -> Result<storage_engine::CheckReport, Failure>;

    /// Reads the certificates that are configured, and says what is wrong with them.
    fn check_certificates(&self, config: &Config) -> Result<(), Failure>;

    /// The certificate, in DER, that is shown to whoever asks for `server.hostname`; made first when none is
    /// configured.
    fn certificate(&self, config: &Config) -> Result<Vec<u8>, Failure>;

    /// A free loopback port: the one wanted if it is free.
    fn free_port(&self, wanted: u16) -> Result<u16, Failure>;

    /// Fills `bytes` from the system's generator.
    fn random(&self, bytes: &mut [u8]);

    /// The time now.
    fn now(&self) -> base::Timestamp;
}

//! One connection's TLS. The bytes pass through buffers that the caller lends for each call; what
//! stays here between calls is an incomplete record, if there is one, and what the session had no
//! room for.

use std::fmt;
use std::net::IpAddr;

use base::{ChannelBinding, Secret, TlsInfo};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};
use transport::{Demand, Fault, Proof};

use super::handshake::{Findings, observe};
use super::{TlsConnector, bindings};
use crate::limits::ENCRYPT_BYTES_MAX;

/// Our side of a TLS connection.
pub(crate) struct Tls {
    side: Side,
    findings: Findings,
    /// What the other end must prove, and by whose authorities, until it was looked at.
    demand: Option<Box<(TlsConnector, Demand)>>,
    proof: Option<Result<Proof, Fault>>,
    /// Received and not decrypted yet.
    records: Vec<u8>,
    /// `records` may hold a whole record, left because the taker had enough.
    has_whole_record: bool,
    /// Decrypted and not taken yet.
    kept: Vec<u8>,
    /// The peer has said its last word.
    is_ended: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("is_handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

/// Which side we are.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Side {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

/// What one step of the state machine came to.
enum Step {
    Again,
    Data,
    NeedsInput,
    Ended,
}

impl Tls {
    pub(super) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(connection), None)
    }

    /// As a client of the server at `address`. [`Tls::prepare`] brings the first words.
    pub(crate) fn client(connector: &TlsConnector, demand: Demand, address: IpAddr) -> Result<Self, Error> {
        let connection = connector.begin(&demand.server_name, address)?;
        Ok(Self::new(Side::Client(connection), Some(Box::new((connector.clone(), demand)))))
    }

    fn new(side: Side, demand: Option<Box<(TlsConnector, Demand)>>) -> Self {
        Self {
            side,
            findings: Findings::default(),
            demand,
            proof: None,
            records: Vec::new(),
            has_whole_record: false,
            kept: Vec::new(),
            is_ended: false,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.side.common().is_handshaking()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// What must stand in front of the next bytes from the socket.
    pub(crate) fn kept_records(&self) -> &[u8] {
        &self.records
    }

    /// Whether [`Tls::read`] has work without further bytes.
    pub(crate) fn has_whole_record(&self) -> bool {
        self.has_whole_record
    }

    /// Gives out what was decrypted before. `None` when there is nothing.
    pub(crate) fn take_kept(&mut self, max: usize, take: &mut dyn FnMut(&[u8])) -> Option<usize> {
        let count = self.kept.len().min(max);
        if count == 0 {
            return None;
        }
        take(&self.kept[..count]);
        if count == self.kept.len() {
            self.kept = Vec::new();
        } else {
            self.kept.drain(..count);
        }
        Some(count)
    }

    /// Works on `input` ([`Tls::kept_records`], then what has arrived), gives at most `max` bytes of
    /// data to `take`, and adds what must be sent to `wire`, also on an error: the alert.
    pub(crate) fn read(
        &mut self,
        input: &mut [u8],
        max: usize,
        wire: &mut Vec<u8>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Error> {
        let mut at = 0;
        let mut given = 0;
        self.has_whole_record = false;
        loop {
            let kept = &mut self.kept;
            let mut data = |bytes: &[u8]| {
                let (now, later) = bytes.split_at(bytes.len().min(max - given));
                take(now);
                given += now.len();
                kept.extend_from_slice(later);
            };
            let side = &mut self.side;
            let (discard, step) =
                observe(&mut self.findings, || step(side, &mut input[at..], wire, &mut data))?;
            at += discard;
            match step {
                Step::Again => {}
                Step::Data => {
                    if given == max {
                        self.has_whole_record = true;
                        break;
                    }
                }
                Step::NeedsInput => break,
                Step::Ended => self.is_ended = true,
            }
        }
        if at == 0 && input.len() == crate::limits::SCRATCH_BYTES {
            return Err(Error::General("a handshake message is too long".to_owned()));
        }
        self.keep_records(&input[at..]);
        Ok(given)
    }

    fn keep_records(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.records = Vec::new();
        } else {
            self.records.clear();
            self.records.extend_from_slice(rest);
        }
        self.has_whole_record &= !rest.is_empty();
    }

    /// Adds to `wire` what rustls wants sent before any data, such as an answer to a key update.
    pub(crate) fn prepare(&mut self, wire: &mut Vec<u8>) -> Result<(), Error> {
        // rustls wants to see the incomplete records again at each call.
        let Self { side, kept, records, is_ended, .. } = self;
        loop {
            let mut data = |bytes: &[u8]| kept.extend_from_slice(bytes);
            let (discard, step) = step(side, records, wire, &mut data)?;
            records.drain(..discard);
            match step {
                Step::Again | Step::Data => {}
                Step::Ended => *is_ended = true,
                Step::NeedsInput => return Ok(()),
            }
        }
    }

    /// Encrypts the front of `plain` into `buffer`: how much of `plain` was taken and how much of
    /// `buffer` is filled. [`Tls::prepare`] must have left nothing to send.
    pub(crate) fn encrypt(&mut self, plain: &[u8], buffer: &mut [u8]) -> Result<(usize, usize), Error> {
        let piece = plain.get(..ENCRYPT_BYTES_MAX).unwrap_or(plain);
        let records = &mut self.records;
        let end = match &mut self.side {
            Side::Server(connection) => encrypt(connection.process_tls_records(records), piece, buffer)?,
            Side::Client(connection) => encrypt(connection.process_tls_records(records), piece, buffer)?,
        };
        Ok((piece.len(), end))
    }

    /// Adds our last word to `wire` (RFC 8446 §6.1), if the connection got as far as that.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        if self.is_handshaking() || self.prepare(wire).is_err() {
            return;
        }
        let records = &mut self.records;
        match &mut self.side {
            Side::Server(connection) => last_word(connection.process_tls_records(records), wire),
            Side::Client(connection) => last_word(connection.process_tls_records(records), wire),
        }
    }

    /// Looks, when the handshake is done, whether the server has proven what was demanded of it. An
    /// error is the end; a proof that lacks and is not required is told by [`Tls::proof`] alone.
    pub(crate) fn look_at_proof(&mut self) -> Result<(), Fault> {
        let Some(looking) = self.demand.take() else { return Ok(()) };
        let (connector, demand) = *looking;
        let chain = self.side.common().peer_certificates().unwrap_or_default();
        let proof = connector.prove(&demand, chain);
        self.proof = Some(proof);
        if demand.is_required { proof.map(|_| ()) } else { Ok(()) }
    }

    pub(crate) fn proof(&self) -> Option<Result<Proof, Fault>> {
        self.proof
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.side.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What a session may know. The channel bindings are made, and their secret dropped, here.
    pub(crate) fn info(&mut self) -> TlsInfo {
        let common = self.side.common();
        let suite = common.negotiated_cipher_suite();
        let findings = std::mem::take(&mut self.findings);
        let exporter = findings.exporter.zip(suite).and_then(|(secret, suite)| {
            bindings::exporter(suite, secret.reveal()).map(|data| ("tls-exporter", data))
        });
        let end_point = findings.end_point.map(|data| ("tls-server-end-point", data.to_vec()));
        let bindings = exporter.into_iter().chain(end_point);
        TlsInfo {
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS1.3".to_owned(),
                Some(ProtocolVersion::TLSv1_2) => "TLS1.2".to_owned(),
                other => format!("{other:?}"),
            },
            cipher: suite.map(|suite| format!("{:?}", suite.suite())).unwrap_or_default(),
            server_name: findings.server_name,
            bindings: bindings.map(|(name, data)| ChannelBinding { name, data: Secret::new(data) }).collect(),
        }
    }
}

/// One step: how many bytes of `input` are done with, and what comes next. On an error the alert is in
/// `wire`.
fn step(
    side: &mut Side,
    input: &mut [u8],
    wire: &mut Vec<u8>,
    data: &mut dyn FnMut(&[u8]),
) -> Result<(usize, Step), Error> {
    let outcome = match side {
        Side::Server(connection) => follow(connection.process_tls_records(input), wire, data),
        Side::Client(connection) => follow(connection.process_tls_records(input), wire, data),
    };
    if outcome.is_err() {
        collect_alert(side, wire);
    }
    outcome
}

fn follow<D>(
    status: UnbufferedStatus<'_, '_, D>,
    wire: &mut Vec<u8>,
    data: &mut dyn FnMut(&[u8]),
) -> Result<(usize, Step), Error> {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                data(record.payload);
            }
            Step::Data
        }
        ConnectionState::EncodeTlsData(mut encode) => {
            append(wire, |buffer| encode.encode(buffer))?;
            Step::Again
        }
        ConnectionState::TransmitTlsData(transmit) => {
            // `wire` goes out before anything that is encrypted later.
            transmit.done();
            Step::Again
        }
        ConnectionState::PeerClosed => Step::Ended,
        ConnectionState::Closed | ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
            Step::NeedsInput
        }
        // Early data is never accepted.
        _ => return Err(Error::General("a TLS state that was not asked for".to_owned())),
    };
    Ok((discard, step))
}

/// After an error rustls has the alert ready, as one more thing to encode.
fn collect_alert(side: &mut Side, wire: &mut Vec<u8>) {
    let mut nothing = [0; 0];
    loop {
        let is_more = match side {
            Side::Server(connection) => encode_alert(connection.process_tls_records(&mut nothing), wire),
            Side::Client(connection) => encode_alert(connection.process_tls_records(&mut nothing), wire),
        };
        if !is_more {
            return;
        }
    }
}

fn encode_alert<D>(status: UnbufferedStatus<'_, '_, D>, wire: &mut Vec<u8>) -> bool {
    let Ok(ConnectionState::EncodeTlsData(mut encode)) = status.state else { return false };
    append(wire, |buffer| encode.encode(buffer)).is_ok()
}

fn encrypt<D>(status: UnbufferedStatus<'_, '_, D>, plain: &[u8], buffer: &mut [u8]) -> Result<usize, Error> {
    let ConnectionState::WriteTraffic(mut traffic) = status.state? else {
        return Err(Error::HandshakeNotComplete);
    };
    traffic.encrypt(plain, buffer).map_err(|error| Error::General(error.to_string()))
}

fn last_word<D>(status: UnbufferedStatus<'_, '_, D>, wire: &mut Vec<u8>) {
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else { return };
    let mut alert = [0; 64];
    let end = traffic.queue_close_notify(&mut alert).unwrap_or(0);
    wire.extend_from_slice(alert.get(..end).unwrap_or_default());
}

/// Lets `encode` write to the end of `wire`, making the room that it asks for.
fn append(
    wire: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let start = wire.len();
    let written = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            wire.resize(start + required_size, 0);
            encode(&mut wire[start..])
        }
        other => other,
    };
    let written = written.map_err(|error| Error::General(error.to_string()))?;
    wire.truncate(start + written);
    Ok(())
}

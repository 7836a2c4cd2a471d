//! A name server for tests: a table, and the ways in which servers fail.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};

/// What is asked for by name, lower case and with its last dot.
pub type Table = HashMap<&'static str, Vec<(u32, RData)>>;

/// Answers from its table: by UDP, and by TCP what is too large for that. Names with these labels in front
/// fail: `silent` is not answered, `servfail` and `refused` are errors, `garbage` is no message, and `large`
/// is cut by UDP.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn a(last: u8) -> RData {
    RData::A(Ipv4Addr::new(192, 0, 2, last).into())
}

pub fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

pub fn txt(strings: &[&str]) -> RData {
    RData::TXT(TXT::new(strings.iter().map(|text| (*text).to_owned()).collect()))
}

pub fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

impl NameServer {
    pub fn start(table: Table) -> Self {
        let (udp, tcp) = pair();
        let address = udp.local_addr().unwrap();
        let (table, asked) = (Arc::new(table), Arc::<Mutex<Vec<_>>>::default());
        let (table_, asked_) = (Arc::clone(&table), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((count, peer)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = answer(&table_, &asked_, &buffer[..count], true) {
                    udp.send_to(&answer, peer).unwrap();
                }
            }
        });
        let asked_ = Arc::clone(&asked);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut request).unwrap();
                    let Some(answer) = answer(&table, &asked_, &request, false) else { break };
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).unwrap();
                }
            }
        });
        Self { address, asked }
    }

    /// How often a name was asked for.
    pub fn count(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked == name).count()
    }
}

/// Both protocols on one port.
fn pair() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

fn answer(
    table: &Table,
    asked: &Mutex<Vec<(String, RecordType)>>,
    request: &[u8],
    is_udp: bool,
) -> Option<Vec<u8>> {
    let request = Message::from_bytes(request).unwrap();
    let query = request.queries[0].clone();
    let text = query.name().to_ascii().to_ascii_lowercase();
    asked.lock().unwrap().push((text.clone(), query.query_type()));
    let mut response = Message::response(request.id, request.op_code);
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    match text.split('.').next().unwrap_or_default() {
        "silent" => return None,
        "garbage" => return Some(vec![0xff; 40]),
        "servfail" => response.metadata.response_code = ResponseCode::ServFail,
        "refused" => response.metadata.response_code = ResponseCode::Refused,
        "large" if is_udp => response.metadata.truncation = true,
        _ => fill(table, &mut response, &text, query.name(), query.query_type()),
    }
    Some(response.to_bytes().unwrap())
}

fn fill(table: &Table, response: &mut Message, text: &str, owner: &Name, kind: RecordType) {
    let records = table.get(text);
    let found = records.into_iter().flatten().filter(|(_, data)| {
        data.record_type() == kind || (data.record_type() == RecordType::CNAME && kind != RecordType::CNAME)
    });
    let found: Vec<Record> =
        found.map(|(ttl, data)| Record::from_rdata(owner.clone(), *ttl, data.clone())).collect();
    if found.is_empty() {
        let soa = SOA::new(name("ns."), name("admin."), 1, 2, 3, 4, 77);
        response.add_authority(Record::from_rdata(name("."), 300, RData::SOA(soa)));
    }
    if records.is_none() {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    response.add_answers(found);
}

//! The checks by hand, for test suites in other languages: each line of input is a command in JSON, each
//! answer a line. What the checks ask of the name system is asked back: `{"ask": NAME, "kind": KIND}`,
//! answered by `{"records": [...]}` or `{"failure": "name" | "records" | "temporary"}`. Bytes are Base64.
//!
//! Commands: `spf`, `dkim`, `arc`, `dmarc`, `verify`, `record`, `sign`, `seal`; `tests/mailauth/probe.py` has
//! their members.

use std::future::Future;
use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use base::dns::{Absence, Answer, Failure, Query, Record, RecordKind};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mailauth::dkim::{DkimResult, DomainKey, KeyState, SignOptions, Signer};
use mailauth::dmarc::{Dmarc, Evidence};
use mailauth::spf::{Sender, Spf, SpfResult};
use mailauth::{Checks, Lookup, Message, PrivateKey, Service};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    while let Some(command) = read()? {
        let answer = run(&command).unwrap_or_else(|problem| json!({ "error": problem }));
        write(&json!({ "done": answer }))?;
    }
    Ok(())
}

fn read() -> Result<Option<Value>, Box<dyn std::error::Error>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&line)?)) }
}

fn write(value: &Value) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{value}")?;
    output.flush()
}

/// Asks whoever started us.
struct Asked;

impl Lookup for Asked {
    async fn ask(&self, query: Query) -> Result<Answer, Failure> {
        let kind = match query.kind {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
            RecordKind::Mx => "MX",
            RecordKind::Txt => "TXT",
            RecordKind::Ptr => "PTR",
            _ => "a kind that mail authentication does not ask for",
        };
        let asked = write(&json!({ "ask": query.name, "kind": kind }));
        let Some(reply) = asked.ok().and_then(|()| read().ok().flatten()) else {
            return Err(Failure::Temporary);
        };
        match reply["failure"].as_str() {
            Some("name") => return Err(Failure::NoSuchName(Absence::default())),
            Some("records") => return Err(Failure::NoRecords(Absence::default())),
            Some(_) => return Err(Failure::Temporary),
            None => {}
        }
        let records = reply["records"].as_array().into_iter().flatten();
        let records = records.filter_map(|value| record(query.kind, value)).collect();
        Ok(Answer { records, name: query.name, is_secure: false, ttl_s: 60 })
    }
}

fn record(kind: RecordKind, value: &Value) -> Option<Record> {
    match kind {
        RecordKind::A => Some(Record::A(value.as_str()?.parse().ok()?)),
        RecordKind::Aaaa => Some(Record::Aaaa(value.as_str()?.parse().ok()?)),
        RecordKind::Mx => Some(Record::Mx {
            preference: value.get(0)?.as_u64()? as u16,
            host: base::dns::normal(value.get(1)?.as_str()?),
        }),
        RecordKind::Txt => Some(Record::Txt(BASE64_STANDARD.decode(value.as_str()?).ok()?)),
        RecordKind::Ptr => Some(Record::Ptr(base::dns::normal(value.as_str()?))),
        _ => None,
    }
}

/// Polls a future to its end. It only ever gives way: the lookups above read their answers at once.
fn run_to_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fn text<'a>(command: &'a Value, name: &str) -> Result<&'a str, String> {
    command[name].as_str().ok_or_else(|| format!("no {name}"))
}

fn bytes(command: &Value, name: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text(command, name)?).map_err(|error| error.to_string())
}

fn now(command: &Value) -> Timestamp {
    Timestamp::from_s(command["now"].as_i64().unwrap_or_default())
}

fn run(command: &Value) -> Result<Value, String> {
    match text(command, "do")? {
        "spf" => {
            let sender = sender(command)?;
            let spf = if text(command, "identity")? == "helo" {
                run_to_end(mailauth::spf::check_helo(&Asked, &sender))
            } else {
                run_to_end(mailauth::spf::check_mail_from(&Asked, &sender))
            };
            Ok(spf_answer(&spf))
        }
        "dkim" => {
            let bytes = bytes(command, "message")?;
            let service = match text(command, "service")? {
                "tlsrpt" => Service::TlsReport,
                "strict tlsrpt" => Service::OnlyTlsReport,
                _ => Service::Mail,
            };
            let message = Message::parse(&bytes);
            let outcomes = run_to_end(mailauth::dkim::verify(&Asked, &message, service, now(command)));
            Ok(outcomes.iter().map(dkim_answer).collect())
        }
        "arc" => {
            let bytes = bytes(command, "message")?;
            let arc = run_to_end(mailauth::arc::verify(&Asked, &Message::parse(&bytes), now(command)));
            Ok(arc_answer(&arc))
        }
        "dmarc" => dmarc(command),
        "verify" => verify(command),
        "record" => {
            let key = PrivateKey::from_pem(&bytes(command, "key")?).map_err(|_| "bad key")?;
            Ok(json!(key.record().map_err(|_| "bad key")?))
        }
        "sign" | "seal" => sign(command),
        other => Err(format!("unknown command {other}")),
    }
}

fn sender(command: &Value) -> Result<Sender<'_>, String> {
    Ok(Sender {
        ip: text(command, "ip")?.parse::<IpAddr>().map_err(|error| error.to_string())?,
        helo: text(command, "helo")?,
        mail_from: text(command, "mail_from")?,
        receiver: text(command, "receiver")?,
        now: now(command),
    })
}

fn spf_answer(spf: &Spf) -> Value {
    json!({ "result": spf.result.word(), "explanation": spf.explanation, "mechanism": spf.mechanism, "domain": spf.domain })
}

fn dkim_answer(dkim: &mailauth::dkim::Dkim) -> Value {
    json!({
        "result": dkim.result.word(),
        "trouble": dkim.trouble.map(mailauth::Trouble::words),
        "domain": dkim.domain,
        "identity": dkim.identity,
        "selector": dkim.selector,
        "bits": dkim.key_bits,
        "unsigned": dkim.has_unsigned_body,
    })
}

fn arc_answer(arc: &mailauth::arc::Arc) -> Value {
    json!({
        "result": arc.result.word(),
        "trouble": arc.trouble.map(mailauth::Trouble::words),
        "sealers": arc.sealers,
        "results": arc.results,
    })
}

fn dmarc_answer(dmarc: &Dmarc) -> Value {
    json!({
        "result": dmarc.result.word(),
        "author": dmarc.author,
        "organisation": dmarc.organisation,
        "policy": dmarc.policy.word(),
        "policy_domain": dmarc.policy_domain.as_ref().map(|(domain, _)| domain),
        "found": dmarc.policy_domain.as_ref().map(|(_, found)| format!("{found:?}")),
        "disposition": dmarc.disposition().word(),
    })
}

/// Evaluates the authors of a message for evidence that is given.
fn dmarc(command: &Value) -> Result<Value, String> {
    let bytes = bytes(command, "message")?;
    let pair = |value: &Value| Some((value.get(0)?.as_str()? == "pass", value.get(1)?.as_str()?.to_owned()));
    let evidence = Evidence {
        spf: pair(&command["spf"])
            .map(|(is_pass, domain)| (if is_pass { SpfResult::Pass } else { SpfResult::Fail }, domain)),
        dkim: command["dkim"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(pair)
            .map(|(is_pass, domain)| (if is_pass { DkimResult::Pass } else { DkimResult::Fail }, domain))
            .collect(),
    };
    let authors = mailauth::dmarc::authors(&Message::parse(&bytes));
    let dmarc = run_to_end(mailauth::dmarc::evaluate_all(&Asked, &authors, &evidence));
    Ok(dmarc_answer(&dmarc))
}

fn verify(command: &Value) -> Result<Value, String> {
    let sender = sender(command)?;
    let message = bytes(command, "message")?;
    let checks = Checks {
        ip: sender.ip,
        helo: sender.helo,
        mail_from: sender.mail_from,
        message: &message,
        now: sender.now,
        authserv_id: sender.receiver,
    };
    let verdicts = run_to_end(mailauth::verify(&Asked, &checks));
    Ok(json!({
        "iprev": verdicts.iprev.result.word(),
        "spf_helo": spf_answer(&verdicts.spf_helo),
        "spf": spf_answer(&verdicts.spf),
        "dkim": verdicts.dkim.iter().map(dkim_answer).collect::<Value>(),
        "arc": arc_answer(&verdicts.arc),
        "dmarc": dmarc_answer(&verdicts.dmarc),
        "disposition": verdicts.disposition.word(),
        "header": verdicts.header,
        "results": verdicts.results,
    }))
}

/// Signs with the given keys (all active), or seals with the first.
fn sign(command: &Value) -> Result<Value, String> {
    let bytes = bytes(command, "message")?;
    let message = Message::parse(&bytes);
    let domain = text(command, "domain")?;
    let mut keys = Vec::new();
    for pair in command["keys"].as_array().into_iter().flatten() {
        let selector = pair[0].as_str().ok_or("no selector")?.to_owned();
        let pem = BASE64_STANDARD
            .decode(pair[1].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let key = PrivateKey::from_pem(&pem).map_err(|_| "bad key")?;
        keys.push(DomainKey { selector, state: KeyState::Active, key });
    }
    let fields = if text(command, "do")? == "sign" {
        let signer = Signer::new(domain, keys).map_err(|error| format!("{error:?}"))?;
        let options = SignOptions { now: now(command), valid_s: 3600 };
        run_to_end(signer.sign(&message, options)).map_err(|error| format!("{error:?}"))?
    } else {
        let arc = run_to_end(mailauth::arc::verify(&Asked, &message, now(command)));
        let DomainKey { selector, key, .. } = keys.first().ok_or("no key")?;
        let sealer = mailauth::arc::Sealer { domain, selector, key };
        let results = text(command, "results")?;
        run_to_end(sealer.seal(&message, &arc, results, now(command)))
            .map_err(|error| format!("{error:?}"))?
    };
    Ok(json!(BASE64_STANDARD.encode(fields)))
}

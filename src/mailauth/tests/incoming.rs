//! Whole messages through all checks, with a name system in memory.

mod support;

use std::net::Ipv4Addr;

use base::Random;
use base::dns::Record;
use mailauth::arc::{Arc, ArcResult, SealError, Sealer};
use mailauth::dkim::{DkimResult, KeyState, SignError, SignOptions};
use mailauth::dmarc::{DmarcResult, Found, Policy, ReportAddress, report_targets};
use mailauth::iprev::IprevResult;
use mailauth::report::{
    Aggregate, Disposition, Envelope, Failed, Published, Row, failure_report, pack, read, unpack, write,
};
use mailauth::spf::SpfResult;
use mailauth::{Algorithm, Message, PrivateKey, Trouble};
use support::{NOW, Zone, run, signed, signer, verify};

const MESSAGE: &[u8] = b"From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: one\r\n  two\r\n\
    Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nHello  there\r\n\r\n";

const KEYS: [(&str, Algorithm, KeyState); 3] = [
    ("rsa", Algorithm::RsaSha256, KeyState::Active),
    ("ed", Algorithm::Ed25519Sha256, KeyState::Active),
    ("old", Algorithm::Ed25519Sha256, KeyState::Retiring),
];

/// `a.example` as its owner would have it.
fn zone() -> Zone {
    let zone = Zone::default();
    zone.txt("a.example", "v=spf1 ip4:192.0.2.0/24 -all");
    zone.txt("mx.a.example", "v=spf1 a -all");
    zone.add("mx.a.example", Record::A(Ipv4Addr::new(192, 0, 2, 1)));
    zone.add("1.2.0.192.in-addr.arpa", Record::Ptr("mx.a.example".to_owned()));
    zone.txt("_dmarc.a.example", "v=DMARC1; p=reject; sp=quarantine; rua=mailto:r@a.example");
    zone
}

#[test]
fn a_good_message_passes_everything() {
    let zone = zone();
    let message = signed(&signer(&zone, "a.example", &KEYS), MESSAGE);
    let verdicts = verify(&zone, "ann@a.example", &message);
    assert_eq!(verdicts.iprev.result, IprevResult::Pass);
    assert_eq!((verdicts.spf_helo.result, verdicts.spf.result), (SpfResult::Pass, SpfResult::Pass));
    // Two keys sign; the one that retires does not.
    assert_eq!(verdicts.dkim.iter().map(|dkim| dkim.result).collect::<Vec<_>>(), [DkimResult::Pass; 2]);
    assert_eq!(verdicts.dkim[0].key_bits, 2048);
    assert_eq!(verdicts.arc.result, ArcResult::None);
    assert_eq!((verdicts.dmarc.result, verdicts.disposition), (DmarcResult::Pass, Policy::None));
    let mark = &verdicts.dkim[0].mark;
    assert!(
        verdicts.header.starts_with("Authentication-Results: mx.here.example;\r\n iprev=pass (mx.a.example)")
    );
    // A mark with a slash or a plus sign is quoted.
    let results = verdicts.results.replace('"', "");
    assert!(results.contains(&format!("header.s=rsa header.a=rsa-sha256 header.b={mark}; dkim=pass")));
    assert!(verdicts.results.ends_with("arc=none; dmarc=pass header.from=a.example policy.dmarc=reject"));
}

#[test]
fn what_changes_on_the_way_is_seen() {
    let zone = zone();
    let message = signed(&signer(&zone, "a.example", &KEYS[..1]), MESSAGE);
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(message.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        verify(&zone, "x@c.example", text.replacen(from, to, 1).as_bytes())
    };
    // Relaxed: blanks may change, and nothing else.
    assert_eq!(changed("Subject: one\r\n  two", "SUBJECT:one two ").dkim[0].result, DkimResult::Pass);
    assert_eq!(changed("Hello  there", "Hello there").dkim[0].result, DkimResult::Pass);
    for (from, to, trouble) in [
        ("Hello", "Hallo", Trouble::BodyChanged),
        ("Subject: one", "Subject: two", Trouble::SignatureWrong),
        ("To: bob", "Cc: eve@e.example\r\nTo: bob", Trouble::SignatureWrong),
        ("To: bob", "From: eve@e.example\r\nTo: bob", Trouble::SignatureWrong),
        ("s=rsa", "s=ed", Trouble::NoKey),
        ("d=a.example", "d=a.slow", Trouble::NoAnswer),
        ("h=from", "h=fron", Trouble::SignatureWrong),
    ] {
        let verdicts = changed(from, to);
        assert_eq!(verdicts.dkim[0].trouble, Some(trouble), "{from} to {to}");
        assert_ne!(verdicts.dmarc.result, DmarcResult::Pass);
    }
}

#[test]
fn nothing_is_signed_that_should_not_be() {
    let zone = zone();
    let signer = signer(&zone, "a.example", &KEYS[..1]);
    let options = SignOptions { now: NOW, valid_s: 0 };
    for message in [&b"To: a@b\r\n\r\n"[..], b"From: a@b\r\nFrom: c@d\r\n\r\n"] {
        assert_eq!(run(signer.sign(&Message::parse(message), options)), Err(SignError::BadFrom));
    }
}

#[test]
fn many_signatures_are_not_all_verified() {
    let zone = zone();
    let mut message = MESSAGE.to_vec();
    let signer = signer(&zone, "a.example", &KEYS[1..2]);
    for _ in 0..20 {
        message = signed(&signer, &message);
    }
    let before = zone.asked.get();
    let verdicts = verify(&zone, "", &message);
    assert_eq!(verdicts.dkim.len(), 11);
    assert!(verdicts.dkim[..10].iter().all(|dkim| dkim.result == DkimResult::Pass));
    assert_eq!(
        (verdicts.dkim[10].result, verdicts.dkim[10].trouble),
        (DkimResult::Policy, Some(Trouble::TooMany))
    );
    assert!(zone.asked.get() - before < 15, "one key is asked for once");
}

#[test]
fn work_has_bounds() {
    let zone = zone();
    let signer = signer(&zone, "a.example", &KEYS[1..2]);
    // Each signature wants another part of the body hashed.
    let one = String::from_utf8(signed(&signer, MESSAGE)).unwrap();
    let (field, message) = one.split_once("From: ").unwrap();
    let many: String = (1..8).map(|length| field.replacen("t=", &format!("l={length}; t="), 1)).collect();
    let dkim = verify(&zone, "", format!("{many}From: {message}").as_bytes()).dkim;
    let troubles: Vec<_> = dkim.iter().map(|dkim| dkim.trouble.unwrap()).collect();
    assert_eq!(troubles[3..5], [Trouble::BodyChanged, Trouble::TooMany]);
    // A megabyte of header.
    let big = format!("Subject: {}\r\n{}", "x".repeat(1024 * 1024), String::from_utf8_lossy(MESSAGE));
    let dkim = verify(&zone, "", &signed(&signer, big.as_bytes())).dkim;
    assert_eq!((dkim[0].result, dkim[0].trouble), (DkimResult::Policy, Some(Trouble::TooLarge)));
    // A chain with long results.
    let set = format!(
        "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=s; b=YWJj\r\n\
        ARC-Message-Signature: i=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=YWJj; b=YWJj\r\n\
        ARC-Authentication-Results: i=1; {}\r\n",
        "x".repeat(256 * 1024)
    );
    let arc = verify(&zone, "", format!("{set}{}", String::from_utf8_lossy(MESSAGE)).as_bytes()).arc;
    assert_eq!((arc.result, arc.trouble), (ArcResult::Fail, Some(Trouble::TooLarge)));
}

#[test]
fn policies_apply_to_who_fails() {
    let zone = zone();
    zone.txt("_dmarc.suffix", "v=DMARC1; p=none; np=reject; psd=y");
    zone.txt("_dmarc.test.example", "v=DMARC1; p=reject; t=y");
    zone.txt("_dmarc.strict.example", "v=DMARC1; p=reject; aspf=s");
    zone.txt("_dmarc.twice.example", "v=DMARC1; p=reject");
    zone.txt("_dmarc.twice.example", "v=DMARC1; p=none");
    zone.txt("_dmarc.broken.example", "v=DMARC1; p=reject; what");
    zone.txt("sub.a.example", "anything");
    zone.txt("sub.strict.example", "v=spf1 +all");
    for (from, mail_from, result, found, policy) in [
        ("x@a.example", "x@other.example", DmarcResult::Fail, Some(Found::Author), Policy::Reject),
        ("x@a.example", "x@a.example", DmarcResult::Pass, Some(Found::Author), Policy::Reject),
        ("x@sub.a.example", "x@a.example", DmarcResult::Pass, Some(Found::Organisation), Policy::Quarantine),
        ("x@sub.a.example", "", DmarcResult::Pass, Some(Found::Organisation), Policy::Quarantine),
        ("x@test.example", "x@c.example", DmarcResult::Fail, Some(Found::Author), Policy::Quarantine),
        ("x@new.suffix", "x@c.example", DmarcResult::Fail, Some(Found::PublicSuffix), Policy::Reject),
        ("x@strict.example", "x@sub.strict.example", DmarcResult::Fail, Some(Found::Author), Policy::Reject),
        ("x@twice.example", "x@c.example", DmarcResult::None, None, Policy::None),
        ("x@broken.example", "x@c.example", DmarcResult::PermError, Some(Found::Author), Policy::None),
        ("x@c.example", "x@c.example", DmarcResult::None, None, Policy::None),
        ("x@b.slow", "x@c.example", DmarcResult::TempError, None, Policy::None),
        ("nobody", "x@c.example", DmarcResult::PermError, None, Policy::None),
    ] {
        let message = format!("From: {from}\r\n\r\nx\r\n");
        let dmarc = verify(&zone, mail_from, message.as_bytes()).dmarc;
        let found_as = dmarc.policy_domain.as_ref().map(|(_, found)| *found);
        assert_eq!((dmarc.result, found_as, dmarc.policy), (result, found, policy), "{from} by {mail_from}");
    }
}

#[test]
fn a_second_author_hides_nothing() {
    let zone = zone();
    for header in [
        "From: x@c.example, ceo@a.example",
        "From: ceo@a.example, nonsense",
        "From: x@c.example\r\nFrom: ceo@a.example",
        "From: ceo@a.example\r\nFrom: x@c.example",
        "From: group: ceo@a.example;",
        "From: \"x@c.example\" <ceo@A.Example.>",
    ] {
        let message = format!("{header}\r\n\r\nx\r\n");
        let verdicts = verify(&zone, "x@c.example", message.as_bytes());
        assert_eq!(
            (verdicts.dmarc.result, verdicts.disposition),
            (DmarcResult::Fail, Policy::Reject),
            "{header}"
        );
    }
}

#[test]
fn an_unsure_result_is_no_failure() {
    let zone = zone();
    let signer = signer(&zone, "a.example", &KEYS[1..2]);
    let message = signed(&signer, MESSAGE);
    let text = String::from_utf8(message).unwrap().replacen("s=ed", "s=slow", 1);
    let verdicts = verify(&zone, "x@c.example", text.as_bytes());
    assert_eq!(
        (verdicts.dkim[0].result, verdicts.dmarc.result),
        (DkimResult::TempError, DmarcResult::TempError)
    );
    zone.txt("late.example", "v=spf1 include:x.slow -all");
    zone.txt("_dmarc.late.example", "v=DMARC1; p=reject");
    let verdicts = verify(&zone, "x@late.example", b"From: x@late.example\r\n\r\n");
    assert_eq!((verdicts.spf.result, verdicts.dmarc.result), (SpfResult::TempError, DmarcResult::TempError));
    assert_eq!(verdicts.disposition, Policy::None);
}

#[test]
fn chains_are_sealed_and_verified() {
    let zone = zone();
    let key = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap();
    zone.txt("s._domainkey.list.example", &key.record().unwrap());
    let sealer = Sealer { domain: "list.example", selector: "s", key: &key };
    let mut message = signed(&signer(&zone, "a.example", &KEYS[1..2]), MESSAGE);
    for hop in 1..=50 {
        let verdicts = verify(&zone, "ann@a.example", &message);
        let mut sealed =
            run(sealer.seal(&Message::parse(&message), &verdicts.arc, &verdicts.results, NOW)).unwrap();
        sealed.extend_from_slice(&message);
        message = sealed;
        let arc = verify(&zone, "", &message).arc;
        assert_eq!((arc.result, arc.sealers.len()), (ArcResult::Pass, hop), "{:?}", arc.trouble);
        assert!(arc.results.starts_with("mx.here.example; iprev=pass"), "{}", arc.results);
    }
    let arc = verify(&zone, "", &message).arc;
    let seal = |message: &[u8], arc: &Arc| run(sealer.seal(&Message::parse(message), arc, "x; none", NOW));
    assert_eq!(seal(&message, &arc), Err(SealError::ChainTooLong));
    let text = String::from_utf8(message).unwrap();
    for (from, to) in [
        ("Hello", "Hallo"),
        ("i=7; mx.here.example", "i=7; mx.her.example"),
        ("ARC-Seal: i=9;", "ARC-Seal: i=8;"),
        ("ARC-Seal: i=9;", "X-Seal: i=9;"),
        ("i=1; a=ed25519-sha256; cv=none", "i=1; a=ed25519-sha256; cv=pass"),
        ("cv=pass", "cv=fail"),
        ("cv=pass", "h=from; cv=pass"),
    ] {
        assert!(text.contains(from), "{from}");
        let broken = text.replacen(from, to, 1);
        let arc = verify(&zone, "", broken.as_bytes()).arc;
        assert_eq!(arc.result, ArcResult::Fail, "{from} to {to}");
        assert_eq!(seal(broken.as_bytes(), &arc), Err(SealError::ChainFailed));
    }
}

#[test]
fn addresses_without_names_are_told_apart() {
    let zone = Zone::default();
    let iprev = |ip: &str| run(mailauth::iprev::check(&zone, ip.parse().unwrap())).result;
    assert_eq!(iprev("192.0.2.9"), IprevResult::PermError);
    zone.add("9.2.0.192.in-addr.arpa", Record::Ptr("gone.example".to_owned()));
    assert_eq!(iprev("192.0.2.9"), IprevResult::Fail);
    zone.add("9.2.0.192.in-addr.arpa", Record::Ptr("a.slow".to_owned()));
    assert_eq!(iprev("192.0.2.9"), IprevResult::TempError);
    zone.add("9.2.0.192.in-addr.arpa", Record::Ptr("here.example".to_owned()));
    zone.add("here.example", Record::A(Ipv4Addr::new(192, 0, 2, 9)));
    assert_eq!(iprev("::ffff:192.0.2.9"), IprevResult::Pass);
}

#[test]
fn reports_go_where_they_are_wanted() {
    let zone = zone();
    zone.txt("a.example._report._dmarc.reports.example", "v=DMARC1");
    let addresses = ["r@a.example", "r@sub.a.example", "r@reports.example", "r@victim.example", "r@x.slow"];
    // One of them is named twice.
    let addresses = [&addresses[..], &addresses[..1]].concat();
    let addresses: Vec<_> = addresses
        .into_iter()
        .map(|address| ReportAddress { address: address.to_owned(), bytes_max: None })
        .collect();
    let targets = run(report_targets(&zone, "a.example", &addresses));
    let may: Vec<_> = targets.iter().map(|target| target.may_receive).collect();
    assert_eq!(may, [Some(true), Some(true), Some(true), Some(false), None]);
}

#[test]
fn verdicts_become_rows() {
    let zone = zone();
    let message = signed(&signer(&zone, "a.example", &KEYS[1..2]), MESSAGE);
    let ip = "::ffff:192.0.2.1".parse().unwrap();
    let good = verify(&zone, "x@c.example", &message);
    let row = Row::of(&good, ip, Disposition::Reject);
    assert_eq!(
        (row.disposition, row.has_aligned_dkim, row.has_aligned_spf),
        (Disposition::Pass, true, false)
    );
    assert_eq!((row.source_ip.to_string().as_str(), row.header_from.as_str()), ("192.0.2.1", "a.example"));
    assert_eq!((row.dkim[0].result.as_str(), row.spf[0].result.as_str()), ("pass", "none"));
    let published = Published::of(&good.dmarc).unwrap();
    assert_eq!((published.domain.as_str(), published.policy), ("a.example", Some(Policy::Reject)));
    let bad = verify(&zone, "x@c.example", MESSAGE);
    assert_eq!(Row::of(&bad, ip, Disposition::Quarantine).disposition, Disposition::Quarantine);
    let unknown = verify(&zone, "x@c.example", b"From: x@c.example\r\n\r\n");
    assert_eq!(Published::of(&unknown.dmarc), None);
    // What is written can be read again, whatever is done to it on the way.
    let report = Aggregate {
        reporter: "here".to_owned(),
        id: "1".to_owned(),
        published,
        rows: vec![row],
        ..Aggregate::default()
    };
    let xml = write(&report);
    assert_eq!(read(xml.as_bytes()), Ok(report));
    let packed = pack(xml.as_bytes());
    let mut random = Random::new(11);
    for _ in 0..3000 {
        for whole in [xml.as_bytes(), &packed] {
            let mut bytes = whole.to_vec();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
            bytes.truncate(bytes.len() - random.below(bytes.len() as u64 / 4) as usize);
            let _ = unpack(&bytes).map(|text| read(&text));
        }
    }
}

#[test]
fn a_failure_report_tells_what_failed() {
    let zone = zone();
    let message = signed(&signer(&zone, "a.example", &KEYS[1..2]), MESSAGE);
    let text = String::from_utf8(message).unwrap().replacen("Hello", "Hallo", 1);
    let verdicts = verify(&zone, "x@c.example", text.as_bytes());
    let failed = Failed {
        verdicts: &verdicts,
        ip: "192.0.2.1".parse().unwrap(),
        mail_from: "x@c.example",
        arrived_at: NOW,
        header: text.as_bytes(),
        delivery: "reject",
    };
    let envelope =
        Envelope { from: "d@here.example", to: "r@a.example", submitter: "here.example", now: NOW };
    let report = String::from_utf8(failure_report(&failed, &envelope).unwrap()).unwrap();
    for line in [
        "Content-Type: message/feedback-report\r\n",
        "Feedback-Type: auth-failure\r\n",
        "Auth-Failure: dmarc\r\n",
        "Identity-Alignment: none\r\n",
        "Source-IP: 192.0.2.1\r\n",
        "Reported-Domain: a.example\r\n",
        "DKIM-Selector: ed\r\n",
        "Subject: one\r\n  two\r\n",
    ] {
        assert!(report.contains(line), "{line}{report}");
    }
    assert!(!report.contains("Hallo"), "the body stays here");
    assert_eq!(failure_report(&failed, &Envelope { to: "r\r\nX: y", ..envelope }), None);
}

/// What a stranger sends is a value: mutated messages and records give results, not panics.
#[test]
fn noise_is_survived() {
    let zone = zone();
    let key = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap();
    zone.txt("s._domainkey.list.example", &key.record().unwrap());
    let sealer = Sealer { domain: "list.example", selector: "s", key: &key };
    let message = signed(&signer(&zone, "a.example", &KEYS), MESSAGE);
    let arc = verify(&zone, "", &message).arc;
    let mut whole = run(sealer.seal(&Message::parse(&message), &arc, "x; none", NOW)).unwrap();
    whole.extend_from_slice(&message);
    let mut random = Random::new(7);
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.next_u64() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b";=\r\n \0\"(@."[random.below(10) as usize]),
            }
        }
        let verdicts = verify(&zone, "ann@a.example", &bytes);
        let lines = verdicts.header.split("\r\n");
        assert!(lines.skip(1).all(|line| line.is_empty() || line.starts_with(' ')), "{}", verdicts.header);
        let _ = mailauth::results::strip_forged(&bytes, "mx.here.example");
        let _ = mailauth::report::aggregate_of_mail(&bytes);
    }
    let record =
        "v=spf1 a:%{d2r.}/24//64 mx include:%{l}.x exists:%{ir}.y ptr ip6:::1 redirect=a.example exp=e.%{d}";
    for _ in 0..3000 {
        let mut bytes = record.as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = 7 + random.below(bytes.len() as u64 - 7) as usize;
            bytes[at] = b" %{}./:=+-~?aemx0\xff"[random.below(18) as usize];
        }
        let zone = Zone::default();
        zone.add("n.example", Record::Txt(bytes.clone()));
        zone.add("_dmarc.n.example", Record::Txt([b"v=DMARC1;".to_vec(), bytes].concat()));
        verify(&zone, "x@n.example", b"From: x@n.example\r\n\r\n");
    }
}

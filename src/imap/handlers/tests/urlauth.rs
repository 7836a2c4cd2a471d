//! What URLs are worth on an account: what a transcript cannot forge.

use alloc::string::{String, ToString};

use base::{Secret, Timestamp};

use super::Fixture;
use crate::url::hex;
use crate::{Url, UrlError, UrlProof, url_size};

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nx\r\n";
const RUMP: &str = "imap://ann@h/INBOX/;UID=1;URLAUTH=authuser";

fn proven(rump: &str, mechanism: &str, key: [u8; 32]) -> Url {
    let token = auth::url_token(&Secret::new(key), rump.as_bytes());
    Url::parse(&[rump, ":", mechanism, ":", &hex(&token)].concat()).unwrap()
}

fn size(fixture: &Fixture, url: &Url, proof: UrlProof) -> Result<u32, UrlError> {
    url_size(&fixture.account, url, proof, fixture.now)
}

#[test]
fn only_the_mailboxs_own_key_and_mechanism_prove_a_url() {
    let fixture = Fixture::new(&[MESSAGE]);
    let url = |mechanism, key| proven(RUMP, mechanism, [key; 32]);
    // The sum is made without a key too, and proves nothing then.
    for key in [0, 5] {
        assert_eq!(size(&fixture, &url("INTERNAL", key), UrlProof::Token), Err(UrlError::Denied));
    }
    let given = fixture.account.provide_access_key(fixture.inbox(), Secret::new([5; 32]));
    super::run(given).0.unwrap();
    assert_eq!(size(&fixture, &url("INTERNAL", 5), UrlProof::Token), Ok(MESSAGE.len() as u32));
    // Whose account it is counts for nothing where there is a grant.
    for (mechanism, key) in [("INTERNAL", 0), ("INTERNAL", 6), ("XSAMPLE", 5)] {
        for proof in [UrlProof::Token, UrlProof::Owner] {
            assert_eq!(size(&fixture, &url(mechanism, key), proof), Err(UrlError::Denied));
        }
    }
    let unproven = Url::parse(RUMP).unwrap();
    assert_eq!(size(&fixture, &unproven, UrlProof::Owner), Err(UrlError::Denied));
    // The key is not another mailbox's.
    let other = proven(&RUMP.replace("INBOX", "Sent"), "INTERNAL", [5; 32]);
    assert_eq!(size(&fixture, &other, UrlProof::Token), Err(UrlError::Denied));
}

#[test]
fn a_url_without_a_grant_is_for_its_owner_and_one_that_ran_out_for_nobody() {
    let mut fixture = Fixture::new(&[MESSAGE]);
    let plain = Url::parse("imap://h/INBOX/;UID=1").unwrap();
    assert_eq!(size(&fixture, &plain, UrlProof::Token), Err(UrlError::Denied));
    assert_eq!(size(&fixture, &plain, UrlProof::Owner), Ok(MESSAGE.len() as u32));
    let given = fixture.account.provide_access_key(fixture.inbox(), Secret::new([5; 32]));
    super::run(given).0.unwrap();
    let last = Timestamp::from_s(fixture.now.as_s() + 60);
    let rump: String =
        RUMP.replace(";URLAUTH", &[";EXPIRE=", &base::Rfc3339(last).to_string(), ";URLAUTH"].concat());
    let url = proven(&rump, "INTERNAL", [5; 32]);
    for (now, is_held) in [(fixture.now, true), (last, true), (Timestamp::from_ms(last.as_ms() + 1), false)] {
        fixture.now = now;
        assert_eq!(size(&fixture, &url, UrlProof::Token).is_ok(), is_held, "{now:?}");
    }
}

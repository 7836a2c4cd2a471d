//! Mailboxes taken apart as far as return paths need it.

/// Local part and domain, at the last `@`; neither is empty.
pub(crate) fn split_mailbox(address: &str) -> Option<(&str, &str)> {
    address.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// `Dot-string` (RFC 5321 §4.1.2), with the letters beyond ASCII of RFC 6531 §3.3: what stands without quotes.
pub(crate) fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| {
        let is_atext = |character: char| {
            character.is_ascii_alphanumeric()
                || "!#$%&'*+-/=?^_`{|}~".contains(character)
                || (!character.is_ascii() && !character.is_control() && !character.is_whitespace())
        };
        !atom.is_empty() && atom.chars().all(is_atext)
    })
}

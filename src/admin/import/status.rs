//! The fields in which mbox programs keep what is no part of a message: Status, X-Status, X-Keywords.
//! An export writes them, an import takes them away again.

/// Letters of X-Status.
const STATES: [(u8, &str); 4] =
    [(b'A', "\\Answered"), (b'F', "\\Flagged"), (b'T', "\\Draft"), (b'D', "\\Deleted")];

/// The lines for these flags and keywords, each ended by LF.
pub(crate) fn fields(flags: &[&str]) -> String {
    let mut text = String::from(if flags.contains(&"\\Seen") { "Status: RO\n" } else { "Status: O\n" });
    let states: String = STATES
        .iter()
        .filter(|(_, flag)| flags.contains(flag))
        .map(|(letter, _)| char::from(*letter))
        .collect();
    if !states.is_empty() {
        text.extend(["X-Status: ", &states, "\n"]);
    }
    let keywords: Vec<&str> = flags.iter().copied().filter(|flag| !flag.starts_with('\\')).collect();
    if !keywords.is_empty() {
        text.extend(["X-Keywords: ", &keywords.join(" "), "\n"]);
    }
    text
}

/// A message without those fields, and the flags that they tell.
pub(crate) fn taken(message: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut rest = Vec::with_capacity(message.len());
    let mut flags = Vec::new();
    let (mut is_ours, mut end) = (false, 0);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.trim_ascii_end().is_empty() {
            break;
        }
        end += line.len();
        // A line that begins with a space goes on with the field before (RFC 5322 §2.2.3).
        let is_more = line.starts_with(b" ") || line.starts_with(b"\t");
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) if !is_more => line.split_at(colon),
            _ => (line.get(..0).unwrap_or_default(), line),
        };
        if !is_more {
            is_ours = ["Status", "X-Status", "X-Keywords"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        }
        if !is_ours {
            rest.extend_from_slice(line);
            continue;
        }
        flags.extend(told(name, value));
    }
    rest.extend_from_slice(message.get(end..).unwrap_or_default());
    (rest, flags)
}

/// What one line tells; a line that goes on with X-Keywords has no name.
fn told(name: &[u8], value: &[u8]) -> Vec<String> {
    let value = value.strip_prefix(b":").unwrap_or(value);
    if name.eq_ignore_ascii_case(b"Status") {
        return if value.contains(&b'R') { vec!["\\Seen".to_owned()] } else { Vec::new() };
    }
    if name.eq_ignore_ascii_case(b"X-Status") {
        let told = STATES.iter().filter(|(letter, _)| value.contains(letter));
        return told.map(|(_, flag)| (*flag).to_owned()).collect();
    }
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.filter_map(|word| String::from_utf8(word.to_vec()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_taken_away_again() {
        let flags = ["\\Seen", "\\Flagged", "$Forwarded", "work"];
        let message = format!(
            "Subject: x\r\n more\r\n{}\r\nStatus: of the body\r\n",
            fields(&flags).replace('\n', "\r\n")
        );
        let (rest, found) = taken(message.as_bytes());
        assert_eq!(rest, b"Subject: x\r\n more\r\n\r\nStatus: of the body\r\n");
        assert_eq!(found, flags);
    }

    #[test]
    fn folded_keywords_are_read_and_a_message_without_any_stays_as_it_is() {
        let (rest, found) = taken(b"X-Keywords: a\r\n b\r\nSubject: x\r\n\r\n");
        assert_eq!(
            (rest.as_slice(), found),
            (b"Subject: x\r\n\r\n".as_slice(), vec!["a".into(), "b".into()])
        );
        for plain in [b"".as_slice(), b"\r\nStatus: RO\r\n", b"no header at all", b" odd\r\nA: b\r\n\r\n"] {
            assert_eq!(taken(plain), (plain.to_vec(), Vec::new()));
        }
    }
}

//! Tests of rules as an operator writes them, and of what they do to messages.

mod disclaimers;
mod faults;
mod flow;
mod fuzz;
mod guide;
mod properties;
mod speed;
mod stages;

use crate::{Flow, Policy};

/// No list of these tests is in a file.
fn no_file(path: &str) -> Result<String, String> {
    Err(format!("{path} is not there"))
}

fn policy(text: &str) -> Policy {
    Policy::parse(text, &no_file).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

fn flow(text: &str) -> Flow {
    Flow::parse(text, &no_file).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// Text with its line ends as in a message.
fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

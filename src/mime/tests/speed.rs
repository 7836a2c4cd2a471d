//! Bytes a second, for a release build: `cargo test --release -p mime --test speed -- --ignored --nocapture`.

use mime::{Needle, scan, text_matches};

const MIB: usize = 1024 * 1024;

#[test]
#[ignore = "a measurement, meaningful in a release build alone"]
fn scanning_and_searching_keep_up_with_a_disk() {
    let line = "The quick brown fox jumps over the lazy dog, as it has done so many times before\r\n";
    let text = line.repeat(32 * MIB / line.len());
    let plain = format!("Subject: x\r\n\r\n{text}");
    let encoded = "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZywgYXMgaXQgaGFzIGRvbmU=\r\n"
        .repeat(4 * MIB / 80);
    let part =
        format!("--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}");
    let multipart = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", part.repeat(8));
    let dashes =
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--a\r\n".repeat(32 * MIB / 5));
    for (name, message) in [("plain text", &plain), ("multipart", &multipart), ("dashes", &dashes)] {
        measure(&format!("scan {name}"), message, || assert!(!scan(message.as_bytes()).parts().is_empty()));
        let tree = scan(message.as_bytes());
        for needle in ["lazy cat", "größer"] {
            let needle = Needle::new(needle);
            measure(&format!("search {name}"), message, || {
                assert!(!text_matches(message.as_bytes(), &tree, &needle));
            });
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn measure(name: &str, message: &str, run: impl FnOnce()) {
    let start = std::time::Instant::now();
    run();
    let rate = f64::from(message.len() as u32) / start.elapsed().as_secs_f64() / 1e6;
    println!("{name:20} {rate:8.0} MB/s");
    assert!(!name.starts_with("scan plain") || cfg!(debug_assertions) || rate > 500.0);
}

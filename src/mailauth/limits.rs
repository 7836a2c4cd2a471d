//! Every bound of the checks, with its unit and clause.

/// Mechanisms and modifiers of one SPF evaluation that ask the name server (RFC 7208 §4.6.4).
pub const SPF_LOOKUPS_MAX: u32 = 10;
/// Questions of one SPF evaluation that find nothing (RFC 7208 §4.6.4).
pub const SPF_VOID_LOOKUPS_MAX: u32 = 2;
/// Exchangers that one `mx` mechanism resolves; one more is an error (RFC 7208 §4.6.4).
pub const SPF_MX_HOSTS_MAX: usize = 10;
/// Names of a reverse lookup that are looked at (RFC 7208 §4.6.4 and, for iprev, RFC 8601 §3).
pub const PTR_NAMES_MAX: usize = 10;
/// Bytes of an SPF record. RFC 7208 §3.4 wants 450 for answers over UDP; a record that needs more comes over TCP.
pub const SPF_RECORD_BYTES_MAX: usize = 8 * 1024;
/// Bytes of an expanded SPF macro string: names end at 253, explanations may be longer.
pub const SPF_EXPANSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of an explanation; it has to fit into a reply line (RFC 5321 §4.5.3.1.5) with what we say ourselves.
pub const SPF_EXPLANATION_BYTES_MAX: usize = 400;

/// Bytes of a domain name in text without its last dot (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of one label (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// Signatures of one message that are verified; the others are reported as not looked at. RFC 6376
/// §6.1 lets a verifier stop.
pub const DKIM_SIGNATURES_MAX: usize = 10;
/// Names in a signature's `h=`.
pub const DKIM_SIGNED_FIELDS_MAX: usize = 1000;
/// Tags of one tag list; more is a syntax error. No standard list has 20.
pub const TAGS_MAX: usize = 64;
/// Bytes of a signature field or of a TXT record with tags.
pub const TAG_LIST_BYTES_MAX: usize = 16 * 1024;
/// Bits of the smallest RSA key whose signatures count (RFC 8301 §3.2).
pub const RSA_BITS_MIN: usize = 1024;
/// Different hashes of one body that signatures may want: two forms, with and without a length.
pub const BODY_HASHES_MAX: usize = 4;
/// Bytes of a body that are hashed before others on the thread have their turn: some 0.2 ms.
pub const HASH_TURN_BYTES: usize = 128 * 1024;
/// Bytes of the fields under one signature.
pub const SIGNED_HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Key records at one selector that are tried.
pub const KEY_RECORDS_MAX: usize = 3;
/// Keys that sign for one domain at the same time.
pub const SIGNING_KEYS_MAX: usize = 8;

/// Seconds that a signer's clock may run ahead of ours.
pub const CLOCK_SKEW_S: i64 = 300;

/// Sets of one ARC chain (RFC 8617 §4.2.1).
pub const ARC_SETS_MAX: u32 = 50;
/// Bytes of all fields of a chain. Each seal is verified over all fields before it, so that the work grows with
/// the square.
pub const ARC_BYTES_MAX: usize = 256 * 1024;

/// Questions of one DMARC tree walk (RFC 9989 §4.10).
pub const DMARC_WALK_QUERIES_MAX: usize = 8;
/// Domains in one message's From that are evaluated.
pub const DMARC_AUTHORS_MAX: usize = 5;
/// Report addresses that are taken from one record (RFC 9990 §3.5 asks for two at least).
pub const DMARC_REPORT_ADDRESSES_MAX: usize = 10;

/// Bytes of a value in a results field; the rest is cut off.
pub const RESULT_VALUE_BYTES_MAX: usize = 320;

/// Parts of a message that are unpacked to look whether they are a report.
pub const REPORT_PARTS_MAX: usize = 4;

/// Bytes of a report that came packed, as it came.
pub const REPORT_PACKED_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes of a report when unpacked.
pub const REPORT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows that are taken from one aggregate report.
pub const AGGREGATE_ROWS_MAX: usize = 50_000;
/// Signatures, SPF results, reasons or errors that are taken from one row or report.
pub const AGGREGATE_LIST_MAX: usize = 100;
/// Elements inside each other.
pub const XML_DEPTH_MAX: usize = 16;
/// Elements in one child of the root.
pub const XML_NODES_MAX: usize = 5000;
/// Bytes of an element's text that are kept.
pub const XML_TEXT_BYTES_MAX: usize = 1024;

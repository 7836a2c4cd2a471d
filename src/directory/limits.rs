//! Every bound of the directory, with its unit and where it comes from.

/// Bytes of a local part (RFC 5321 §4.5.3.1.1), without quotes.
pub const LOCAL_BYTES_MAX: usize = 64;

/// Bytes of a domain name in its A-label form (RFC 1035 §2.3.4 less the root's dot).
pub const DOMAIN_BYTES_MAX: usize = 253;

/// Bytes of an address, `@` included: a path of 256 (RFC 5321 §4.5.3.1.3) less its two brackets.
pub const ADDRESS_BYTES_MAX: usize = 254;

/// How many aliases may stand between an address and an account.
pub const ALIAS_DEPTH_MAX: usize = 8;

/// Targets of one alias.
pub const ALIAS_TARGETS_MAX: usize = 1_000;

/// Addresses that one address may expand to, over all aliases it passes.
pub const EXPANSION_TARGETS_MAX: usize = 10_000;

/// Look-ups of one kind that a shard remembers.
pub const CACHE_ENTRIES_MAX: usize = 8_192;

/// Targets of a resolution that a shard remembers; longer ones are asked for again.
pub const CACHED_TARGETS_MAX: usize = 64;

/// Keys of one domain that sign, wait or retire.
pub const DKIM_KEYS_MAX: usize = 8;

/// Bytes of a key's selector; with `._domainkey.` and its domain it is a name of [`DOMAIN_BYTES_MAX`] at most.
pub const SELECTOR_BYTES_MAX: usize = 63;

/// Bytes of an account's display name.
pub const DISPLAY_NAME_BYTES_MAX: usize = 512;

/// Who may send as one address or on behalf of it; an alias counts as one.
pub const DELEGATES_MAX: usize = 100;

/// Addresses whose delegates are looked at in one go when an alias is removed.
pub(crate) const DELEGATES_PER_READ: usize = 1_000;

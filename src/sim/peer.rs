//! What a transcript is played against.

/// A server seen from its clients: a session in memory, or a socket.
pub trait Peer {
    /// Opens a connection; gives what the server says first, as far as it is there.
    fn open(&mut self, connection: u32) -> Vec<u8>;

    /// Sends bytes; gives what has come since the last call, as far as it is there.
    fn send(&mut self, connection: u32, bytes: &[u8]) -> Vec<u8>;

    /// Moves time forward; gives what the server says on connection 1. What it says on others
    /// comes from [`Peer::more`].
    fn clock_ms(&mut self, ms: i64) -> Vec<u8>;

    /// Whether the server has closed the connection.
    fn is_closed(&self, connection: u32) -> bool;

    /// Gives what has come since the last call. Asked for when a line is expected that is not
    /// there yet: a socket waits here, and nothing means that nothing will come.
    fn more(&mut self, _connection: u32) -> Vec<u8> {
        Vec::new()
    }

    /// The client goes away without a word.
    fn close(&mut self, _connection: u32) {}

    /// A `key: value` line among the steps, such as `disk: fail next flush`. `Err` says why it
    /// cannot be.
    fn event(&mut self, key: &str, _value: &str) -> Result<(), String> {
        Err(format!("this peer knows no event `{key}:`"))
    }
}

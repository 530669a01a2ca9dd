//! Stand-in while the room is built.
/// The application's private key.
#[derive(Debug)]
pub struct SigningKey;

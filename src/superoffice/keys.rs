//! Stand-in while the room is built.
/// The login service's public keys.
#[derive(Debug)]
pub struct VerificationKeys;

//! Hostile bytes for soproxy's readers. Each target is a plain function: a fuzz binary feeds it, and so does `tests/it/fuzz.rs`
//! with all that was ever found. A target's sentence says what holds whatever comes, and its assertions can fail.

#![allow(missing_docs)]

mod exchange;
mod support;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

macro_rules! targets {
    ($($name:ident)*) => {
        $(pub mod $name;)*
        /// All of them.
        pub const ALL: &[Target] = &[$((stringify!($name), $name::check)),*];
    };
}

targets! { address config envelope gate headers jwt_claims links path_normal_form rest_reply rsa_key_value soap_reply state verification_keys }

//! `no_new_privs`: what no program that is run can give.

use super::Held;

/// From now on no program gets rights that its caller has not.
pub fn restrict() -> Held {
    match rustix::thread::set_no_new_privs(true) {
        Ok(()) => Held::Yes("no_new_privs".to_owned()),
        Err(error) => Held::Failed(format!("no_new_privs cannot be set: {error}")),
    }
}

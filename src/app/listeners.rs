//! Binds what a configuration names, or takes what a service manager has bound.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::Listening;
use crate::config::Config;
use crate::proxy::address::Door;
use crate::server::tls::{self, Tls};
use crate::server::{self, Handed, Listener, unix};

/// Binds `[listen]` and behind it `[[listeners]]`: each listener with its door.
pub(super) async fn bind(config: &Config, handed: &mut Handed) -> io::Result<(Vec<Listener>, Arc<[Door]>)> {
    let listen = &config.listen;
    let mut listeners = bind_all(&listen.addresses, &listen.sockets, listen.tls.as_ref(), handed).await?;
    let at = |door: &Door, listener: &Listener| Door { address: listener.local_addr(), tls: listener.tls().is_some(), ..door.clone() };
    let mut doors: Vec<Door> = listeners.iter().map(|listener| at(&Door::default(), listener)).collect();
    for bound in &config.listeners {
        let more = bind_all(&bound.addresses, &bound.sockets, bound.tls.as_ref(), handed).await?;
        let tenant = bound.tenant.as_deref().map(Into::into);
        let door = Door { tenant, public_url: bound.public_url.clone(), ..Door::default() };
        doors.extend(more.iter().map(|listener| at(&door, listener)));
        listeners.extend(more);
    }
    Ok((listeners, doors.into()))
}

/// Listeners that have their TLS in common.
pub(super) async fn bind_all(
    addresses: &[SocketAddr],
    sockets: &[unix::Place],
    files: Option<&tls::Files>,
    handed: &mut Handed,
) -> io::Result<Vec<Listener>> {
    // The files were good when the configuration was read; they may have changed since.
    let tls = files.map(|files| Tls::new(files.clone())).transpose().map_err(io::Error::other)?;
    let mut listeners = server::bind_or_take(addresses, handed).await?;
    for place in sockets {
        listeners.push(server::bind_or_take_unix(place, handed)?);
    }
    Ok(listeners.into_iter().map(|listener| listener.speaking(tls.clone())).collect())
}

/// All that is bound, for `/status`.
pub(super) fn listening(proxy: &[Listener], doors: &[Door], admin: &[Listener], push: &[Listener]) -> Vec<Listening> {
    let one = |listener: &Listener, serves, tenant: Option<&str>| {
        let unix = || listener.path().map(|path| format!("unix:{}", path.display()));
        let address = listener.local_addr().map(|address| address.to_string()).or_else(unix).unwrap_or_default();
        Listening { address, serves, tls: listener.tls().is_some(), tenant: tenant.map(str::to_owned) }
    };
    let own = proxy.iter().zip(doors).map(|(listener, door)| one(listener, "proxy", door.tenant.as_deref()));
    let admin = admin.iter().map(|listener| one(listener, "admin", None));
    own.chain(admin).chain(push.iter().map(|listener| one(listener, "state_changes", None))).collect()
}

//! `/metrics`: what was counted, and what is now, looked at when somebody asks.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;

use super::process::Process;
use super::{Readiness, TenantReadiness};
use crate::metrics::exposition::{Format, Page};
use crate::metrics::table;
use crate::proxy::{Proxy, Tenant};
use crate::reload::History;
use crate::ticket::cache::Status;

/// How a tenant may stand; see [`TenantReadiness::state`].
const STANDINGS: [&str; 7] = ["ready", "renewing", "idle", "failing", "refused", "not_running", "address_unknown"];

/// What there is to tell besides the proxy itself.
pub(super) struct Around<'a> {
    pub(super) readiness: &'a Readiness,
    pub(super) reloads: &'a History,
    pub(super) started: Timestamp,
}

/// The whole page.
pub(super) fn page(proxy: &Proxy, around: &Around<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    let common = &proxy.common;
    common.metrics.write(&mut page, &common.upstream.resting());
    page.one(&table::IN_FLIGHT, common.in_flight.now());
    page.one(&table::DOWNSTREAM, common.census.connections());
    let (entries, bytes) = common.cache.size();
    page.one(&table::CACHE_ENTRIES, entries);
    page.one(&table::CACHE_BYTES, bytes);
    page.one(&table::EVICTIONS, common.cache.evicted());
    page.one(&table::RECORDS_DROPPED, common.access_log.as_ref().map_or(0, |log| log.dropped()));
    write_tenants(&mut page, proxy, around.readiness);
    write_skew(&mut page, proxy);
    write_certificates(&mut page, proxy);
    write_reloads(&mut page, around);
    let build = [env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH];
    page.family(&table::BUILD).add(&build, true);
    page.one(&table::STARTED, seconds(around.started));
    write_process(&mut page, around.started);
    page.finish()
}

fn write_tenants(page: &mut Page, proxy: &Proxy, readiness: &Readiness) {
    page.one(&table::READY, readiness.ready);
    let stands = |standing: &str| readiness.tenants.values().filter(|tenant| tenant.state == standing).count();
    let mut tenants = page.family(&table::TENANTS);
    STANDINGS.into_iter().for_each(|standing| tenants.add(&[standing], stands(standing)));
    // Whoever is counted together with others has no numbers of its own.
    let told = |tenant: &&std::sync::Arc<Tenant>| tenant.counts.name() == &*tenant.name;
    let looks: Vec<Look<'_>> = proxy.routes.tenants().filter(told).filter_map(|tenant| Look::at(tenant, readiness)).collect();
    let mut each = |family, value: &dyn Fn(&Look<'_>) -> Option<f64>| {
        let mut samples = page.family(family);
        looks.iter().for_each(|look| value(look).into_iter().for_each(|value| samples.add(&[&look.tenant.name], value)));
    };
    each(&table::TENANT_READY, &|look| Some(f64::from(u8::from(look.readiness.can_serve))));
    each(&table::EXPIRES, &|look| Some(look.status.time_left?.as_secs_f64().round()));
    each(&table::GENERATION, &|look| Some(look.status.ticket?.0 as f64));
    each(&table::LAST_SUCCESS, &|look| {
        let (_, age) = look.status.ticket?;
        Some(seconds(proxy.common.clock.now().wall - age).round())
    });
    each(&table::PACE, &|look| look.governor.rate);
    each(&table::PAUSED, &|look| Some(look.governor.paused.as_secs_f64()));
    each(&table::WAITING, &|look| Some(look.governor.waiting as f64));
    let mut standings = page.family(&table::TENANT_STANDING);
    looks.iter().for_each(|look| standings.add(&[&look.tenant.name, look.readiness.state], true));
    let mut states = page.family(&table::TENANT_STATE);
    for look in &looks {
        if let Some(state) = &look.tenant.keeper.now().state {
            states.add(&[&look.tenant.name, state.condition.name()], true);
        }
    }
}

/// One look at a tenant.
struct Look<'a> {
    tenant: &'a Tenant,
    readiness: &'a TenantReadiness,
    status: Status,
    governor: crate::proxy::governor::Standing,
}

impl Look<'_> {
    fn at<'a>(tenant: &'a Tenant, readiness: &'a Readiness) -> Option<Look<'a>> {
        let readiness = readiness.tenants.get(&*tenant.name)?;
        Some(Look { tenant, readiness, status: tenant.tickets.status(), governor: tenant.governor.standing() })
    }
}

/// Tenants of one login service are told the same, but for how they ask it; the worst counts.
fn write_skew(page: &mut Page, proxy: &Proxy) {
    let mut skews: BTreeMap<String, f64> = BTreeMap::new();
    for tenant in proxy.routes.tenants() {
        let source = tenant.keeper.source();
        let skew = source.now().duration_since(proxy.common.clock.now().wall).as_secs_f64();
        // Two looks at a clock are not one.
        let skew = (skew * 10.0).round() / 10.0 + 0.0;
        let worst = skews.entry(source.login().to_string()).or_default();
        if skew.abs() > worst.abs() {
            *worst = skew;
        }
    }
    let mut samples = page.family(&table::SKEW);
    skews.iter().for_each(|(login, skew)| samples.add(&[login], *skew));
}

fn write_certificates(page: &mut Page, proxy: &Proxy) {
    // Several listeners may have one in common.
    let told: BTreeMap<_, _> = proxy.common.tls.iter().map(|tls| tls.expires()).collect();
    let mut certificates = page.family(&table::CERTIFICATE);
    for (file, at) in told {
        if let Some(since) = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            certificates.add(&[&file.to_string_lossy()], since.as_secs());
        }
    }
}

fn write_reloads(page: &mut Page, around: &Around<'_>) {
    let History { applied, failed, last, failure } = around.reloads;
    let mut reloads = page.family(&table::RELOADS);
    reloads.add(&["applied"], *applied);
    reloads.add(&["failed"], *failed);
    page.one(&table::RELOAD_OK, failure.is_none());
    page.one(&table::RELOADED, seconds(last.as_ref().map_or(around.started, |(at, _)| *at)));
}

/// Where the system tells it.
fn write_process(page: &mut Page, started: Timestamp) {
    let Some(process) = Process::now() else { return };
    page.one(&table::PROCESS_CPU, process.cpu_seconds);
    page.one(&table::PROCESS_RESIDENT, process.resident_bytes);
    page.one(&table::PROCESS_VIRTUAL, process.virtual_bytes);
    page.one(&table::PROCESS_THREADS, process.threads);
    if let Some(count) = process.open_fds {
        page.one(&table::PROCESS_FDS, count);
    }
    if let Some(count) = process.max_fds {
        page.one(&table::PROCESS_MAX_FDS, count);
    }
    page.one(&table::PROCESS_STARTED, seconds(started));
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

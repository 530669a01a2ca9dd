//! What was counted, on the page.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::{Cells, Sum, get};
use super::exposition::Page;
use super::labels::{CLASSES, METHODS, PHASES, STORED};
use super::tenants::TenantCounts;
use super::upstreams::PROTOCOLS;
use super::{Cause, Counters, Lookup, Metrics, Push, table};

impl Metrics {
    /// Writes all that was counted. `resting`: how many connections to each upstream have nothing to do.
    pub fn write(&self, page: &mut Page, resting: &BTreeMap<String, usize>) {
        let tenants = self.tenants.all();
        self.write_requests(page, &tenants);
        self.write_path(page);
        self.write_connections(page, resting);
        write_tickets(page, &tenants);
        page.family(&table::EXCHANGE_DURATION).histogram(&[], &Sum::of(std::iter::once(&self.exchanges)));
        let mut fetches = page.family(&table::STATE_FETCHES);
        let mut told = self.state_fetches.all();
        fetches.add(&["ok"], told.remove("ok").unwrap_or_default());
        told.into_iter().for_each(|(result, count)| fetches.add(&[result], count));
        let mut stored = page.family(&table::STORE_WRITES);
        STORED.into_iter().zip(&self.stored).for_each(|(result, count)| stored.add(&[result], get(count)));
    }

    /// Whoever has counted nothing is left out: with many tenants that is most of what there could be.
    fn write_requests(&self, page: &mut Page, tenants: &[Arc<TenantCounts>]) {
        let mut requests = page.family(&table::REQUESTS);
        for tenant in tenants {
            for (method, class) in (0..METHODS.len()).flat_map(|method| (0..CLASSES.len()).map(move |class| (method, class))) {
                let count: u64 = tenant.cells().map(|cells| cells.requests(method, class)).sum();
                if count > 0 {
                    requests.add(&[tenant.name(), METHODS[method], CLASSES[class]], count);
                }
            }
        }
        let mut errors = page.family(&table::ERRORS);
        for tenant in tenants {
            for (at, code) in self.codes.iter().enumerate() {
                let count: u64 = tenant.cells().map(|cells| cells.errors(at)).sum();
                // A code that nobody has met is there all the same, so that the first one is an increase.
                if count > 0 || tenant.name().is_empty() || *code == "internal_error" {
                    errors.add(&[tenant.name(), code], count);
                }
            }
        }
        for (family, which) in [(&table::REQUEST_BYTES, 0), (&table::RESPONSE_BYTES, 1)] {
            let mut bytes = page.family(family);
            for tenant in tenants {
                let of = |cells: &Cells| [cells.bytes().0, cells.bytes().1][which];
                bytes.add(&[tenant.name()], tenant.cells().map(of).sum::<u64>());
            }
        }
        let mut durations = page.family(&table::REQUEST_DURATION);
        for tenant in tenants {
            let sum = Sum::of(tenant.cells().map(Cells::durations));
            if !sum.is_empty() {
                durations.histogram(&[tenant.name()], &sum);
            }
        }
    }

    fn write_path(&self, page: &mut Page) {
        let sum = |counter: &dyn Fn(&Counters) -> u64| self.shards.iter().map(counter).sum::<u64>();
        let mut phases = page.family(&table::PHASES);
        for (at, phase) in PHASES.into_iter().enumerate() {
            phases.histogram(&[phase], &Sum::of(self.shards.iter().map(|shard| &shard.phases[at])));
        }
        let mut twice = page.family(&table::SENT_TWICE);
        for cause in Cause::ALL {
            twice.add(&[cause.name()], sum(&|shard| get(&shard.causes[cause as usize])));
        }
        let mut pushes = page.family(&table::STATE_PUSHES);
        for push in Push::ALL {
            pushes.add(&[push.name()], sum(&|shard| get(&shard.pushes[push as usize])));
        }
        let mut lookups = page.family(&table::CACHE_REQUESTS);
        for lookup in Lookup::ALL {
            lookups.add(&[lookup.name()], sum(&|shard| get(&shard.lookups[lookup as usize])));
        }
        // Which has ended has begun: in this order there are never less than none.
        let ended = sum(&|shard| get(&shard.tunnels_ended));
        page.one(&table::TUNNELS, sum(&|shard| get(&shard.tunnels)).saturating_sub(ended));
    }

    fn write_connections(&self, page: &mut Page, resting: &BTreeMap<String, usize>) {
        let upstreams = self.upstreams.all();
        let mut connections = page.family(&table::CONNECTIONS);
        for (name, counts) in &upstreams {
            let closed = counts.closed();
            let open = counts.opened().iter().sum::<u64>().saturating_sub(closed);
            let idle = resting.get(&**name).map_or(0, |count| *count as u64).min(open);
            connections.add(&[name, "busy"], open - idle);
            connections.add(&[name, "idle"], idle);
        }
        let mut opened = page.family(&table::OPENED);
        for (name, counts) in &upstreams {
            for (protocol, count) in PROTOCOLS.into_iter().zip(counts.opened()) {
                opened.add(&[name, protocol], count);
            }
        }
        let mut closed = page.family(&table::CLOSED);
        upstreams.iter().for_each(|(name, counts)| closed.add(&[name], counts.closed()));
        let mut failures = page.family(&table::CONNECT_FAILURES);
        upstreams.iter().for_each(|(name, counts)| failures.add(&[name], counts.failed()));
    }
}

/// Nobody's requests need no ticket.
fn write_tickets(page: &mut Page, tenants: &[Arc<TenantCounts>]) {
    let tenants = || tenants.iter().filter(|tenant| !tenant.name().is_empty());
    let mut refusals = page.family(&table::REFUSALS);
    tenants().for_each(|tenant| refusals.add(&[tenant.name()], tenant.few().0));
    let mut exchanges = page.family(&table::EXCHANGES);
    for tenant in tenants() {
        let (succeeded, failed) = tenant.exchanges();
        exchanges.add(&[tenant.name(), "success", ""], succeeded);
        failed.into_iter().for_each(|(code, count)| exchanges.add(&[tenant.name(), "failed", code], count));
    }
    let mut avoided = page.family(&table::AVOIDED);
    tenants().for_each(|tenant| avoided.add(&[tenant.name()], tenant.few().1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::super::exposition::Format;
    use super::super::{Ended, Phases};
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new(1, &["a", "b"]);
        let tenant = metrics.tenant("Cust1");
        let ended = |status, error, sent, took| Ended { method: &Method::GET, status, error, received: 3, sent, took };
        tenant.here().request(&ended(Some(StatusCode::OK), None, 10, Duration::from_millis(7)));
        tenant.here().request(&ended(Some(StatusCode::BAD_GATEWAY), Some("b"), 5, Duration::from_secs(700)));
        metrics.untold(&ended(None, None, 0, Duration::ZERO));
        metrics.sent_twice(Cause::TicketRefused);
        metrics.pushed(Push::Refused);
        metrics.looked_up(Lookup::Hit);
        metrics.tunnel_began();
        metrics.exchanged(&tenant, None, Duration::from_millis(2));
        metrics.exchanged(&tenant, Some("refused"), Duration::from_millis(2));
        metrics.state_fetched("timeout");
        metrics.stored(false);
        let (none, wait) = (Duration::ZERO, Duration::from_millis(30));
        metrics.phases(&Phases { queue: none, ticket: wait, connect: none, first_byte: Some(wait), total: wait });
        metrics.phases(&Phases { queue: none, ticket: none, connect: none, first_byte: None, total: wait });
        let kept = [metrics.opened("a:1", false), metrics.opened("a:1", true), metrics.opened("a:1", true)];
        drop(metrics.opened("a:1", false));
        let mut page = Page::new(Format::Prometheus);
        metrics.write(&mut page, &BTreeMap::from([("a:1".to_owned(), 2)]));
        let text = page.finish();
        for line in [
            "soproxy_requests_total{tenant=\"Cust1\",method=\"GET\",status=\"2xx\"} 1",
            "soproxy_requests_total{tenant=\"Cust1\",method=\"GET\",status=\"5xx\"} 1",
            "soproxy_requests_total{tenant=\"\",method=\"GET\",status=\"none\"} 1",
            "soproxy_errors_total{tenant=\"\",code=\"a\"} 0",
            "soproxy_errors_total{tenant=\"Cust1\",code=\"b\"} 1",
            "soproxy_sent_twice_total{cause=\"ticket refused\"} 1",
            "soproxy_state_pushes_total{result=\"refused\"} 1",
            "soproxy_cache_requests_total{result=\"hit\"} 1",
            "soproxy_tunnels 1",
            "soproxy_request_bytes_total{tenant=\"Cust1\"} 6",
            "soproxy_response_bytes_total{tenant=\"Cust1\"} 15",
            "soproxy_request_duration_seconds_bucket{tenant=\"Cust1\",le=\"0.005\"} 0",
            "soproxy_request_duration_seconds_bucket{tenant=\"Cust1\",le=\"0.01\"} 1",
            "soproxy_request_duration_seconds_bucket{tenant=\"Cust1\",le=\"+Inf\"} 2",
            "soproxy_request_duration_seconds_sum{tenant=\"Cust1\"} 700.007",
            "soproxy_request_duration_seconds_count{tenant=\"Cust1\"} 2",
            "soproxy_phase_duration_seconds_count{phase=\"queue\"} 2",
            "soproxy_phase_duration_seconds_count{phase=\"first_byte\"} 1",
            "soproxy_phase_duration_seconds_bucket{phase=\"ticket\",le=\"0.025\"} 1",
            "soproxy_phase_duration_seconds_bucket{phase=\"ticket\",le=\"0.05\"} 2",
            "soproxy_exchanges_total{tenant=\"Cust1\",result=\"success\",code=\"\"} 1",
            "soproxy_exchanges_total{tenant=\"Cust1\",result=\"failed\",code=\"refused\"} 1",
            "soproxy_exchange_duration_seconds_count 2",
            "soproxy_state_fetches_total{result=\"ok\"} 0",
            "soproxy_state_fetches_total{result=\"timeout\"} 1",
            "soproxy_store_writes_total{result=\"ok\"} 0",
            "soproxy_store_writes_total{result=\"failed\"} 1",
            "soproxy_upstream_connections{upstream=\"a:1\",state=\"busy\"} 1",
            "soproxy_upstream_connections{upstream=\"a:1\",state=\"idle\"} 2",
            "soproxy_upstream_connections_opened_total{upstream=\"a:1\",protocol=\"h2\"} 2",
            "soproxy_upstream_connections_closed_total{upstream=\"a:1\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        drop(kept);
    }
}
